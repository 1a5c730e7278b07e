"""What happened inside a scheme in one recorded training: the picture on its page."""

import math
from pathlib import Path
from typing import Any

from drawing import COLORS, QUIET, drawn, logarithmic, side_by_side, title
from recorded import HERE, Row, exported, made_by_runs, place, where

PRESET = "quick"
TASK = "copying"
"""The task of the training that is shown, where it is recorded: the one that needs the memory."""
PEERS = ("tanh_rnn", "lstm")
"""Models beside whose gradients those of a scheme are drawn."""


def inside(name: str, docs: Path = HERE) -> str:
    """The picture and what it shows; "" if nothing is recorded."""
    found = exported(PRESET, docs)
    runs = [run for run in found["runs"] if run.get("probes")] if found else []
    own = sorted((run for run in runs if run["model"] == name), key=lambda run: run["task"] != TASK)
    if not own:
        return ""
    run, probes = own[0], own[0]["probes"]
    peers = [
        peer
        for model in PEERS
        for peer in runs
        if peer["model"] == model and place(peer) == place(run)
    ]
    figures, words = [], []
    if probes["eigenphases_start"] and probes["eigenphases_end"]:
        figures += eigenphases(name, probes)
        words.append(
            "the eigenphases of W before (inner ring) and after (outer ring), at n = "
            f"{run['n']}, with 1 at the right and −1 at the left"
        )
    if probes["defects"]:
        figures += defects(name, probes)
        words.append("the unitarity defect over the training")
    if probes["gradient_steps"]:
        figures += gradients(run, peers)
        words.append(
            "how strongly the loss depends on each state h_t after training: the norm of its "
            "gradient, over the sequences of a test batch. A flat line neither vanishes nor "
            "explodes"
        )
    caption = f"One training on the task {where(run)}, seed {probes['seed']}: {'; '.join(words)}."
    shown = [side_by_side(figures, caption), made_by_runs([run])]
    return "\n\n".join(shown) if figures else ""


def eigenphases(name: str, probes: Row) -> list[str]:
    """The eigenphases as strokes on two rings, before and after."""
    label = f"Eigenphases of {name} before and after training"
    with drawn(label, 3.1) as (axes, figure):
        rings = (("start", "before", QUIET, 0.66), ("end", "after", COLORS[0], 0.88))
        for key, words, color, radius in rings:
            phases = probes[f"eigenphases_{key}"]
            for i, phase in enumerate(phases):
                x, y = math.cos(phase), math.sin(phase)
                axes.plot(
                    [radius * x, (radius + 0.14) * x], [radius * y, (radius + 0.14) * y],
                    color=color, lw=1.1, label=words if i == 0 else None,
                )  # fmt: skip
        for phase, text in ((0, "0"), (math.pi / 2, "π/2"), (math.pi, "π"), (-math.pi / 2, "−π/2")):
            axes.text(
                1.13 * math.cos(phase), 1.13 * math.sin(phase), text, ha="center", va="center"
            )
        axes.set_xlim(-1.25, 1.25)
        axes.set_ylim(-1.2, 1.2)
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.legend(loc="center")
        title(axes, "Eigenphases")
    return figure


def defects(name: str, probes: Row) -> list[str]:
    """The unitarity defect at each evaluation."""
    with drawn(f"Unitarity defect of {name} over a training", 3.1) as (axes, figure):
        places, values = _positive(probes["defects"])
        axes.plot(places, values, color=COLORS[0], marker="o", markersize=3.5)
        # Whole decades: rounding would otherwise fill the figure as a large defect does.
        powers = [math.log10(value) for value in values if not math.isnan(value)] or [0.0]
        axes.set_ylim(10 ** math.floor(min(powers)), 10 ** (math.floor(max(powers)) + 1))
        logarithmic(axes, "y")
        title(axes, "Unitarity defect")
        axes.set_xlabel("iterations")
    return figure


def gradients(run: Row, peers: list[Row]) -> list[str]:
    """The norms of the gradients through time, beside those of usual networks."""
    label = f"Norm of the gradient by the step, {run['model']} after training"
    with drawn(label, 3.1) as (axes, figure):
        dashes: tuple[Any, ...] = ((0, (1, 1.5)), (0, (5, 2)))
        for i, other in enumerate((*peers, run)):
            own = other is run
            points = zip(
                other["probes"]["gradient_steps"], other["probes"]["gradient_norms"], strict=True
            )
            axes.plot(
                *_positive(list(points)), label=other["model"], color=COLORS[0] if own else QUIET,
                ls="-" if own else dashes[i % 2], lw=2 if own else 1.3,
            )  # fmt: skip
        logarithmic(axes, "y")
        title(axes, "Gradient ‖dL/dh_t‖")
        axes.set_xlabel("step t")
        axes.figure.legend(loc="outside lower left", ncols=3)
    return figure


def _positive(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Places and values, without the zeros that a logarithmic axis cannot show."""
    return [x for x, _ in points], [y if y > 0 else math.nan for _, y in points]
