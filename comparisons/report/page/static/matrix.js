// The matrix of all models and tasks: what its cells show, and which rows and columns.
import { remember, remembered } from "page/state";
import { sortable } from "page/tables";

export function startMatrix() {
  const table = document.getElementById("matrix-table");
  if (!table) return;
  sortable(table).then((sorted) => start(table, sorted));
}

function start(table, sorted) {
  const search = document.getElementById("matrix-search");
  const kind = document.getElementById("matrix-kind");
  const task = document.getElementById("matrix-task");
  const count = document.getElementById("matrix-count");
  const tasks = [...table.tHead.rows[0].cells].slice(1).map((heading) => heading.dataset.column);

  const filter = () => {
    sorted.column(0).search(search.value);
    sorted.search.fixed("kind", (_text, _data, row) => {
      return !kind.value || sorted.row(row).node().dataset.kind === kind.value;
    });
    sorted.draw();
    const { recordsDisplay: shown, recordsTotal: all } = sorted.page.info();
    count.textContent = shown === all ? "" : `${shown} of ${all} models`;
    remember("matrix", { search: search.value, kind: kind.value, task: task.value });
  };
  const columns = () => {
    tasks.forEach((name, i) => {
      sorted.column(i + 1).visible(!task.value || task.value === name, false);
    });
    filter();
  };
  const shown = (value) => {
    table.dataset.shown = value;
    for (const cell of sorted.cells().nodes().toArray()) {
      if (cell.dataset[value]) cell.dataset.order = cell.dataset[value];
    }
    sorted.rows().invalidate("dom").draw();
    remember("matrix-value", value);
  };

  const before = remembered("matrix", {});
  search.value = before.search ?? "";
  kind.value = before.kind ?? "";
  task.value = tasks.includes(before.task) ? before.task : "";
  search.addEventListener("input", filter);
  kind.addEventListener("change", filter);
  task.addEventListener("change", columns);
  for (const choice of document.getElementsByName("matrix-value")) {
    choice.checked = choice.value === remembered("matrix-value", "score");
    if (choice.checked) shown(choice.value);
    choice.addEventListener("change", () => shown(choice.value));
  }
  columns();
}
