// What happened inside a model: eigenphases on the circle, defect over training, gradients.
import { control, layout, logAxis, show } from "page/figures";
import { grey, look } from "page/looks";
import { data } from "page/unpack";

export function drawModel(Plotly, figure) {
  const all = data.inside[figure.dataset.model];
  const chosen = all[Number(control(figure, "section"))];
  drawPhases(Plotly, figure, chosen);
  drawLines(Plotly, figure, "defects", all, chosen, {
    x: (inside) => inside.iterations,
    y: (inside) => inside.defects,
    titles: { x: "iterations", y: "defect ‖WᴴW − I‖₂" },
  });
  drawLines(Plotly, figure, "gradients", all, chosen, {
    x: (inside) => inside.steps,
    y: (inside) => inside.norms,
    titles: { x: "step t", y: "‖dL/dhₜ‖" },
  });
}

// Plotly's own elements have classes, among them "gradients"; so ours are found by an attribute.
function plotOf(figure, name) {
  return figure.querySelector(`[data-plot="${name}"]`);
}

function drawPhases(Plotly, figure, { start, end }) {
  const plot = plotOf(figure, "phases");
  plot.hidden = !start && !end;
  if (plot.hidden) return;
  const points = (phases, radius, marker, name) => ({
    type: "scatter",
    mode: "markers",
    x: (phases ?? []).map((phase) => radius * Math.cos(phase)),
    y: (phases ?? []).map((phase) => radius * Math.sin(phase)),
    text: (phases ?? []).map((phase) => `${(phase / Math.PI).toFixed(3)} π`),
    hovertemplate: `${name}: %{text}<extra></extra>`,
    name,
    marker,
  });
  const first = look(0).color;
  const second = look(1).color;
  const hidden = { visible: false, range: [-1.25, 1.25], fixedrange: true, title: "" };
  show(
    Plotly,
    plot,
    [
      points(start, 0.86, { symbol: "circle-open", color: first, size: 6 }, "before"),
      points(end, 1, { symbol: "circle", color: second, size: 6 }, "after"),
    ],
    layout(figure, {
      x: { ...hidden },
      y: { ...hidden, scaleanchor: "x" },
      margin: { l: 4, r: 4, t: 4, b: 4 },
      legend: { x: 0.5, y: 0.5, xanchor: "center", yanchor: "middle", itemclick: false },
      shapes: [{ ...circle, line: { color: grey(), width: 1 } }],
    }),
  );
}

const circle = { type: "circle", x0: -1, x1: 1, y0: -1, y1: 1, layer: "below" };

function drawLines(Plotly, figure, name, all, chosen, { x, y, titles }) {
  const plot = plotOf(figure, name);
  plot.hidden = !y(chosen)?.length;
  if (plot.hidden) return;
  const traces = all
    .filter((inside) => y(inside)?.length)
    // The chosen one is drawn last, above the others.
    .sort((a, b) => (a === chosen) - (b === chosen))
    .map((inside) => ({
      x: x(inside),
      y: y(inside).map((value) => value || null), // a logarithmic axis has no place for zero
      mode: "lines",
      line: inside === chosen ? { color: look(0).color, width: 2 } : { color: grey(), width: 1 },
      hovertemplate: `<b>${inside.title}</b><br>%{x}: %{y:.3g}<extra></extra>`,
    }));
  show(
    Plotly,
    plot,
    traces,
    layout(figure, {
      x: { title: titles.x },
      y: { title: titles.y, ...logAxis },
      showlegend: false,
    }),
  );
}
