"""Bounds on a Jacobian and what is measured, on the adding problem, with W below, at and above 1.

Galvan's bound (largest slope times mu)^(T-1-t), mu the largest singular value of W, against the
norm of the Jacobian of the last state in h_t, for recurrent networks that have W = mu Q with the
same orthogonal Q, and four nonlinearities. The sigmoid loses the gradient whatever W is, for its
slopes are at most 1/4; tanh and ReLU lose it below the bound, as units saturate or fall silent;
the absolute value meets the bound exactly, because all slopes are 1, and with mu = 1 the norm is
constant (Lin and Wang). Nothing is trained.

    python comparisons/experiments/vanishing.py [--length 100] [--results DIR]

writes vanishing.json and vanishing.png. It fails if a measured norm is above its bound.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# A checkout is run as it is, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from comparisons.benchmarks.timing import write_json
from comparisons.cli.console import console
from comparisons.report import figures as plots
from comparisons.tasks import TASKS, stream
from unitary_zoo import Parametrization, UnitaryRNN, theory

TASK = "adding"
NONLINEARITIES = ("sigmoid", "tanh", "relu", "abs")
FACTORS = (0.9, 1.0, 1.1)
RADIUS = 0.5  # of the band around 1 that holds the singular values
# Rounding of a product of some hundred matrices in double precision is orders below it.
ROUNDING = 1e-9


class BoundError(ArithmeticError):
    """A norm was measured that cannot be."""


@dataclass(frozen=True)
class Case:
    """One nonlinearity and one factor; all lists are by t = 0..T-1.

    Attributes:
        nonlinearity: Its name.
        factor: mu, every singular value of W.
        least: Smallest measured norm, over the sequences.
        largest: Largest one.
        log_lower: Natural logarithm of the lower bound; None is no bound.
        log_upper: Of Galvan's bound.
    """

    nonlinearity: str
    factor: float
    least: list[float]
    largest: list[float]
    log_lower: list[float | None]
    log_upper: list[float]


def measure(nonlinearity: str, factor: float, n: int, x: Tensor, seed: int) -> Case:
    """One case.

    Raises:
        BoundError: A norm lies outside its bounds.
    """
    torch.manual_seed(seed)
    options: dict[str, Any] = {"dtype": torch.float64, "device": x.device}
    q = Parametrization.create("expm", n, **options).matrix().detach()
    rnn = UnitaryRNN(
        x.shape[-1], n, 1, "spectral_band", nonlinearity, radius=RADIUS, bias=False, **options
    )
    w = rnn.cells[0].recurrent
    w.assign_(factor * q)
    norms = theory.jacobian_norms(rnn, x)
    steps = torch.arange(len(norms) - 1, -1, -1, device=x.device)
    bounds = theory.gradient_bounds(w, nonlinearity, steps)
    least, largest = norms.amin(1), norms.amax(1)
    above = largest > bounds.upper * (1 + ROUNDING)
    below = least < bounds.lower * (1 - ROUNDING)
    if (above | below).any():
        t = int((above | below).nonzero()[0])
        raise BoundError(
            f"{nonlinearity}, mu = {factor:g}, t = {t}: measured {float(least[t]):.6g} to "
            f"{float(largest[t]):.6g}, bounds {float(bounds.lower[t]):.6g} to "
            f"{float(bounds.upper[t]):.6g}"
        )
    return Case(
        nonlinearity,
        factor,
        least.tolist(),
        largest.tolist(),
        [None if low == -torch.inf else low for low in bounds.log_lower.tolist()],
        bounds.log_upper.tolist(),
    )


def draw(cases: Sequence[Case], caption: str) -> Figure:
    """A panel for each nonlinearity; measured norms as bands, bounds as lines."""
    colors = dict(zip(dict.fromkeys(case.factor for case in cases), plots.PALETTE, strict=False))
    panels = list(dict.fromkeys(case.nonlinearity for case in cases))
    with mpl.rc_context(plots.RC):
        figure = Figure(figsize=(9, 6.2), layout="constrained")
        for axes, name in zip(figure.subplots(2, 2).flat, panels, strict=False):
            axes.set_title(name)
            axes.set_xlabel("t")
            axes.set_ylabel("‖∂h_T / ∂hₜ‖")
            axes.set_yscale("log")
            for case in (case for case in cases if case.nonlinearity == name):
                steps, color = range(len(case.least)), colors[case.factor]
                axes.fill_between(steps, case.least, case.largest, color=color, alpha=0.3, lw=0)
                axes.plot(steps, case.largest, color=color)
                upper = torch.tensor(case.log_upper, dtype=torch.float64).exp()
                axes.plot(steps, upper.tolist(), color=color, ls=plots.DASHES[1], lw=1)
        lines = [Line2D([], [], color=color, label=f"μ = {mu:g}") for mu, color in colors.items()]
        bound = Line2D([], [], color="#444444", ls=plots.DASHES[1], lw=1, label="bound")
        figure.legend(handles=[*lines, bound], loc="outside right upper", fontsize=8)
        figure.supxlabel(caption, fontsize=8)
        return figure


def main() -> int:
    """Measure, compare, draw."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--length", type=int, default=100, help="T of the adding problem")
    parser.add_argument("--hidden-size", type=int, default=32)
    parser.add_argument("--factors", type=float, nargs="+", default=list(FACTORS), metavar="MU")
    parser.add_argument("--batch", type=int, default=10, help="sequences")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=Path("results", "probes"), metavar="DIR")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: does it run at all?")
    options = parser.parse_args()
    if options.tiny:
        options.length, options.hidden_size, options.batch = 8, 4, 2
    wrong = [mu for mu in options.factors if not 1 - RADIUS < mu < 1 + RADIUS]
    if wrong:
        parser.error(f"--factors {wrong}: choose numbers between {1 - RADIUS:g} and {1 + RADIUS:g}")
    try:
        task = TASKS.get(TASK)(options.length)
    except ValueError as error:
        parser.error(str(error))
    data = stream(f"{TASK}/{options.length}/{options.seed}/probe")
    batch = next(task.train_batches(options.batch, data)).to(options.device)
    x = batch.inputs.double()
    cases = [
        measure(name, mu, options.hidden_size, x, options.seed)
        for name in NONLINEARITIES
        for mu in options.factors
    ]
    console.print(f"{len(cases)} cases: every measured norm lies within its bounds")
    caption = (
        f"Adding problem, T = {options.length}, n = {options.hidden_size}, W = μ Q with Q "
        f"orthogonal, untrained; {options.batch} sequences, from the least to the largest."
    )
    write_json(options.results / "vanishing.json", cases=[asdict(case) for case in cases])
    plots.save_png(draw(cases, caption), options.results / "vanishing.png")
    console.print(f"written: {options.results / 'vanishing.json'} and vanishing.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
