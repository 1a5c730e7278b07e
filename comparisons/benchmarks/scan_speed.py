"""Forward and backward time of a recurrence against PyTorch's layers, loops and the GEMM limit.

A correctness check comes first. Then the forms of a case take turns, round by round, and their
medians are compared. Right before each turn PyTorch runs a parallel operation, as in a training
loop, so that its threads are awake. The limit is the time that 6 T B n^2 operations (24 T B n^2 if
complex, 18 T B n^2 with gates) take at the best rate of a matrix product, measured in the same run.
Ours is timed twice: the recurrence with W given, which is what nn.RNN and nn.GRU do, and the whole
UnitaryRNN or UnitaryGRU, which builds W = exp(A) as well, as the orthogonal loops do.

    python -m comparisons.benchmarks scan_speed [--threads 2] [--rounds 7] [--json FILE]

The exit code is 1 if the check fails; missed targets are only shown.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from comparisons.benchmarks import recurrences
from comparisons.benchmarks.correctness import check_recurrences
from comparisons.benchmarks.recurrences import GATED, Form, Recurrence
from comparisons.benchmarks.timing import Row, gemm_limit, medians, parallel_operation
from comparisons.cli.console import say, show
from unitary_zoo import Parametrization
from unitary_zoo.scan import backends as scan_backends
from unitary_zoo.scan import recurrent_scan

RNN, TANH_RNN, LSTM, GRU = "nn.RNN", "nn.RNN (tanh)", "nn.LSTM", "nn.GRU"
GEOTORCH, ORTHOGONAL = "geotorch loop", "torch orthogonal loop"
EAGER, EAGER_COMPLEX = "eager modReLU loop", "eager complex64 loop"
LIMIT = "GEMM limit"


@dataclass(frozen=True)
class Case:
    """A recurrence, and target ratios of the time of a peer, or of the limit, to ours.

    Attributes:
        recurrence: What is timed.
        targets: Of the recurrence with W given, by the name of the peer.
        layer_targets: Of the whole layer, which builds W.
        threads: None stands for those of the command line.
    """

    recurrence: Recurrence
    targets: Mapping[str, float] = field(default_factory=dict)
    layer_targets: Mapping[str, float] = field(default_factory=dict)
    threads: int | None = None

    def __str__(self) -> str:
        """The line that ``--only`` searches."""
        return str(self.recurrence) + (f", threads={self.threads}" if self.threads else "")


def _last(n: int, batch: int, steps: int) -> Recurrence:
    return Recurrence(n, batch, steps, "relu", last_only=True)


CASES: tuple[Case, ...] = (
    Case(_last(128, 128, 784), {RNN: 6, LSTM: 10}, {LIMIT: 0.70}),
    Case(_last(128, 20, 1000), {RNN: 5}),
    Case(_last(512, 128, 100), {RNN: 2, LIMIT: 0.65}),
    Case(_last(512, 20, 1000), {RNN: 3}),
    Case(_last(8, 10, 1000), {RNN: 20}),
    Case(Recurrence(190, 128, 1020, "modrelu", last_only=False), {TANH_RNN: 3, EAGER: 4}),
    Case(Recurrence(128, 20, 120, "modrelu", False, is_complex=True), {EAGER_COMPLEX: 5}),
    Case(_last(128, 128, 784), {RNN: 4, LSTM: 9, LIMIT: 0.70}, threads=1),
    *(
        Case(Recurrence(*size, GATED, last_only=False))
        for size in ((128, 20, 120), (200, 20, 35), (256, 128, 200))
    ),
    # Without a target: other sizes, and other forms of those above.
    *(Case(_last(*size)) for size in ((64, 32, 200), (128, 32, 200), (256, 128, 200))),
    *(
        Case(Recurrence(*size, nonlinearity, last_only=False))
        for nonlinearity in ("relu", "tanh", "modrelu")
        for size in ((64, 32, 200), (128, 20, 1000), (256, 128, 200), (512, 20, 1000))
    ),
)
STRUCTURED_SIZES = (64, 128, 256, 512, 1024, 2048)
# Only the circulant form of eigenphase has factors; the real one is a dense matrix.
STRUCTURED: dict[str, dict[str, Any]] = {"arjovsky": {}, "eigenphase": {"basis": "dft"}}
# The forms of a structured W, and the backend that applies each.
FORMS = {"factors": "native", "factors_in_torch": "reference", "matrix": "auto"}
TINY_GEMM = (64,)


def tiny(case: Case) -> Case:
    """The case at a size that only shows whether it runs."""
    r = case.recurrence
    small = replace(r, n=min(r.n, 8), batch=min(r.batch, 2), steps=min(r.steps, 5))
    return replace(case, recurrence=small)


def against(r: Recurrence) -> tuple[Form, Form, dict[str, Form]]:
    """Our recurrence, our layer, and the peers by name."""
    layer, x = recurrences.draw(r)
    w = recurrences.weights(layer)
    peers: dict[str, Form] = {}
    if r.is_gated:
        peers[GRU] = recurrences.torch_gru(r, w, x)
    elif r.is_complex:
        peers[EAGER_COMPLEX] = recurrences.eager_loop(r, w, x)
    elif r.nonlinearity == "modrelu":
        peers[TANH_RNN] = recurrences.torch_rnn(r, w, x)
        peers[LSTM] = recurrences.torch_lstm(r, x)
        peers[EAGER] = recurrences.eager_loop(r, w, x)
    else:
        peers[RNN] = recurrences.torch_rnn(r, w, x)
        peers[LSTM] = recurrences.torch_lstm(r, x)
        peers[GEOTORCH] = recurrences.geotorch_loop(r, x)
        peers[ORTHOGONAL] = recurrences.torch_orthogonal_loop(r, x)
    return recurrences.our_recurrence(r, w, x), recurrences.our_layer(layer, x), peers


def measure(case: Case, rounds: int, limit: float) -> list[Row]:
    """A row for each peer of a case, and one for ``limit``, the rate of the GEMM in GF/s."""
    r = case.recurrence
    recurrence, layer, peers = against(r)
    states = recurrence.forward().detach()
    upstream = torch.randn_like(states)
    forms = {"recurrence": recurrence, "layer": layer, **peers}
    times = medians(
        {name: partial(form.results, upstream) for name, form in forms.items()},
        rounds,
        parallel_operation(),
    )
    ours, ours_with_w = times.pop("recurrence"), times.pop("layer")
    times[LIMIT] = r.flop / (limit * 1e9)
    rows: list[Row] = []
    for name, seconds in times.items():
        target, layer_target = case.targets.get(name), case.layer_targets.get(name)
        reached = [
            ratio >= wanted
            for ratio, wanted in ((seconds / ours, target), (seconds / ours_with_w, layer_target))
            if wanted is not None
        ]
        rows.append(
            {
                "case": str(r),
                "threads": torch.get_num_threads(),
                "against": name,
                "their_ms": seconds * 1e3,
                "our_recurrence_ms": ours * 1e3,
                "our_layer_ms": ours_with_w * 1e3,
                "ratio": seconds / ours,
                "ratio_of_layer": seconds / ours_with_w,
                "target": target,
                "target_of_layer": layer_target,
                "met": all(reached) if reached else None,
            }
        )
    return rows


def _modrelu_step(p: Parametrization, x: Tensor, h0: Tensor, form: str) -> None:
    w = p.matrix() if form == "matrix" else p.prepare()
    out = recurrent_scan(x, w, h0, "modrelu", return_sequence=False, backend=FORMS[form])
    out.abs().sum().backward()


def structured_or_dense(rounds: int, sizes: Sequence[int]) -> list[Row]:
    """Time a structured W by its factors, at every step, against its matrix, built once.

    The factors are applied by the default backend, compiled or in PyTorch operations, and by the
    plain loop. `choice.by_factors` in the scan has its constants from this.
    """
    rows: list[Row] = []
    for scheme, options in STRUCTURED.items():
        for n in sizes:
            r = Recurrence(n, 20, 100, "modrelu", last_only=True, is_complex=True)
            p = Parametrization.create(scheme, n, **options)
            x = torch.randn(r.steps, r.batch, n, dtype=p.dtype)
            h0 = torch.zeros(r.batch, n, dtype=p.dtype)

            run = partial(_modrelu_step, p, x, h0)
            forms = {form: partial(run, form) for form in FORMS}
            if not scan_backends()["native"].available:
                del forms["factors"]
            found = medians(forms, rounds, parallel_operation())
            fastest = min(found["factors_in_torch"], found.get("factors", math.inf))
            rows.append(
                {
                    "case": f"{scheme}, {r}",
                    **{f"{form}_ms": found[form] * 1e3 for form in forms},
                    "matrix_over_factors": found["matrix"] / fastest,
                }
            )
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this benchmark."""
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="the cases whose line holds this text")
    parser.add_argument(
        "--structured", action="store_true", help="also: a structured W by factors or by matrix"
    )


