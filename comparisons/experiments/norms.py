"""Norms of gradients and states against time on the adding problem: figure 4 of Arjovsky et al.

Four panels: the norm of dC/dh_t (i) before training and (ii) after some iterations, on sequences of
one length; (iii) the norm of h_t and (iv) that of h_t - h_T for models trained on shorter sequences
and run on these. Every curve is a mean over the sequences of a batch. C is the loss of a single
sequence: the paper does not say whether its norm is that of a mean over the batch, in which
gradients of different sequences would cancel. Settings are those of the papers, and what was
trained for how long stands in the caption; the points beside the curves were read off the published
figure by eye.

    python comparisons/experiments/norms.py [--schemes arjovsky lstm tanh_rnn] [--results DIR]

writes norms.json and norms.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

# A checkout is run as it is, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor

from comparisons.benchmarks.timing import write_json
from comparisons.cli.console import console
from comparisons.models import SequenceModel, is_baseline
from comparisons.papers import PAPERS, Reading
from comparisons.plan import grid
from comparisons.records import Run
from comparisons.report import figures as plots
from comparisons.tasks import TASKS, Batch, Task, stream
from comparisons.training.trainer import fit
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
        hidden_size: Its units.
        trained_length: T of the sequences it was trained on.
        iterations: For how long.
        mean: At each step, over the sequences.
        least: Likewise.
        largest: Likewise.
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
    # The same sequences for every model, and none that it was trained on.
    data = stream(f"{run.task}/{run.length}/{run.seed}/probe")
    batch = next(task.train_batches(options.batch, data)).to(run.device)

    def curve(panel: str, of: Run, iterations: int, norms: Tensor) -> Curve:
        size = of.setting.hidden_size
        parts = (norms.mean(1), norms.amin(1), norms.amax(1))
        return Curve(panel, of.model, size, of.length, iterations, *(p.tolist() for p in parts))

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
        # The sum over the sequences, so that the gradient in a state is that of its own loss.
        return size * task.loss(result[0], batch.targets.to(result[0].dtype))

    return theory.gradient_norms(model, loss, batch.inputs, rnn="rnn", double=True)


def trained(run: Run, iterations: int) -> SequenceModel:
    """The model of a run after so many iterations; evaluated at the end only."""
    setting = replace(
        run.setting,
        iterations=iterations,
        eval_every=iterations,
        test_size=run.setting.batch_size,
    )
    model, result = fit(replace(run, setting=setting))
    console.print(f"{run}: {iterations} iterations, test loss {result.final.test_loss:.3g}")
    return model


def draw(found: Sequence[Curve], readings: Sequence[Reading], caption: str) -> Figure:
    """All panels, with the published points as hollow markers."""
    models = list(dict.fromkeys(curve.model for curve in found))
    baselines = [model for model in models if is_baseline(model)]
    styles = plots.styles([model for model in models if model not in baselines], baselines)
    names = {
        "iterations": max(curve.iterations for curve in found if curve.panel == "trained"),
        "trained_length": max(c.trained_length for c in found if c.panel == "states"),
    }
    with mpl.rc_context(plots.RC):
        figure = Figure(figsize=(9, 6.6), layout="constrained")
        for axes, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
            axes.set_title(PANELS[panel].format(**names))
            axes.set_xlabel("t")
            if panel in LOGARITHMIC:
                axes.set_yscale("log")
            for curve in (curve for curve in found if curve.panel == panel):
                style, steps = styles[curve.model], range(len(curve.mean))
                label = f"{curve.model}, n = {curve.hidden_size}" if panel == "start" else None
                axes.plot(steps, curve.mean, color=style.color, ls=style.dash, label=label)
                axes.fill_between(
                    steps, curve.least, curve.largest, color=style.color, alpha=0.15, lw=0
                )
            for point in (r for r in readings if r.panel == panel and r.model in styles):
                style = styles[point.model]
                axes.plot(
                    point.step, point.value, color=style.color, marker="o", ls="none", mfc="none",
                    clip_on=False,
                )  # fmt: skip
        figure.legend(loc="outside right upper", fontsize=8)
        figure.supxlabel(caption, fontsize=8)
        return figure


def main() -> int:
    """Train, probe, draw."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--schemes", nargs="+", default=["arjovsky", "lstm", "tanh_rnn"])
    parser.add_argument("--length", type=int, default=PAPER_LENGTH, help="T of the curves")
    parser.add_argument("--iterations", type=int, default=100, help="of panel (ii), at this T")
    parser.add_argument("--trained-length", type=int, default=200, help="T of (iii) and (iv)")
    parser.add_argument("--trained-iterations", type=int, default=500, help="of (iii) and (iv)")
    parser.add_argument("--batch", type=int, default=20, help="sequences of a curve")
    parser.add_argument("--hidden-size", type=int, help="instead of the papers'")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=Path("results", "probes"), metavar="DIR")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: does it run at all?")
    options = parser.parse_args()
    if options.tiny:
        options.length, options.trained_length, options.batch = 12, 6, 3
        options.iterations = options.trained_iterations = 2
    try:
        runs = grid.expand(
            "smoke" if options.tiny else "paper",
            [TASK],
            options.schemes,
            lengths=[options.length],
            seeds=[options.seed],
            device=options.device,
            hidden_size=options.hidden_size,
        )
    except grid.GridError as error:
        parser.error(str(error))
    # A model that several papers trained comes once, in the first one's setting.
    first = {run.model: run for run in reversed(runs)}
    found = [c for model in options.schemes for c in curves(first[model], options)]
    shown = PAPER.readings if options.length == PAPER_LENGTH else ()
    caption = (
        f"Adding problem, T = {options.length}; mean, least and largest of {options.batch} "
        f"sequences. Trained for {options.iterations} iterations in (ii) and "
        f"{options.trained_iterations} in (iii) and (iv)."
    )
    if shown:
        caption += f"\nCircles: read off figure 4 of {PAPER.cite} by eye, approximate."
    write_json(
        options.results / "norms.json",
        curves=[asdict(curve) for curve in found],
        settings=[asdict(first[model]) for model in options.schemes],
        published=[asdict(reading) for reading in shown],
    )
    plots.save_png(draw(found, shown, caption), options.results / "norms.png")
    console.print(f"written: {options.results / 'norms.json'} and norms.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
