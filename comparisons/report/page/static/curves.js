// Learning curves of a section: the chosen models with mean and band, the others as thin grey lines.
import { control, layout, logAxis, number, sectionOf, show, view } from "page/figures";
import { grey, look } from "page/looks";
import { slotOf, toggle } from "page/picker";

export function drawCurves(Plotly, figure) {
  const section = sectionOf(figure);
  const against = control(figure, "x");
  const logX = control(figure, "log-x");
  const logY = control(figure, "log-y");
  const repeats = new Map();
  const counts = new Map();
  for (const { model } of section.curves) counts.set(model, (counts.get(model) ?? 0) + 1);
  const behind = [];
  const bands = [];
  const lines = [];
  for (const curve of section.curves) {
    const repeat = repeats.get(curve.model) ?? 0;
    repeats.set(curve.model, repeat + 1);
    const slot = slotOf(curve.model);
    if (slot < 0) {
      behind.push(thin(curve, against));
      continue;
    }
    const chosen = look(slot, repeat);
    if (curve.low) bands.push(band(curve, against, chosen.color));
    const name = counts.get(curve.model) > 1 ? curve.label : curve.model;
    lines.push(line(curve, against, chosen, name));
  }
  const ends = range(section.curves, against);
  const levels = section.levels.map(([name, loss], i) => level(name, loss, ends, i, figure));
  // Means and levels fill the axis; bands, and runs that diverged, may reach beyond it.
  const losses = [...section.curves.flatMap((curve) => curve.mean), ...section.levels.map(([, l]) => l)];
  const shown = losses.filter((loss) => Number.isFinite(loss) && loss <= section.top);
  const plot = figure.querySelector(".plot");
  show(
    Plotly,
    plot,
    [...behind, ...bands, ...levels, ...lines],
    layout(figure, {
      x: {
        title: against === "seconds" ? "training seconds" : "iterations",
        type: logX ? "log" : "linear",
      },
      y: {
        title: "test loss", // the caption says of which kind
        ...(logY ? logAxis : {}),
        range: view(shown, logY),
      },
    }),
  );
  if (!plot.dataset.clickable) {
    plot.dataset.clickable = "true";
    plot.on("plotly_click", ({ points }) => points[0].data.meta && toggle(points[0].data.meta));
  }
}

function line(curve, against, { color, dash, symbol }, name) {
  return {
    ...common(curve, against),
    mode: "lines+markers",
    name,
    line: { color, dash, width: 2 },
    // Fewer markers than points keep the dashes readable.
    marker: { color, symbol, size: 7, maxdisplayed: 12 },
    showlegend: true,
  };
}

function thin(curve, against) {
  const line = { color: grey(), width: 1 };
  return { ...common(curve, against), mode: "lines", line, showlegend: false };
}

function common(curve, against) {
  const x = against === "seconds" ? "%{x:.3g} s" : "%{x:,} iterations";
  const range = curve.low?.map((low, i) => ` (${number(low)} – ${number(curve.high[i])})`) ?? [];
  const seeds = curve.seeds > 1 ? `${curve.seeds} seeds` : "1 seed";
  return {
    x: curve[against],
    y: curve.mean,
    text: curve.mean.map((mean, i) => number(mean) + (range[i] ?? "")),
    meta: curve.model,
    hovertemplate: `<b>${curve.label}</b><br>${x}<br>%{text}<br>${seeds}<extra></extra>`,
  };
}

function band(curve, against, color) {
  const x = curve[against];
  return {
    x: [...x, ...x.toReversed()],
    y: [...curve.high, ...curve.low.toReversed()],
    mode: "lines",
    line: { width: 0 },
    fill: "toself",
    fillcolor: `${color}2e`,
    hoverinfo: "skip",
    showlegend: false,
  };
}

// Two levels can be near to each other: the first one's name stands above its line at the right,
// the second one's below it, and so on.
function level(name, loss, ends, place, figure) {
  const color = getComputedStyle(figure).color;
  return {
    x: ends,
    y: [loss, loss],
    mode: "lines+text",
    text: ["", `${name} ${number(loss)}`],
    textposition: place % 2 ? "bottom left" : "top left",
    textfont: { color, size: 11 },
    line: { color, width: 1, dash: "4px,4px" },
    hoverinfo: "skip",
    showlegend: false,
  };
}

function range(curves, against) {
  const places = curves.flatMap((curve) => curve[against]).filter((x) => x > 0);
  return [Math.min(...places), Math.max(...places)];
}
