"""Norms of gradients and states against time on the adding problem: figure 4 of Arjovsky et al.

Four panels show the norm of dC/dh_t (i) before training and (ii) after some iterations, on
sequences of one length, and (iii) the norm of h_t and (iv) that of h_t - h_T for models trained on
shorter sequences and run on these. Every curve is a mean over the sequences of a batch. C is the
loss of a single sequence. The paper does not say whether its C is a mean over the batch, in which
the gradients of different sequences would cancel. The settings are those of the papers, and the
caption says for how long each model was trained. The points beside the curves were read off the
published figure by eye.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor

from comparisons.cli.console import say
from comparisons.experiments.usage import UsageError
from comparisons.models import SequenceModel, is_baseline
from comparisons.papers import PAPERS, Reading
from comparisons.plan import PlanError, plan
from comparisons.records import Run
from comparisons.report import style
from comparisons.tasks import TASKS, Batch, Task, stream
from comparisons.training.trainer import train_model
from unitary_zoo import theory

TASK = "adding"
PAPER = PAPERS["arjovsky2016"]
PAPER_LENGTH = 1000
PANELS = {
    "start": "(i) ‖∂C/∂hₜ‖ before training",
    "trained": "(ii) ‖∂C/∂hₜ‖ after {iterations} iterations",
    "states": "(iii) ‖hₜ‖, trained at T = {trained_length}",
    "distances": "(iv) ‖hₜ − h_T‖, trained at T = {trained_length}",
}
LOGARITHMIC = ("start", "trained")


@dataclass(frozen=True)
class Curve:
    """One line of one panel.

    Attributes:
        panel: A key of :data:`PANELS`.
        model: A scheme or a baseline.
        hidden_size: Number of its units.
        trained_length: T of the sequences it was trained on.
        iterations: Number of iterations it was trained for.
        mean: Mean over the sequences, at each step.
        least: Least value over the sequences, at each step.
        largest: Largest value over the sequences, at each step.
    """

    panel: str
    model: str
    hidden_size: int
    trained_length: int
    iterations: int
    mean: list[float]
    least: list[float]
    largest: list[float]


def curves(run: Run, options: argparse.Namespace) -> list[Curve]:
    """The four curves of one model; ``run`` is at the length that is drawn."""
    task = TASKS.get(run.task)(run.length)
    # The same sequences for every model; none was trained on them.
    data = stream(f"{run.task}/{run.length}/{run.seed}/probe")
    batch = next(task.train_batches(options.batch, data)).to(run.device)

    def curve(panel: str, run: Run, iterations: int, norms: Tensor) -> Curve:
        size = run.setting.model.hidden_size
        found = (norms.mean(1), norms.amin(1), norms.amax(1))
        return Curve(panel, run.model, size, run.length, iterations, *(x.tolist() for x in found))

    torch.manual_seed(run.seed)
    start = SequenceModel(run.model, run.setting, task).to(run.device)
    found = [curve("start", run, 0, gradients(start, task, batch))]
    model = trained(run, options.iterations)
    found.append(curve("trained", run, options.iterations, gradients(model, task, batch)))

    shorter = replace(run, length=options.trained_length)
    rnn = trained(shorter, options.trained_iterations).rnn
    probes: dict[str, Callable[..., Tensor]] = {
        "states": theory.state_norms,
        "distances": theory.state_distances,
    }
    for panel, probe in probes.items():
        norms = probe(rnn, batch.inputs)
        found.append(curve(panel, shorter, options.trained_iterations, norms))
    return found


def gradients(model: SequenceModel, task: Task, batch: Batch) -> Tensor:
    """Norms of the gradient of each sequence's own loss, (T, B)."""
    size = batch.targets.shape[0]

    def loss(result: tuple[Tensor, object]) -> Tensor:
        # A sum over the sequences, so that the gradient in a state is that of its own loss.
        return size * task.loss(result[0], batch.targets.to(result[0].dtype))

    return theory.gradient_norms(model, loss, batch.inputs, rnn="rnn", double=True)


