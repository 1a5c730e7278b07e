"""Forward and backward time of a recurrent layer against torch.nn.RNN, side by side.

A correctness gate comes first: the layer must equal nn.RNN with the same weights, outputs and
gradients. Then the variants of a case take turns, round by round, and medians are compared.
The second table decides where a structured W is applied by its factors.

    python comparisons/benchmarks/scan_speed.py [--threads 2] [--rounds 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A checkout is run as it is, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from comparisons.machine import describe_machine
from unitary_zoo import Parametrization, UnitaryRNN
from unitary_zoo.scan import recurrent_scan

# n, B, T: sizes of the papers' runs and around them.
CASES = [
    (64, 32, 200),
    (128, 32, 200),
    (128, 20, 1000),
    (128, 128, 784),
    (256, 128, 200),
    (512, 128, 100),
    (512, 20, 1000),
]
STRUCTURED_SIZES = (64, 128, 256, 512, 1024)
LIMIT = 1.3  # the promise: never slower than nn.RNN by more than this, for n >= 64
INPUTS = 2

Step = Callable[[], None]


def layers(n: int, nonlinearity: str) -> tuple[UnitaryRNN, nn.RNN]:
    """A unitary layer and nn.RNN with the same weights."""
    torch.manual_seed(0)
    ours = UnitaryRNN(INPUTS, n, scheme="expm", nonlinearity=nonlinearity)
    peer = nn.RNN(INPUTS, n, nonlinearity=nonlinearity)
    copy_weights(ours, peer)
    return ours, peer


@torch.no_grad()
def copy_weights(ours: UnitaryRNN, peer: nn.RNN) -> None:
    """Give nn.RNN the weights of the unitary layer."""
    cell = ours.cells[0]
    assert cell.bias is not None  # layers are built with one here
    peer.get_parameter("weight_hh_l0").copy_(cell.recurrent.matrix())
    peer.get_parameter("weight_ih_l0").copy_(cell.weight_ih)
    peer.get_parameter("bias_ih_l0").copy_(cell.bias)
    peer.get_parameter("bias_hh_l0").zero_()


def gate() -> None:
    """Raise unless the layer equals nn.RNN in float64, outputs and gradients."""
    for nonlinearity in ("relu", "tanh"):
        for n in (3, 64):
            ours, peer = layers(n, nonlinearity)
            ours, peer = ours.double(), peer.double()
            copy_weights(ours, peer)  # W is computed anew in double precision
            x = torch.randn(50, 4, INPUTS, dtype=torch.float64, requires_grad=True)
            found, wanted = ours(x)[0], peer(x)[0]
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)
            assert found is not None  # the layer returns its sequence
            pairs = zip(
                torch.autograd.grad(found.square().sum(), [x, ours.cells[0].weight_ih]),
                torch.autograd.grad(wanted.square().sum(), [x, peer.get_parameter("weight_ih_l0")]),
                strict=True,
            )
            for a, b in pairs:
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def training_step(layer: nn.Module, x: Tensor, last_only: bool) -> Step:
    """Forward and backward of a loss on the last state or on all of them."""

    def step() -> None:
        layer.zero_grad()
        out, h_n = layer(x)
        loss = h_n.abs().sum() if last_only else out.abs().sum()
        loss.backward()

    return step


def medians(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median seconds of each step; in every round all take one turn."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def against_rnn(rounds: int) -> list[dict[str, Any]]:
    """The layer (W built in every forward) against nn.RNN with the same activation."""
    rows = []
    for n, batch, steps in CASES:
        x = torch.randn(steps, batch, INPUTS)
        variants: dict[str, Step] = {}
        for nonlinearity in ("relu", "tanh"):
            ours, peer = layers(n, nonlinearity)
            last = UnitaryRNN(
                INPUTS, n, scheme="expm", nonlinearity=nonlinearity, return_sequence=False
            )
            variants[f"nn.RNN {nonlinearity}"] = training_step(peer, x, last_only=False)
            variants[f"ours {nonlinearity}"] = training_step(ours, x, last_only=False)
            variants[f"nn.RNN {nonlinearity}, last state"] = training_step(peer, x, last_only=True)
            variants[f"ours {nonlinearity}, last state"] = training_step(last, x, last_only=True)
        modrelu = UnitaryRNN(INPUTS, n, scheme="expm", nonlinearity="modrelu")
        variants["ours modrelu"] = training_step(modrelu, x, last_only=False)
        found = medians(variants, rounds)
        for name, seconds in found.items():
            if not name.startswith("ours"):
                continue
            peer_name = name.replace("ours", "nn.RNN").replace("modrelu", "tanh")
            rows.append(
                {
                    "case": f"n={n} B={batch} T={steps}",
                    "variant": name.removeprefix("ours "),
                    "ours_ms": seconds * 1e3,
                    "nn_rnn_ms": found[peer_name] * 1e3,
                    "ratio": found[peer_name] / seconds,
                }
            )
    return rows


def structured_or_dense(rounds: int) -> list[dict[str, Any]]:
    """Arjovsky's W by its factors (autograd loop) against its matrix (portable scan)."""
    rows = []
    for n in STRUCTURED_SIZES:
        batch, steps = 20, 100
        p = Parametrization.create("arjovsky", n)
        x = torch.randn(steps, batch, n, dtype=p.dtype)
        h0 = torch.zeros(batch, n, dtype=p.dtype)

        def run(dense: bool, p: Parametrization = p, x: Tensor = x, h0: Tensor = h0) -> None:
            w = p.matrix() if dense else p.prepare()
            backend = "portable" if dense else "reference"
            out = recurrent_scan(x, w, h0, "modrelu", return_sequence=False, backend=backend)
            out.abs().sum().backward()

        found = medians({"factors": lambda: run(False), "matrix": lambda: run(True)}, rounds)
        rows.append(
            {
                "case": f"n={n} B={batch} T={steps}",
                "factors_ms": found["factors"] * 1e3,
                "matrix_ms": found["matrix"] * 1e3,
                "matrix_over_factors": found["matrix"] / found["factors"],
            }
        )
    return rows


def show(title: str, rows: list[dict[str, Any]], console: Console) -> None:
    """Print rows as a table."""
    table = Table(title=title)
    for key in rows[0]:
        table.add_column(key, justify="left" if isinstance(rows[0][key], str) else "right")
    for row in rows:
        table.add_row(*(v if isinstance(v, str) else f"{v:.2f}" for v in row.values()))
    console.print(table)


def main() -> int:
    """Run the gate and both tables; exit code 1 if the promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console()
    gate()
    console.print("correctness gate passed: equal to nn.RNN in float64, outputs and gradients")
    speed = against_rnn(options.rounds)
    show("forward + backward; ratio = nn.RNN / ours (modrelu against tanh)", speed, console)
    structure = structured_or_dense(options.rounds)
    show("arjovsky: by factors or by matrix", structure, console)
    if options.json:
        found = {
            "machine": describe_machine("cpu"),
            "threads": options.threads,
            "rounds": options.rounds,
            "against_rnn": speed,
            "structured_or_dense": structure,
        }
        options.json.write_text(json.dumps(found, indent=2, default=str) + "\n")
    worst = min(row["ratio"] for row in speed)
    console.print(f"slowest case: {1 / worst:.2f} x the time of nn.RNN (limit {LIMIT})")
    return 0 if worst >= 1 / LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
