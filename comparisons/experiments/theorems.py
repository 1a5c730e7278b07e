"""The three theorems of Emami et al. (2019) on unitary and contractive networks, in numbers.

(1) Contractive ReLU networks and unitary ones of the same outputs: the largest difference over a
long sequence. (2) Networks of n equal channels: the number of states that every unitary network of
the same outputs needs, and the least error that a search finds with fewer. (3) A sigmoid network
and its unitary approximations: the error for several biases of the new units, and its bound.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from comparisons.benchmarks.timing import Row
from comparisons.cli.console import show
from comparisons.experiments.unitary_fit import best_unitary_fit_error
from comparisons.experiments.usage import positive
from comparisons.report import style
from comparisons.tasks.contractive_system import System
from unitary_zoo import UnitaryRNN, theory
from unitary_zoo.scan import recurrent_scan

INPUTS = 2
SIZES = (1, 2, 4, 16)
SEARCHED = ((1, 1), (1, 2), (2, 2), (2, 3), (2, 4))
"""Pairs of a number of channels and the number of states to search with."""
DECAY = 0.5
WEIGHT = 0.8
BIASES = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30)


def contractive(weight: Tensor, dtype: torch.dtype) -> nn.RNN:
    """Build a ReLU network with the recurrent matrix ``weight``."""
    rnn = nn.RNN(INPUTS, len(weight), nonlinearity="relu").to(dtype)
    rnn.get_parameter("weight_hh_l0").data.copy_(weight)
    return rnn


def matrices(seed: int) -> dict[str, Tensor]:
    """Draw both systems of the paper, random matrices of norm 0.9, and one of corank 2."""
    generator = torch.Generator().manual_seed(seed)
    found = {
        "poster, n = 4": System.draw(generator).weight,
        "program, n = 4": System.draw(generator, normalized=False).weight,
    }
    for n in SIZES:
        w = torch.randn(n, n, generator=generator, dtype=torch.float64)
        found[f"random, n = {n}"] = 0.9 * w / torch.linalg.matrix_norm(w, 2)
    u, _, vh = torch.linalg.svd(torch.randn(4, 4, generator=generator, dtype=torch.float64))
    values = torch.tensor([1.0, 1.0, 0.9, 0.9], dtype=torch.float64)
    found["corank 2, n = 4"] = u * values @ vh
    return found


@torch.no_grad()
def equivalents(seed: int, steps: int) -> list[Row]:
    """Theorem 1: for each matrix and dtype, the largest differences over the sequence.

    The difference from the scan of the given matrices is exactly 0 if the backend sums in a fixed
    order; ``nn.RNN`` sums in another order.
    """
    rows: list[Row] = []
    x = torch.randn(steps, 3, INPUTS, dtype=torch.float64)
    x /= x.norm(dim=-1, keepdim=True).clamp(min=1)  # no input is longer than 1
    for name, weight in matrices(seed).items():
        for dtype in (torch.float64, torch.float32):
            rnn = contractive(weight, dtype)
            n = rnn.hidden_size
            for minimal in (False, True):
                # With a norm within rounding of 1, the states are bounded for given steps only.
                unitary = theory.unitary_equivalent(rnn, 1.001, steps=steps, minimal=minimal)
                states, wanted = unitary(x.to(dtype))[0], rnn(x.to(dtype))[0]
                v, w, b, c = rnn.parameters()
                h = torch.zeros(x.shape[1], n, dtype=dtype)
                scanned = recurrent_scan(x.to(dtype), w, h, "relu", weight_ih=v, bias=b + c)
                extra = states[..., n:].abs()
                rows.append(
                    {
                        "W": name,
                        "norm": float(torch.linalg.matrix_norm(weight, 2)),
                        "dtype": str(dtype).removeprefix("torch."),
                        "states": n,
                        "unitary states": unitary.hidden_size,
                        "steps": steps,
                        "to scan": float((states[..., :n] - scanned).abs().max()),
                        "to nn.RNN": float((states[..., :n] - wanted).abs().max()),
                        "largest state": float(wanted.max()),
                        "new states": float(extra.max()) if extra.numel() else 0.0,
                    }
                )
    return rows


def certificates() -> list[Row]:
    """Theorem 2, the proved part: the states that n equal channels need to be unitary."""
    found: list[Row] = []
    for n in (1, 2, 3, 4, 8):
        proof = theory.unitary_rank_certificate(theory.forgetting_rnn(n, DECAY))
        found.append(
            {"n": n, "active": proof.active, "inactive": proof.needed, "states": proof.states}
        )
    return found


def searches(seed: int, trials: int) -> list[Row]:
    """Theorem 2, the tested part: the least error found with fewer states, and with 2n."""
    return [
        {
            "n": n,
            "states": states,
            "error": best_unitary_fit_error(
                theory.forgetting_rnn(n, DECAY), states, trials=trials, seed=seed
            ),
        }
        for n, states in SEARCHED
    ]


@torch.no_grad()
def approximations(seed: int) -> list[Row]:
    """Theorem 3: the error of the unitary approximation of one sigmoid state, and its bound."""
    torch.manual_seed(seed)
    options: dict[str, Any] = {"contractive": True, "dtype": torch.float64}
    rnn = UnitaryRNN(1, 1, scheme="svd_projection", nonlinearity="sigmoid", **options)
    rnn.cells[0].recurrent.assign_(torch.tensor([[WEIGHT]], dtype=torch.float64))
    x = 3 * torch.randn(200, 20, 1, dtype=torch.float64)
    wanted = rnn(x)[0]
    rows: list[Row] = []
    for bias in BIASES:
        near = theory.sigmoid_approximation(rnn, bias)
        error = float((near(x)[0][..., :1] - wanted).abs().max())
        rows.append({"bias": -bias, "error": error, "bound": theory.sigmoid_error_bound(rnn, bias)})
    return rows


def scalar_recurrent_weight(
    rnn: nn.Module, x: Tensor, first: tuple[float, float] = (-1.0, 1.0)
) -> float:
    r""":math:`w = (\mathrm{logit}\,y_1 - \mathrm{logit}\,y_1') / (y_0 - y_0')`, from the outputs.

    This proves Theorem 3 for one state. The outputs of :math:`h' = \sigma(w h + f x + b)` for two
    inputs that differ only in the first step determine w. A unitary w is 1 or -1, so a unitary
    network has equal outputs only if :math:`|w| = 1`. A read-out c h changes nothing: as
    :math:`f x \to \pm\infty` the outputs tend to 0 and c, which are equal only for equal c.

    Args:
        rnn: A network of one state and one input, called as a ``UnitaryRNN``.
        x: The input of the second step, a tensor of one number, whose dtype and device are used.
        first: The two inputs of the first step.

    Returns:
        w, up to the rounding of the outputs.
    """
    sequences = torch.stack([torch.stack([x.new_tensor(start), x.reshape(())]) for start in first])
    with torch.no_grad():
        states = rnn(sequences.unsqueeze(-1).transpose(0, 1))[0][..., 0]
    (before,), (after,) = states[:1], torch.logit(states[1:])
    return float((after[0] - after[1]) / (before[0] - before[1]))


def draw(searched: Sequence[Row], near: Sequence[Row]) -> Figure:
    """Draw errors by the number of states on the left, and by the bias on the right."""
    with mpl.rc_context(style.RC):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        channels = dict.fromkeys(row["n"] for row in searched)
        for n, color in zip(channels, style.PALETTE, strict=False):
            own = [row for row in searched if row["n"] == n]
            # An exactly zero error has no place on a log scale.
            errors = [max(row["error"], 1e-17) for row in own]
            left.plot([row["states"] for row in own], errors, "o-", color=color, label=f"n = {n}")
        left.set_title("Theorem 2: ReLU, n equal channels", fontsize=9)
        left.set_xlabel("states of the unitary network")
        left.set_ylabel("least error found")
        left.set_xticks(sorted({row["states"] for row in searched}))
        depths = [-row["bias"] for row in near]
        errors, bounds = ([row[key] for row in near] for key in ("error", "bound"))
        right.plot(depths, errors, "o-", color=style.PALETTE[0], label="measured")
        right.plot(depths, bounds, ls=style.DASHES[1], color=style.PALETTE[1], label="bound")
        right.set_title(f"Theorem 3: sigmoid, w = {WEIGHT:g}", fontsize=9)
        right.set_xlabel("minus the bias of the new unit")
        right.set_ylabel("largest error of the state")
        for axes in (left, right):
            axes.set_yscale("log")
            axes.legend(fontsize=8)
        return figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this experiment."""
    parser.add_argument("--steps", type=positive, default=10_000, help="T of theorem 1")
    parser.add_argument("--trials", type=positive, default=3, help="starts of each search")


def run(options: argparse.Namespace) -> tuple[dict[str, list[Row]], Figure]:
    """Measure and show the numbers of all three theorems, and draw two of them."""
    if options.tiny:
        options.steps, options.trials = 50, 1
    torch.manual_seed(options.seed)
    tables = {
        "equivalents": equivalents(options.seed, options.steps),
        "certificates": certificates(),
        "searches": searches(options.seed, options.trials),
        "approximations": approximations(options.seed),
    }
    show("Theorem 1: ReLU networks and unitary ones", tables["equivalents"])
    show("Theorem 2: what n equal channels need", tables["certificates"])
    show("Theorem 2: least error that a search found", tables["searches"])
    show("Theorem 3: a sigmoid state near unitary ones", tables["approximations"])
    return tables, draw(tables["searches"], tables["approximations"])
