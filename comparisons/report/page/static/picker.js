// The choice of the models that have a look of their own, common to all figures.
import { redrawAll } from "page/figures";
import { SLOTS, swatch } from "page/looks";
import { remember, remembered } from "page/state";
import { data } from "page/unpack";

const known = new Set(data.models);
// Each place holds a model or null, so that the others keep their looks when one leaves.
const slots = remembered("picked", data.picked).map((model) => (known.has(model) ? model : null));
slots.length = SLOTS;

export function slotOf(model) {
  return slots.indexOf(model);
}

// Gives a model a look, or takes it away; returns whether there was a place.
export function toggle(model) {
  const own = slotOf(model);
  const free = own >= 0 ? own : slots.findIndex((name) => !name);
  if (free < 0) return false;
  slots[free] = own >= 0 ? null : model;
  remember("picked", slots);
  show();
  redrawAll();
  return true;
}

function show() {
  const list = document.getElementById("picked");
  if (!list) return;
  const focused = document.activeElement?.dataset?.remove;
  list.replaceChildren();
  slots.forEach((model, slot) => {
    if (!model) return;
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.remove = model;
    button.title = `Take ${model} out of the figures`;
    button.append(swatch(slot), model);
    button.addEventListener("click", () => toggle(model));
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
  });
  // A button that was pressed is gone; the next one takes the focus, for those who use the keyboard.
  if (focused) (list.querySelector("button") ?? document.getElementById("choose")).focus();
  for (const box of document.getElementsByName("picked")) {
    const slot = slotOf(box.value);
    box.checked = slot >= 0;
    box.parentElement.querySelector(".swatch")?.remove();
    if (slot >= 0) box.after(swatch(slot));
  }
}

export function startPicker() {
  const dialog = document.getElementById("picker");
  if (!dialog) return;
  const full = document.getElementById("picker-full");
  document.getElementById("choose").addEventListener("click", () => dialog.showModal());
  for (const box of document.getElementsByName("picked")) {
    box.addEventListener("change", () => {
      const done = toggle(box.value);
      box.checked = slotOf(box.value) >= 0;
      full.textContent = done ? "" : `All ${SLOTS} are taken; take one out first.`;
    });
  }
  show();
}
