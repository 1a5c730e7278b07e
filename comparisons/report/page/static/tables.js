// Tables that sort by a click on a heading (DataTables), made so when they come into view.
import { remember, remembered } from "page/state";
import { makeNumbersButtons } from "page/numbers";
import { dataTables } from "page/unpack";

// Sorting and filtering are all that is asked of DataTables; the page scrolls its tables itself.
export async function sortable(table) {
  const DataTable = await dataTables();
  makeNumbersButtons(table);
  const headings = [...table.tHead.rows[0].cells];
  const places = (keep) => headings.map((_, i) => i).filter((i) => keep(headings[i]));
  return new DataTable(table, {
    paging: false,
    info: false,
    autoWidth: false,
    order: [],
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    columnDefs: [
      { targets: places((heading) => heading.dataset.best === "high"), orderSequence: ["desc", "asc"] },
      { targets: "_all", orderSequence: ["asc", "desc"] },
    ],
  });
}

export function whenSeen(element, start) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    start();
  });
  observer.observe(element);
}

export function startTables() {
  for (const table of document.querySelectorAll("table[data-sortable], table[data-results]")) {
    whenSeen(table, () => sortable(table));
  }
  for (const table of document.querySelectorAll("table.compact")) {
    whenSeen(table, () => makeNumbersButtons(table));
  }
  for (const button of document.querySelectorAll("button[data-all-columns]")) startColumns(button);
}

// Columns that matter less are hidden by the style sheet until the button is pressed.
function startColumns(button) {
  const section = button.dataset.allColumns;
  const table = document.querySelector(`table[data-results="${section}"]`);
  const show = (all) => {
    table.classList.toggle("main-columns", !all);
    button.setAttribute("aria-pressed", String(all));
  };
  show(remembered(`columns/${section}`, false));
  button.addEventListener("click", () => {
    const all = table.classList.contains("main-columns");
    remember(`columns/${section}`, all);
    show(all);
  });
}
