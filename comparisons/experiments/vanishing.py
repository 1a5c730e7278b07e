"""Bounds on a Jacobian and its measured norm, on the adding problem, with W below, at and above 1.

The figure shows Galvan's bound (largest slope times mu)^(T-1-t), where mu is the largest singular
value of W, beside the norm of the Jacobian of the last state in h_t. The recurrent networks have
W = mu Q with the same orthogonal Q, and four nonlinearities. With the sigmoid the gradient vanishes
whatever W is, because its slopes are at most 1/4. With tanh and ReLU it falls below the bound as
units saturate or switch off. The absolute value meets the bound exactly, because all its slopes are
1, and with mu = 1 the norm is constant (Lin and Wang). Nothing is trained. The experiment fails if
a measured norm lies outside its bounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from comparisons.cli.console import say
from comparisons.experiments.usage import UsageError
from comparisons.report import style
from comparisons.tasks import TASKS, stream
from unitary_zoo import Parametrization, UnitaryRNN, theory

TASK = "adding"
NONLINEARITIES = ("sigmoid", "tanh", "relu", "abs")
FACTORS = (0.9, 1.0, 1.1)
RADIUS = 0.5  # the singular values of W lie in 1 +- this
# A product of some hundred matrices in double precision is more accurate by orders.
ROUNDING = 1e-9


class BoundError(ArithmeticError):
    """A measured norm lies outside its bounds."""


@dataclass(frozen=True)
class Norms:
    """Norms and their bounds for one nonlinearity and one factor; all lists are by t = 0..T-1.

    Attributes:
        nonlinearity: Its name.
        factor: mu, every singular value of W.
        least: Smallest measured norm, over the sequences.
        largest: Largest measured norm, over the sequences.
        log_lower: Natural logarithm of the lower bound; None means that there is no bound.
        log_upper: Natural logarithm of Galvan's bound.
    """

    nonlinearity: str
    factor: float
    least: list[float]
    largest: list[float]
    log_lower: list[float | None]
    log_upper: list[float]


def measure(nonlinearity: str, factor: float, n: int, x: Tensor, seed: int) -> Norms:
    """Measure the norms of one case and compare them with their bounds.

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
    return Norms(
        nonlinearity,
        factor,
        least.tolist(),
        largest.tolist(),
        [None if low == -torch.inf else low for low in bounds.log_lower.tolist()],
        bounds.log_upper.tolist(),
    )


def draw(cases: Sequence[Norms], caption: str) -> Figure:
    """Draw a panel for each nonlinearity, with measured norms as bands and bounds as lines."""
    colors = dict(zip(dict.fromkeys(case.factor for case in cases), style.PALETTE, strict=False))
    panels = list(dict.fromkeys(case.nonlinearity for case in cases))
    with mpl.rc_context(style.RC):
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
                axes.plot(steps, upper.tolist(), color=color, ls=style.DASHES[1], lw=1)
        lines = [Line2D([], [], color=color, label=f"μ = {mu:g}") for mu, color in colors.items()]
        bound = Line2D([], [], color="#444444", ls=style.DASHES[1], lw=1, label="bound")
        figure.legend(handles=[*lines, bound], loc="outside right upper", fontsize=8)
        figure.supxlabel(caption, fontsize=8)
        return figure


def eigenvalue_bounds(
    w: Tensor, slope_range: str | tuple[float, float], steps: int | Sequence[int] | Tensor
) -> theory.Bounds:
    r""":math:`(|\lambda|_{\min} s_{\min})^k, (|\lambda|_{\max} s_{\max})^k`: false for some W.

    Lin and Wang (2019) print these bounds on the Jacobian of k steps for any diagonalizable W. They
    hold if W is normal, :math:`W W^H = W^H W`, because then the :math:`|\lambda|` are the singular
    values. Otherwise they may fail by any factor: W = [[.5, 10], [0, .4]] has two different
    eigenvalues, so it is diagonalizable; the larger one is .5, and the norm of W is 10.02. The
    condition number of the eigenvectors is no remedy, because the factors D_i between the W have
    other eigenvectors.

    Arguments, result and errors are those of :func:`unitary_zoo.theory.gradient_bounds`.
    """
    if not bool(w.isfinite().all()):  # LAPACK would end the process
        raise ValueError("W has infinite or undefined entries; pass a finite matrix")
    eigenvalues = torch.linalg.eigvals(w.to(torch.promote_types(w.dtype, torch.float64)))
    # A diagonal matrix of W's field, whose singular values are the moduli of W's eigenvalues.
    moduli = eigenvalues.abs().to(eigenvalues.dtype if w.is_complex() else torch.float64)
    return theory.gradient_bounds(torch.diag(moduli), slope_range, steps)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this experiment."""
    parser.add_argument("--length", type=int, default=100, help="T of the adding problem")
    parser.add_argument("--hidden-size", type=int, default=32)
    parser.add_argument("--factors", type=float, nargs="+", default=list(FACTORS), metavar="MU")
    parser.add_argument("--batch", type=int, default=10, help="sequences")
    parser.add_argument("--device", default="cpu")


def run(options: argparse.Namespace) -> tuple[dict[str, list[dict[str, Any]]], Figure]:
    """Measure all cases, compare them with their bounds, and draw them.

    Raises:
        UsageError: A factor is outside the band of the scheme, or the task has no such length.
        BoundError: A norm lies outside its bounds.
    """
    if options.tiny:
        options.length, options.hidden_size, options.batch = 8, 4, 2
    wrong = [mu for mu in options.factors if not 1 - RADIUS < mu < 1 + RADIUS]
    if wrong:
        raise UsageError(
            f"--factors {wrong}: choose numbers between {1 - RADIUS:g} and {1 + RADIUS:g}"
        )
    try:
        task = TASKS.get(TASK)(options.length)
    except ValueError as error:
        raise UsageError(str(error)) from None
    data = stream(f"{TASK}/{options.length}/{options.seed}/probe")
    batch = next(task.train_batches(options.batch, data)).to(options.device)
    x = batch.inputs.double()
    cases = [
        measure(name, mu, options.hidden_size, x, options.seed)
        for name in NONLINEARITIES
        for mu in options.factors
    ]
    say(f"{len(cases)} cases: every measured norm lies within its bounds")
    caption = (
        f"Adding problem, T = {options.length}, n = {options.hidden_size}, W = μ Q with Q "
        f"orthogonal, untrained; {options.batch} sequences, from the least to the largest."
    )
    return {"cases": [asdict(case) for case in cases]}, draw(cases, caption)