def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Check the recurrences, then time the cases; a missed target is shown and is no failure."""
    check_recurrences()
    say("correctness check passed: outputs and gradients, in float64 and float32")
    limits: dict[int, float] = {}
    speed: list[Row] = []
    for case in (case for case in CASES if options.only in str(case)):
        threads = case.threads or options.threads
        torch.set_num_threads(threads)
        if threads not in limits:
            limits[threads] = gemm_limit(sizes=TINY_GEMM) if options.tiny else gemm_limit()
        found = measure(tiny(case) if options.tiny else case, options.rounds, limits[threads])
        show("forward + backward; ratio: their time by ours", found)
        speed += found
    torch.set_num_threads(options.threads)
    targets = [row for row in speed if row["met"] is not None]
    measured: list[Row] = [
        {"threads": threads, "rounds": options.rounds, "gemm_gflops": rate}
        for threads, rate in limits.items()
    ]
    sizes = (4, 8) if options.tiny else STRUCTURED_SIZES
    structure = structured_or_dense(options.rounds, sizes) if options.structured else []
    show("targets", targets)
    show("the limit: the best matrix product of this run", measured)
    show("structured W: by factors or by matrix", structure)
    say(f"{sum(row['met'] for row in targets)} of {len(targets)} targets met")
    return {"limit": measured, "speed": speed, "structured_or_dense": structure}
