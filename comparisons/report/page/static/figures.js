// Figures are drawn when they come into view, and again when a choice changes what they show.
import { data, plotly } from "page/unpack";
import { remember, remembered } from "page/state";

const outdated = new Set();
const visible = new Set();
let drawers = {};
let library = null;

export function startFigures(byKind) {
  drawers = byKind;
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) visible.add(target);
        else visible.delete(target);
        if (isIntersecting && outdated.has(target)) draw(target);
      }
    },
    { rootMargin: "300px" },
  );
  for (const figure of document.querySelectorAll("figure[data-figure]")) {
    outdated.add(figure);
    restoreControls(figure);
    observer.observe(figure);
  }
}

// Figures out of view wait until they are seen, unless all are needed at once, as for printing.
export function redrawAll({ unseen = false } = {}) {
  for (const figure of document.querySelectorAll("figure[data-drawn]")) {
    outdated.add(figure);
    if (unseen || visible.has(figure)) draw(figure);
  }
}

// Once Plotly is there, a figure is drawn at once, before a browser that prints goes on.
function draw(figure) {
  if (!library) return plotly().then((loaded) => ((library = loaded), draw(figure)));
  outdated.delete(figure);
  drawers[figure.dataset.figure](library, figure);
  figure.dataset.drawn = "";
}

// The value of a switch of a figure: a choice of a list, or whether a box is checked.
export function control(figure, name) {
  const element = figure.querySelector(`[data-control="${name}"]`);
  return element.type === "checkbox" ? element.checked : element.value;
}

function restoreControls(figure) {
  const { figure: kind, section = "", model = "" } = figure.dataset;
  for (const element of figure.querySelectorAll("[data-control]")) {
    const name = [kind, section, model, element.dataset.control].join("/");
    const property = element.type === "checkbox" ? "checked" : "value";
    const value = remembered(name, element[property]);
    if (property === "checked" || [...element.options].some((option) => option.value === value)) {
      element[property] = value;
    }
    element.addEventListener("change", () => {
      remember(name, element[property]);
      draw(figure);
    });
  }
}

// A logarithmic axis with as many numbers as have room, each written in full.
export const logAxis = { type: "log", tickformat: "~g", nticks: 4 };

// The range of an axis on which these values are seen first; a double click shows all of a figure.
export function view(values, log = false) {
  const places = log ? values.filter((value) => value > 0).map(Math.log10) : values;
  if (!places.length) return undefined;
  const [low, high] = [Math.min(...places), Math.max(...places)];
  const room = 0.05 * (high - low || 1);
  return [low - room, high + room];
}

// What all figures have in common. Colours of text and lines are those of the page.
export function layout(figure, { x, y, ...more }) {
  const style = getComputedStyle(figure);
  const axis = {
    gridcolor: style.borderTopColor,
    linecolor: style.borderTopColor,
    zeroline: false,
    automargin: true,
  };
  return {
    autosize: true,
    margin: { l: 60, r: 14, t: 10, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style.fontFamily, size: 12, color: style.color },
    hovermode: "closest",
    hoverlabel: { namelength: -1 },
    // On a touch screen a finger on a figure scrolls the page; elsewhere dragging magnifies.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    legend: {
      orientation: "h",
      x: 0,
      y: -0.2,
      yanchor: "top",
      // The bar above the tasks chooses models, for all figures at once.
      itemclick: false,
      itemdoubleclick: false,
    },
    ...more,
    xaxis: { ...axis, ...x, title: { text: x.title, standoff: 6 } },
    yaxis: { ...axis, ...y, title: { text: y.title, standoff: 8 } },
  };
}

export function show(Plotly, element, traces, plan) {
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d"],
    toImageButtonOptions: { format: "svg" },
  };
  Plotly.react(element, traces, plan, config);
}

export function sectionOf(figure) {
  return data.sections[figure.dataset.section];
}

// Digits enough to compare, as in the tables.
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}
