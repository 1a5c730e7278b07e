"""The cost of the matrix exponential in a training step, against a whole step of an RNN or a GRU.

Lin and Wang (2019) report 2 ms, 1 to 10 % of a batch, for W <- exp(-alpha g) W in networks for word
level PTB. Their sizes are not printed; here a batch is 20 sequences of 35 steps, one of their two
lengths, with as many features as units. Only the recurrent layer of the networks is timed:
forward, backward and a step of SGD. With embedding and read-out the shares would be smaller.

- ``exp``: W = exp(A), forward only; ``torch_exp`` is ``torch.matrix_exp`` of a skew matrix.
- ``build``: forward and backward of W = exp(A), the scheme ``expm``.
- ``update``: W <- exp(-alpha g) W, the step of the scheme ``lie_exp`` with its optimizer.
- ``urnn``: the whole step of a `UnitaryRNN` of the scheme ``lie_exp``.

    python -m comparisons.benchmarks expm_cost [--sizes 128 512] [--json FILE] [--png FILE]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from comparisons.benchmarks.correctness import CorrectnessError
from comparisons.benchmarks.timing import Row, Step, medians
from comparisons.cli.console import say, show
from comparisons.report.figures import save_png
from comparisons.report.style import DASHES, MARKERS, PALETTE, RC, styles
from unitary_zoo import Parametrization, UnitaryRNN, attach

SIZES = (64, 128, 256, 512)
CHECKED_SIZE = 33
BATCH, STEPS = 20, 35
LR = 1e-4
PUBLISHED = (1.0, 10.0)  # percent, as printed
PARTS = ("exp", "torch_exp", "build", "update")
NETWORKS = ("rnn", "gru", "urnn")


@torch.no_grad()
def check_exponential() -> None:
    """Check that the scheme's W is an exponential, and orthogonal.

    Raises:
        CorrectnessError: It is neither or only one of them.
    """
    p = Parametrization.create("expm", CHECKED_SIZE, dtype=torch.float64)
    w = p.matrix().clone()
    defect = p.describe().defect
    for parameter in p.learnable_parameters():
        parameter.mul_(0.5)
    half = p.matrix()
    # exp(A/2)^2 = exp(A): no other map onto the group does that.
    error = float((half @ half - w).abs().max())
    limit = p.info.tolerance(CHECKED_SIZE, torch.float64)
    if not max(error, defect) <= limit:  # so that NaN fails
        raise CorrectnessError(
            f"exp(A/2)^2 is off by {error:.3g}, W by {defect:.3g}; limit {limit:.3g}"
        )


def training_step(rnn: nn.Module, x: Tensor, upstream: Tensor) -> Step:
    """A step of training: forward, backward and a step of SGD."""
    optimizer = torch.optim.SGD(rnn.parameters(), lr=LR)
    if isinstance(rnn, UnitaryRNN):
        attach(rnn, optimizer)

    def step() -> None:
        optimizer.zero_grad()
        rnn(x)[0].backward(upstream)
        optimizer.step()

    return step


def building(p: Parametrization) -> Step:
    """The forward and backward pass of W."""
    weight, leaves = torch.randn(p.n, p.n), list(p.learnable_parameters())
    return lambda: torch.autograd.grad(p.matrix(), leaves, weight)


def update(p: Parametrization) -> Step:
    """A step of SGD, and the rebase that follows it."""
    for parameter in p.learnable_parameters():
        parameter.grad = torch.randn_like(parameter).div_(math.sqrt(parameter.numel()))
    optimizer = torch.optim.SGD(p.parameters(), lr=LR)
    attach(p, optimizer)
    return optimizer.step


def forward(p: Parametrization) -> None:
    """Compute W, without gradients."""
    with torch.no_grad():
        p.matrix()


def measure(sizes: Sequence[int], batch: int, steps: int, rounds: int) -> list[Row]:
    """A row for each size: milliseconds, and percents of a step of the networks."""
    rows: list[Row] = []
    for n in sizes:
        x, upstream = torch.randn(steps, batch, n), torch.randn(steps, batch, n) / n
        skew = torch.randn(n, n) / math.sqrt(n)
        skew = skew - skew.mT
        expm = Parametrization.create("expm", n)
        networks: dict[str, nn.Module] = {
            "rnn": nn.RNN(n, n),
            "gru": nn.GRU(n, n),
            "urnn": UnitaryRNN(n, n, scheme="lie_exp", nonlinearity="tanh"),
        }
        found = medians(
            {
                "exp": partial(forward, expm),
                "torch_exp": partial(torch.matrix_exp, skew),
                "build": building(expm),
                "update": update(Parametrization.create("lie_exp", n)),
                **{name: training_step(rnn, x, upstream) for name, rnn in networks.items()},
            },
            rounds,
        )
        row: dict[str, float] = {"n": n, "B": batch, "T": steps}
        row |= {f"{name}_ms": 1e3 * seconds for name, seconds in found.items()}
        for part in ("exp", "update"):
            row |= {
                f"{part}_%_of_{name}": 100 * found[part] / found[name] for name in ("rnn", "gru")
            }
        rows.append(row)
    return rows


def draw(rows: Sequence[Row]) -> Figure:
    """Draw milliseconds, and the share of a training step, against n."""
    sizes = [row["n"] for row in rows]
    style_of = styles(PARTS, NETWORKS)
    with mpl.rc_context(RC):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        times, shares = figure.subplots(1, 2)
        for name in (*PARTS, *NETWORKS):
            style = style_of[name]
            line = {"color": style.color, "ls": style.dash, "marker": style.marker}
            times.plot(sizes, [row[f"{name}_ms"] for row in rows], label=name, **line)
        low, high = PUBLISHED
        shares.axhspan(low, high, color="#e8e8e8", label=f"{low:g} to {high:g} %, Lin and Wang")
        for i, part in enumerate(("exp", "update")):
            for name, dash in (("rnn", "-"), ("gru", DASHES[1])):
                values = [row[f"{part}_%_of_{name}"] for row in rows]
                shares.plot(
                    sizes, values, color=PALETTE[i], ls=dash, marker=MARKERS[i],
                    label=f"{part}, of {name}",
                )  # fmt: skip
        times.set_ylabel("ms")
        shares.set_ylabel("% of a training step")
        for axes in (times, shares):
            axes.set_xlabel("n")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.legend(fontsize=7, handlelength=4)
        figure.supxlabel(
            f"{rows[0]['B']} sequences of {rows[0]['T']} steps, {torch.get_num_threads()} threads",
            fontsize=8,
        )
        return figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this benchmark."""
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--png", type=Path, help="also draw the figures")


def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Check the exponential, then time the sizes."""
    torch.manual_seed(0)
    check_exponential()
    say("correctness check passed: exp(A/2)^2 = exp(A), orthogonal, in float64")
    sizes, batch, steps = options.sizes, BATCH, STEPS
    if options.tiny:
        sizes, batch, steps = [4, 7], 2, 3
    rows = measure(sizes, batch, steps, options.rounds)
    show("ms, and percent of a training step", rows)
    if options.png:
        save_png(draw(rows), options.png)
    return {"cost": rows}
