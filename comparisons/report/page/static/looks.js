// Colour, dash pattern and marker of the models in the figures: eight at a time, the same everywhere.
import { isDark } from "page/theme";

// The hues are those of Okabe and Ito. On white they have a contrast of at least 3, and any two differ
// by 21 (CIE76) also to colour-blind eyes (Machado et al. 2009); on black it is 7 and 10. Dash and
// marker tell two lines apart without any colour.
const LOOKS = [
  { light: "#003f87", dark: "#56b4e9", dash: "solid", symbol: "circle" },
  { light: "#6d1d00", dark: "#ff8f4a", dash: "8px,3px", symbol: "square" },
  { light: "#007650", dark: "#2fc79a", dash: "8px,3px,2px,3px", symbol: "diamond" },
  { light: "#be5493", dark: "#f0a3cf", dash: "2px,3px", symbol: "triangle-up" },
  { light: "#1c2430", dark: "#f4f6f8", dash: "solid", symbol: "x" },
  { light: "#b58f05", dark: "#e69f00", dash: "8px,3px", symbol: "triangle-down" },
  { light: "#2a96f1", dark: "#a5d8ff", dash: "8px,3px,2px,3px", symbol: "cross" },
  { light: "#7b732e", dark: "#f0e442", dash: "2px,3px", symbol: "star" },
];
const DASHES = ["solid", "8px,3px", "8px,3px,2px,3px", "2px,3px"];

export const SLOTS = LOOKS.length;

// The look of a place among the eight. A model's further configurations have other dashes.
export function look(slot, repeat = 0) {
  const { light, dark, dash, symbol } = LOOKS[slot];
  const place = (DASHES.indexOf(dash) + repeat) % DASHES.length;
  return { color: isDark() ? dark : light, dash: DASHES[place], symbol };
}

export function grey() {
  return isDark() ? "#5a6472" : "#c3c9d1";
}

// A picture of a line, for buttons and lists. Marks are letters, since each is in every font.
const MARKS = {
  circle: "●", square: "■", diamond: "◆", "triangle-up": "▲", x: "✖", "triangle-down": "▼",
  cross: "✚", star: "★",
};

export function swatch(slot) {
  const { light, dark, dash, symbol } = LOOKS[slot];
  const element = document.createElement("span");
  element.className = "swatch";
  element.style.color = `light-dark(${light}, ${dark})`;
  element.setAttribute("aria-hidden", "true");
  const pattern = dash === "solid" ? "" : ` stroke-dasharray="${dash.replaceAll("px", "")}"`;
  element.innerHTML =
    `<svg width="34" height="14"><line x1="0" x2="34" y1="7" y2="7" stroke="currentColor"` +
    ` stroke-width="2"${pattern}/><text x="17" y="11.5" font-size="12" text-anchor="middle"` +
    ` fill="currentColor">${MARKS[symbol]}</text></svg>`;
  return element;
}
