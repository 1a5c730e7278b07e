// Makes the numbers of a table buttons, which open the setting behind them. A table is one stop of
// the tabulator key; the arrow keys lead from number to number.

export function makeNumbersButtons(table) {
  for (const cell of table.querySelectorAll("td[data-place], tr[data-place] > td.number")) {
    if (!cell.textContent.trim()) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "number";
    button.tabIndex = -1;
    button.append(...cell.childNodes);
    cell.append(button);
  }
  const first = table.querySelector("button.number");
  if (!first) return;
  first.tabIndex = 0;
  table.addEventListener("focusin", ({ target }) => {
    if (!target.matches("button.number")) return;
    for (const button of table.querySelectorAll('button.number[tabindex="0"]')) button.tabIndex = -1;
    target.tabIndex = 0;
  });
  table.addEventListener("keydown", (event) => {
    if (!event.target.matches("button.number")) return;
    const next = neighbour(event.target.closest("td"), event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}

function neighbour(cell, key) {
  const down = key === "ArrowDown";
  if (down || key === "ArrowUp") {
    const place = cell.cellIndex;
    let row = cell.parentElement;
    do row = down ? row.nextElementSibling : row.previousElementSibling;
    while (row && !row.cells[place]?.querySelector("button.number"));
    return row?.cells[place].querySelector("button.number");
  }
  const right = key === "ArrowRight";
  if (!right && key !== "ArrowLeft") return null;
  do cell = right ? cell.nextElementSibling : cell.previousElementSibling;
  while (cell && !cell.querySelector("button.number")?.checkVisibility());
  return cell?.querySelector("button.number");
}
