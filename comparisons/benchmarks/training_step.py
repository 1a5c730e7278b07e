"""Time of a whole training step in a plain loop, its parts, and what the second core gives.

A step is what a user writes: ``zero_grad``, the layer, a linear read-out and cross entropy,
``backward``, and a step of RMSprop, to which `attach` has added what a scheme does after it. A
correctness check of the gradients comes first. Then our layers and the peers take turns, each in a
loop of its own, with one thread and with ``--threads``. The sizes are those of papers: of Arjovsky
et al. (copying, pixels) and of Lin and Wang (words).

The parts of a step are timed in loops of their own, in turns with it:

- ``scan``: the recurrence forward and backward, for inputs of a single feature, with W given, or
  its factors where the layer applies these.
- ``inputs``: what the other features of the inputs add to that. The product with V is a part of
  the native recurrence.
- ``W``: W from its parameters, or the factors, and the gradient of that.
- ``readout_and_loss``: the real features of the states, the read-out and the loss, forward and
  backward, with the states given.
- ``optimizer``: the step of RMSprop, with the retraction or rebase that follows it.
- ``rest``: what is left of the step: Python, autograd, ``zero_grad``. The parts run alone with
  their data in the caches, so their sum need not be the time of the step, and the rest can come out
  negative.

    python -m comparisons.benchmarks training_step [--threads 2] [--only copying] [--json FILE]

The exit code is 1 if the check fails; missed targets are only shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from comparisons.benchmarks import networks, recurrences
from comparisons.benchmarks.networks import (
    ARJOVSKY,
    CAYLEY,
    EUNN,
    EXPM,
    GEOTORCH,
    GRU,
    LIE_EXP,
    LSTM,
    ORTHOGONAL,
    OURS,
    RNN,
    UGRU,
    Network,
    Problem,
    check_networks,
)
from comparisons.benchmarks.timing import Row, Step, medians_in_loops
from comparisons.cli.console import say, show
from unitary_zoo import UnitaryGRU, UnitaryGRUCell, UnitaryRNN, UnitaryRNNCell, attach

LR = 1e-4
TURN = 0.05  # seconds in which a network takes its steps before another has its turn
COMPARED = (RNN, LSTM, GRU)


@dataclass(frozen=True)
class Case:
    """A problem, who trains on it, and what is to be reached.

    Attributes:
        problem: The sizes.
        ours: Our networks.
        peers: The others.
        targets: For each of ours, ratios of the time of a peer to its own, with all threads.
        second_core: For each of ours, the time on one thread divided by that on two.
    """

    problem: Problem
    ours: Sequence[str]
    peers: Sequence[str]
    targets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    second_core: Mapping[str, float] = field(default_factory=dict)


CASES: tuple[Case, ...] = (
    Case(
        Problem("copying", 128, 20, 120, features=10, classes=10),
        (EXPM, CAYLEY, LIE_EXP, ARJOVSKY, EUNN, UGRU),
        (RNN, LSTM, GRU, GEOTORCH, ORTHOGONAL),
        {EXPM: {RNN: 2.6, LSTM: 2.4}, ARJOVSKY: {LSTM: 1.2}, UGRU: {GRU: 2.5}},
        {EXPM: 1.5},
    ),
    Case(
        Problem("pixels", 128, 128, 784, features=1, classes=10, last_only=True),
        (EXPM, LIE_EXP, ARJOVSKY, UGRU),
        (RNN, LSTM, GRU, GEOTORCH),
        second_core={EXPM: 1.85},
    ),
    Case(
        Problem("large", 512, 128, 100, features=10, classes=10),
        (EXPM, CAYLEY, LIE_EXP, ARJOVSKY),
        (RNN, LSTM, GEOTORCH),
        {EXPM: {RNN: 1.45}},
    ),
    Case(
        Problem("short", 200, 20, 35, features=10, classes=10),
        (EXPM, LIE_EXP, UGRU),
        (RNN, LSTM, GRU),
        {UGRU: {GRU: 1.2}},
    ),
    # The read-out of a language model takes most of its time.
    Case(
        Problem("words", 200, 20, 35, features=200, classes=10_000),
        (EXPM, UGRU),
        (RNN, LSTM, GRU),
    ),
)


def tiny(case: Case) -> Case:
    """The case at a size that only shows whether it runs."""
    p = case.problem
    return replace(
        case, problem=replace(p, n=8, batch=2, steps=3, features=min(p.features, 4), classes=3)
    )


def training_step(network: Network, x: Tensor, targets: Tensor) -> Step:
    """A step of training as a plain loop takes it."""
    optimizer = _optimizer(network)

    def step() -> None:
        optimizer.zero_grad()
        network(x, targets).backward()
        optimizer.step()

    return step


def _optimizer(network: Network) -> torch.optim.Optimizer:
    optimizer = torch.optim.RMSprop(network.parameters(), lr=LR)
    if isinstance(network.layer, (UnitaryRNN, UnitaryGRU)):
        attach(network, optimizer)
    return optimizer


def parts(name: str, problem: Problem) -> dict[str, Step]:
    """The parts of a step of one of our networks, and the scan of all features."""
    x, targets = problem.draw()
    network, updated = networks.build(name, problem), networks.build(name, problem)
    layer = networks.our_layer_of(network)
    cell = layer.cells[0]
    learned = [p for p in cell.recurrent.parameters() if p.requires_grad]
    w = recurrences.weights(layer)
    product = networks.factors_of(cell)
    if product is not None:
        w["W"] = product.numbers.detach().clone().requires_grad_()
    narrow = {**w, "V": w["V"].detach()[:, :1].contiguous().requires_grad_()}
    recurrence = networks.recurrence_of(layer, problem)
    scans = {
        "scan": recurrences.our_recurrence(
            recurrence, narrow, x[..., :1].contiguous(), product=product
        )
    }
    if problem.features > 1:
        scans["scan_of_all_features"] = recurrences.our_recurrence(
            recurrence, w, x, product=product
        )
    states = network.states(x).detach().requires_grad_()
    upstream, of_w = torch.randn_like(states), torch.randn_like(w["W"]) / problem.n
    read = [states, *network.readout.parameters()]
    updated(x, targets).backward()
    optimizer = _optimizer(updated)
    return {
        **{part: partial(form.results, upstream) for part, form in scans.items()},
        "W": lambda: torch.autograd.grad(_w_of(cell), learned, of_w),
        "readout_and_loss": lambda: torch.autograd.grad(network.loss(states, targets), read),
        "optimizer": optimizer.step,
    }


def _w_of(cell: UnitaryRNNCell | UnitaryGRUCell) -> Tensor:
    """What the scan reads: W, or the numbers of its factors."""
    product = networks.factors_of(cell)
    return recurrences.by_role(cell)["W"] if product is None else product.numbers


def measure(
    case: Case, threads: Sequence[int], rounds: int, turn: float
) -> dict[str, dict[int, float]]:
    """Seconds of a step of each network, by name and number of threads."""
    x, targets = case.problem.draw()
    steps = {
        name: training_step(networks.build(name, case.problem), x, targets)
        for name in (*case.ours, *case.peers)
    }
    return medians_in_loops(steps, threads, rounds, turn)


def times_rows(case: Case, found: Mapping[str, Mapping[int, float]]) -> list[Row]:
    """A row for each network: its times, their ratio, and the ratios of peers' times to its own."""
    rows: list[Row] = []
    for name, times in found.items():
        many = max(times)
        row: dict[str, Any] = {"case": str(case.problem), "step": name}
        row |= {f"ms_on_{n}_thread{'s' * (n > 1)}": times[n] * 1e3 for n in times}
        row["second_core"] = _second_core(times)
        for peer in COMPARED:
            row[f"{peer}_by_it"] = found[peer][many] / times[many] if peer in found else None
        rows.append(row)
    return rows


