// The metric of a section against the number of hidden units.
import { layout, number, sectionOf, show } from "page/figures";
import { grey, look } from "page/looks";
import { slotOf } from "page/picker";

export function drawSizes(Plotly, figure) {
  const section = sectionOf(figure);
  const repeats = new Map();
  const behind = [];
  const before = [];
  for (const curve of section.sizes) {
    const key = `${curve.model}/${curve.published}`;
    const repeat = repeats.get(key) ?? 0;
    repeats.set(key, repeat + 1);
    const slot = slotOf(curve.model);
    if (slot < 0) behind.push(trace(curve, { color: grey(), dash: "solid", symbol: "circle" }, true));
    else before.push(trace(curve, look(slot, repeat), false));
  }
  show(
    Plotly,
    figure.querySelector(".plot"),
    [...behind, ...before],
    layout(figure, { x: { title: "hidden units n" }, y: { title: `test ${section.metric}` } }),
  );
}

function trace(curve, { color, dash, symbol }, thin) {
  const places = curve.sizes.map((n) => `n = ${n}`);
  const spread = {
    type: "data",
    symmetric: false,
    array: curve.high.map((high, i) => high - curve.mean[i]),
    arrayminus: curve.low.map((low, i) => curve.mean[i] - low),
    color,
    thickness: 1,
    width: 3,
  };
  return {
    x: curve.sizes,
    y: curve.mean,
    name: curve.label,
    text: places.map((place, i) => `${place}: ${number(curve.mean[i])}`),
    hovertemplate: `<b>${curve.label}</b><br>%{text}<extra></extra>`,
    mode: curve.published ? "markers" : thin ? "lines" : "lines+markers",
    line: { color, dash, width: thin ? 1 : 2 },
    marker: { color, symbol: curve.published ? `${symbol}-open` : symbol, size: thin ? 5 : 8 },
    ...(curve.seeds > 1 && !thin ? { error_y: spread } : {}),
    showlegend: !thin,
  };
}
