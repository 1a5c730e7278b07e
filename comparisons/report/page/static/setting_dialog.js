// The dialog that shows what is behind a number: setting, seeds, command, machine, day and files.
import { number } from "page/figures";
import { data } from "page/unpack";

export function startSettings() {
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("button.number");
    if (!button) return;
    const { section, place } = button.closest("[data-place]").dataset;
    open(section, Number(place));
  });
}

function open(name, place) {
  const section = data.sections[name];
  const setting = section.settings[place];
  const dialog = document.getElementById("setting");
  dialog.querySelector("h2").textContent = `${setting.label}: ${section.title}`;
  dialog.querySelector(".content").replaceChildren(
    list([
      ["training", setting.training],
      ["length", `${number(setting.iterations)} iterations with batches of ${setting.batch}`],
      ["parameters", `${number(setting.parameters[0])}, of W ${number(setting.parameters[1])}`],
      ["setting from", data.texts[setting.source]],
      ...(setting.deviation ? [["not unitary", setting.deviation]] : []),
      ...shared(setting.runs, "command"),
      ...shared(setting.runs, "machine"),
    ]),
    seeds(section, setting.runs),
    details("All values of the setting", list(setting.values)),
  );
  dialog.showModal();
  dialog.querySelector(".content").scrollTop = 0;
}

// Seeds may have been trained by several commands or on several machines; each is named once.
function shared(runs, name) {
  return [...new Set(runs.map((run) => run[name]))].map((i) => [name, data.texts[i]]);
}

function seeds(section, runs) {
  const table = element("table", { className: "compact" });
  const heading = table.createTHead().insertRow();
  const columns = ["seed", "test loss", section.metric, "at iteration", "training s", "ms / step",
    "peak MB", "defect", "day", "file"];
  for (const column of columns) heading.append(element("th", { scope: "col", textContent: column }));
  const body = table.createTBody();
  for (const run of runs) {
    const row = body.insertRow();
    row.append(element("th", { scope: "row", textContent: run.seed }));
    const values = [run.loss, run.metric, run.iteration, run.seconds, run.ms, run.memory, run.defect];
    for (const value of values) row.insertCell().textContent = number(value);
    row.insertCell().textContent = data.texts[run.day];
    const link = element("a", { href: `runs/${encodeURIComponent(run.id)}.json`, textContent: "JSON" });
    link.setAttribute("aria-label", `File of seed ${run.seed}`);
    row.insertCell().append(link, run.stopped ? ` (${run.stopped})` : "");
  }
  const box = element("div", { className: "scroll", tabIndex: 0 });
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "Seeds");
  box.append(table);
  return box;
}

function list(pairs) {
  const found = document.createElement("dl");
  for (const [term, text] of pairs) {
    found.append(
      element("dt", { textContent: term }),
      element("dd", { textContent: text }),
    );
  }
  return found;
}

function details(title, content) {
  const found = document.createElement("details");
  found.append(element("summary", { textContent: title }), content);
  return found;
}

function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