def trained(run: Run, iterations: int) -> SequenceModel:
    """The model of a run after ``iterations`` iterations, evaluated only at the end."""
    setting = run.setting.changed(
        iterations=iterations,
        eval_every=iterations,
        test_size=run.setting.training.batch_size,
    )
    model, result = train_model(replace(run, setting=setting))
    say(f"{run}: {iterations} iterations, test loss {result.final.test_loss:.3g}")
    return model


def draw(found: Sequence[Curve], readings: Sequence[Reading], caption: str) -> Figure:
    """Draw all panels, with the published points as hollow markers."""
    models = list(dict.fromkeys(curve.model for curve in found))
    baselines = [model for model in models if is_baseline(model)]
    styles = style.styles([model for model in models if model not in baselines], baselines)
    names = {
        "iterations": max(curve.iterations for curve in found if curve.panel == "trained"),
        "trained_length": max(c.trained_length for c in found if c.panel == "states"),
    }
    with mpl.rc_context(style.RC):
        figure = Figure(figsize=(9, 6.6), layout="constrained")
        for axes, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
            axes.set_title(PANELS[panel].format(**names))
            axes.set_xlabel("t")
            if panel in LOGARITHMIC:
                axes.set_yscale("log")
            for curve in (curve for curve in found if curve.panel == panel):
                line, steps = styles[curve.model], range(len(curve.mean))
                label = f"{curve.model}, n = {curve.hidden_size}" if panel == "start" else None
                axes.plot(steps, curve.mean, color=line.color, ls=line.dash, label=label)
                axes.fill_between(
                    steps, curve.least, curve.largest, color=line.color, alpha=0.15, lw=0
                )
            for point in (r for r in readings if r.panel == panel and r.model in styles):
                color = styles[point.model].color
                axes.plot(
                    point.step, point.value, color=color, marker="o", ls="none", mfc="none",
                    clip_on=False,
                )  # fmt: skip
        figure.legend(loc="outside right upper", fontsize=8)
        figure.supxlabel(caption, fontsize=8)
        return figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this experiment."""
    parser.add_argument("--schemes", nargs="+", default=["arjovsky", "lstm", "tanh_rnn"])
    parser.add_argument("--length", type=int, default=PAPER_LENGTH, help="T of the curves")
    parser.add_argument("--iterations", type=int, default=100, help="of panel (ii), at this T")
    parser.add_argument("--trained-length", type=int, default=200, help="T of (iii) and (iv)")
    parser.add_argument("--trained-iterations", type=int, default=500, help="of (iii) and (iv)")
    parser.add_argument("--batch", type=int, default=20, help="sequences of a curve")
    parser.add_argument("--hidden-size", type=int, help="instead of the papers'")
    parser.add_argument("--device", default="cpu")


def run(options: argparse.Namespace) -> tuple[dict[str, list[dict[str, Any]]], Figure]:
    """Train, measure and draw the models that the arguments name.

    Raises:
        UsageError: There is no such model, or no setting for it at this length.
    """
    if options.tiny:
        options.length, options.trained_length, options.batch = 12, 6, 3
        options.iterations = options.trained_iterations = 2
    try:
        runs = plan(
            "smoke" if options.tiny else "paper",
            [TASK],
            options.schemes,
            lengths=[options.length],
            seeds=[options.seed],
            device=options.device,
            hidden_size=options.hidden_size,
        )
    except PlanError as error:
        raise UsageError(str(error)) from None
    # If several papers trained a model, the setting of the first one is taken.
    first = {run.model: run for run in reversed(runs)}
    found = [curve for model in options.schemes for curve in curves(first[model], options)]
    shown = PAPER.readings if options.length == PAPER_LENGTH else ()
    caption = (
        f"Adding problem, T = {options.length}; mean, least and largest of {options.batch} "
        f"sequences. Trained for {options.iterations} iterations in (ii) and "
        f"{options.trained_iterations} in (iii) and (iv)."
    )
    if shown:
        caption += f"\nCircles: read off figure 4 of {PAPER.cite} by eye, approximate."
    tables = {
        "curves": [asdict(curve) for curve in found],
        "settings": [first[model].to_dict() for model in options.schemes],
        "published": [asdict(reading) for reading in shown],
    }
    return tables, draw(found, shown, caption)
