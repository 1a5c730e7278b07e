// The switch between light and dark; it starts from what the system prefers.
import { redrawAll } from "page/figures";
import { remember, remembered } from "page/state";

const system = matchMedia("(prefers-color-scheme: dark)");
let printing = false;

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return !printing && (chosen ? chosen === "dark" : system.matches);
}

// Paper is light, whatever the screen is.
export function setPrinting(value) {
  printing = value;
}

export function startTheme() {
  const button = document.getElementById("theme");
  const show = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    redrawAll();
  };
  const chosen = remembered("theme", "");
  if (chosen) document.documentElement.dataset.theme = chosen;
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    remember("theme", document.documentElement.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();
}
