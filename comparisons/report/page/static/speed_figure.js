// The score of each model on a task against the training seconds of a run.
import { control, layout, number, show, view } from "page/figures";
import { grey, look } from "page/looks";
import { slotOf } from "page/picker";
import { data } from "page/unpack";

export function drawSpeed(Plotly, figure) {
  const standings = data.standings[control(figure, "section")];
  const order = (standing) => slotOf(standing.model);
  // A model that diverged can be far below those without memory; it does not set the axis.
  const near = standings.map(({ score }) => score).filter((score) => score !== null && score > -1);
  const traces = [...standings].sort((a, b) => order(a) - order(b)).map(point);
  show(
    Plotly,
    figure.querySelector(".plot"),
    traces,
    layout(figure, {
      x: { title: "training seconds", type: "log", nticks: 6 },
      y: { title: "score", range: view([0, 1, ...near]) },
    }),
  );
}

function point(standing) {
  const { model, score, score_low: low, score_high: high, seconds, parameters, seeds } = standing;
  const slot = slotOf(model);
  const { color, symbol } = slot < 0 ? { color: grey(), symbol: "circle" } : look(slot);
  const interval = low === null ? "" : ` (${number(low)} – ${number(high)})`;
  const spread = {
    type: "data",
    symmetric: false,
    array: [high - score],
    arrayminus: [score - low],
    color,
    thickness: 1,
    width: 3,
  };
  return {
    x: [seconds],
    y: [score],
    mode: "markers",
    name: model,
    marker: { color, symbol, size: slot < 0 ? 7 : 10 },
    ...(low === null || slot < 0 ? {} : { error_y: spread }),
    hovertemplate:
      `<b>${model}</b><br>score ${number(score)}${interval}, ${seeds} seed${seeds > 1 ? "s" : ""}` +
      `<br>${number(seconds)} s, ${number(parameters)} parameters<extra></extra>`,
    showlegend: slot >= 0,
  };
}
