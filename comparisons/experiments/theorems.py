"""The three theorems of Emami et al. (2019) on unitary and contractive networks, in numbers.

(1) Contractive ReLU networks and their unitary twins: how far their outputs are apart over a long
sequence. (2) Networks of n equal channels: how many states every unitary twin needs, and the least
error that a search by gradients finds with fewer. (3) A sigmoid network and its unitary
approximations: the error against the depth of the new units' bias, and its bound.

    python comparisons/experiments/theorems.py [--steps 10000] [--results DIR]

writes theorems.json and theorems.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# A checkout is run as it is, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from comparisons.benchmarks.timing import Row, show, write_json
from comparisons.cli.console import console
from comparisons.report import figures as plots
from comparisons.tasks.contractive_system import System
from unitary_zoo import UnitaryRNN, theory
from unitary_zoo.scan import recurrent_scan

INPUTS = 2
SIZES = (1, 2, 4, 16)
SEARCHED = ((1, 1), (1, 2), (2, 2), (2, 3), (2, 4))
"""Channels, and states to search with."""
DECAY = 0.5
WEIGHT = 0.8
BIASES = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30)


def contractive(weight: Tensor, dtype: torch.dtype) -> nn.RNN:
    """A ReLU network with that recurrent matrix."""
    rnn = nn.RNN(INPUTS, len(weight), nonlinearity="relu").to(dtype)
    rnn.get_parameter("weight_hh_l0").data.copy_(weight)
    return rnn


def matrices(seed: int) -> dict[str, Tensor]:
    """The two forms of the experiment, random ones of norm 0.9, and one with two leaks alone."""
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
    found["two leaks, n = 4"] = u * values @ vh
    return found


@torch.no_grad()
def twins(seed: int, steps: int) -> list[Row]:
    """Theorem 1: for each matrix and dtype, the largest differences over the sequence.

    That to the scan of the given matrices is exactly 0 where its backend sums in a fixed order;
    ``nn.RNN`` adds up in another one.
    """
    rows: list[Row] = []
    x = torch.randn(steps, 3, INPUTS, dtype=torch.float64)
    x /= x.norm(dim=-1, keepdim=True).clamp(min=1)  # no input is longer than 1
    for name, weight in matrices(seed).items():
        for dtype in (torch.float64, torch.float32):
            rnn = contractive(weight, dtype)
            n = rnn.hidden_size
            for minimal in (False, True):
                # A norm within rounding of 1 bounds no state but over so many steps.
                twin = theory.unitary_equivalent(rnn, 1.001, steps=steps, minimal=minimal)
                states, wanted = twin(x.to(dtype))[0], rnn(x.to(dtype))[0]
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
                        "twin": twin.hidden_size,
                        "steps": steps,
                        "to scan": float((states[..., :n] - scanned).abs().max()),
                        "to nn.RNN": float((states[..., :n] - wanted).abs().max()),
                        "largest state": float(wanted.max()),
                        "new states": float(extra.max()) if extra.numel() else 0.0,
                    }
                )
    return rows


def certificates() -> list[Row]:
    """Theorem 2, what is proved: the states every unitary twin of n equal channels needs."""
    found: list[Row] = []
    for n in (1, 2, 3, 4, 8):
        proof = theory.unitary_rank_certificate(theory.contractive_witness(n, DECAY))
        found.append(
            {"n": n, "active": proof.active, "inactive": proof.needed, "states": proof.states}
        )
    return found


def searches(seed: int, trials: int) -> list[Row]:
    """Theorem 2, what is only tested: the least error found with fewer states, and with 2n."""
    return [
        {
            "n": n,
            "states": states,
            "error": theory.smallest_twin_error(
                theory.contractive_witness(n, DECAY), states, trials=trials, seed=seed
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


def draw(searched: Sequence[Row], near: Sequence[Row]) -> Figure:
    """Left, errors by the number of states; right, errors by the bias."""
    with mpl.rc_context(plots.RC):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        channels = dict.fromkeys(row["n"] for row in searched)
        for n, color in zip(channels, plots.PALETTE, strict=False):
            own = [row for row in searched if row["n"] == n]
            # An exactly zero error has no place on a log scale.
            errors = [max(row["error"], 1e-17) for row in own]
            left.plot([row["states"] for row in own], errors, "o-", color=color, label=f"n = {n}")
        left.set_title("Theorem 2: ReLU, n equal channels", fontsize=9)
        left.set_xlabel("states of the unitary network")
        left.set_ylabel("least error found")
        left.set_xticks(sorted({row["states"] for row in searched}))
        depths = [-row["bias"] for row in near]
        right.plot(depths, [row["error"] for row in near], "o-", color=plots.PALETTE[0],
                   label="measured")  # fmt: skip
        right.plot(depths, [row["bound"] for row in near], ls=plots.DASHES[1],
                   color=plots.PALETTE[1], label="bound")  # fmt: skip
        right.set_title(f"Theorem 3: sigmoid, w = {WEIGHT:g}", fontsize=9)
        right.set_xlabel("minus the bias of the new unit")
        right.set_ylabel("largest error of the state")
        for axes in (left, right):
            axes.set_yscale("log")
            axes.legend(fontsize=8)
        return figure


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=10_000, help="T of theorem 1")
    parser.add_argument("--trials", type=int, default=3, help="starts of a search of theorem 2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("results", "probes"), metavar="DIR")
    options = parser.parse_args()
    for name in ("steps", "trials"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} {getattr(options, name)}: choose 1 or more")
    torch.manual_seed(options.seed)
    tables = {
        "twins": twins(options.seed, options.steps),
        "certificates": certificates(),
        "searches": searches(options.seed, options.trials),
        "approximations": approximations(options.seed),
    }
    show("Theorem 1: ReLU networks and their unitary twins", tables["twins"], console)
    show("Theorem 2: what n equal channels need", tables["certificates"], console)
    show("Theorem 2: least error that a search found", tables["searches"], console)
    show("Theorem 3: a sigmoid state near unitary ones", tables["approximations"], console)
    write_json(options.results / "theorems.json", **tables)
    figure = draw(tables["searches"], tables["approximations"])
    plots.save_png(figure, options.results / "theorems.png")
    console.print(f"written: {options.results / 'theorems.json'} and theorems.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