def _second_core(times: Mapping[int, float]) -> float | None:
    return times[min(times)] / times[max(times)] if len(times) > 1 else None


def target_rows(case: Case, found: Mapping[str, Mapping[int, float]]) -> list[Row]:
    """A row for each target of a case that this run can judge."""
    wanted: list[tuple[str, str, float | None, float]] = [
        (name, f"time of {peer} by its own", _ratio(found[peer], found[name]), target)
        for name, targets in case.targets.items()
        for peer, target in targets.items()
    ]
    wanted += [
        (name, "second core", _second_core(found[name]), target)
        for name, target in case.second_core.items()
    ]
    return [
        {
            "case": str(case.problem),
            "step": name,
            "figure": figure,
            "reached": reached,
            "target": target,
            "met": reached >= target,
        }
        for name, figure, reached, target in wanted
        if reached is not None
    ]


def _ratio(theirs: Mapping[int, float], ours: Mapping[int, float]) -> float:
    return theirs[max(theirs)] / ours[max(ours)]


def breakdown(case: Case, threads: Sequence[int], rounds: int, turn: float) -> list[Row]:
    """A row for each of our networks and number of threads: the times of the parts of a step."""
    rows: list[Row] = []
    for name in case.ours:
        x, targets = case.problem.draw()
        whole = training_step(networks.build(name, case.problem), x, targets)
        steps = {"step": whole, **parts(name, case.problem)}
        found = medians_in_loops(steps, threads, rounds, turn)
        for n in threads:
            ms = {part: times[n] * 1e3 for part, times in found.items()}
            step, all_features = ms.pop("step"), ms.pop("scan_of_all_features", ms["scan"])
            ms = {"scan": ms["scan"], "inputs": all_features - ms["scan"], **ms}
            ms["rest"] = step - sum(ms.values())
            rows.append(
                {
                    "case": str(case.problem),
                    "step": name,
                    "threads": n,
                    "step_ms": step,
                    **{f"{part}_ms": taken for part, taken in ms.items()},
                }
            )
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this benchmark."""
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="the cases whose line holds this text")


def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Check the gradients, then time the cases; a missed target is shown and is no failure."""
    check_networks()
    say(f"correctness check passed: gradients of {', '.join(OURS)}, in float64")
    threads, turn = sorted({1, options.threads}), 0.0 if options.tiny else TURN
    targets: list[Row] = []
    times: list[Row] = []
    divided: list[Row] = []
    for case in (case for case in CASES if options.only in str(case.problem)):
        chosen = tiny(case) if options.tiny else case
        found = measure(chosen, threads, options.rounds, turn)
        rows = times_rows(chosen, found)
        show("whole steps; nn.X by it: the time of nn.X divided by its own", rows)
        own = breakdown(chosen, threads, options.rounds, turn)
        show("the parts of a step", own)
        targets += target_rows(chosen, found)
        times += rows
        divided += own
    show("targets", targets)
    say(f"{sum(row['met'] for row in targets)} of {len(targets)} targets met")
    return {"targets": targets, "times": times, "breakdown": divided}
