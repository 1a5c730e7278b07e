// Tabs: of a task with several variants and lengths, one is shown at a time.
import { remember, remembered } from "page/state";

export function startTabs() {
  for (const task of document.querySelectorAll("section.task")) {
    const panels = [...task.querySelectorAll(":scope > .panel")];
    if (panels.length > 1) makeTabs(task, panels);
  }
  addEventListener("hashchange", showTarget);
  showTarget();
}

function makeTabs(task, panels) {
  const list = document.createElement("div");
  list.className = "tabs";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Variants and lengths");
  const tabs = panels.map((panel) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `${panel.id}-tab`;
    tab.textContent = panel.querySelector("h3").textContent;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    tab.addEventListener("click", () => select(tab));
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    panel.querySelector("h3").hidden = true; // the tab says it
    return tab;
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    select(next);
  });
  list.append(...tabs);
  panels[0].before(list);
  const before = remembered(`tab/${task.id}`, panels[0].id);
  select(tabs.find((tab) => tab.getAttribute("aria-controls") === before) ?? tabs[0]);
}

function select(tab) {
  for (const other of tab.parentElement.children) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  remember(`tab/${tab.closest("section.task").id}`, tab.getAttribute("aria-controls"));
}

// A link may lead to what is hidden in a tab or a closed section: it is opened first.
function showTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  const panel = target.closest(".panel");
  const tab = panel && document.getElementById(`${panel.id}-tab`);
  if (tab) select(tab);
  const details = target.closest("details");
  if (details) details.open = true;
  if (tab || details) target.scrollIntoView();
}
