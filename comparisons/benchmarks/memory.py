"""Peak memory of a forward and backward pass against the length of the sequence and the batch.

Every form is measured at every size in a process of its own: the rise of its resident memory above
what it held with inputs and weights in place, after a warm-up on three steps. Peers return the last
state only, which takes the least memory. A size is left out if the smaller sizes of the form
predict a peak above a limit.

    python -m comparisons.benchmarks memory [--limit-gib 8] [--json FILE]

The exit code is 1 if the correctness check fails.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from comparisons.benchmarks import recurrences
from comparisons.benchmarks.correctness import check_recurrences
from comparisons.benchmarks.recurrences import Form, Recurrence, Tensors
from comparisons.benchmarks.timing import ROOT, Row
from comparisons.cli.console import say, show
from comparisons.training.machine import PeakMemory

SIZE = 128
STEPS = (1000, 10_000, 100_000)
BATCHES = (16, 128)
WARM_UP = 3  # steps
MB = 1e6  # bytes
MB_PER_GIB = 2**30 / MB

OURS = "ours, last state"
OURS_CHECKPOINT = "ours, last state, checkpoint"
REQUIRED = Recurrence(SIZE, 16, 100_000, "relu", last_only=True)
REQUIRED_MB = 500


def _ours(r: Recurrence, *, sequence: bool, checkpoint: bool) -> Form:
    layer, x = recurrences.draw(replace(r, last_only=not sequence))
    # The sum of states kept and states recomputed at a time is least when both are sqrt(T).
    layer.checkpoint = math.isqrt(r.steps) if checkpoint else None
    return recurrences.our_layer(layer, x)


def _given(build: Callable[[Recurrence, Tensors, Tensor], Form], r: Recurrence) -> Form:
    layer, x = recurrences.draw(r)
    return build(r, recurrences.weights(layer), x)


FORMS: dict[str, Callable[[Recurrence], Form]] = {
    OURS: lambda r: _ours(r, sequence=False, checkpoint=False),
    OURS_CHECKPOINT: lambda r: _ours(r, sequence=False, checkpoint=True),
    "ours, full sequence": lambda r: _ours(r, sequence=True, checkpoint=False),
    "ours, full sequence, checkpoint": lambda r: _ours(r, sequence=True, checkpoint=True),
    "nn.RNN": lambda r: _given(recurrences.torch_rnn, r),
    "nn.LSTM": lambda r: recurrences.torch_lstm(r, recurrences.draw(r)[1]),
    "eager loop": lambda r: _given(recurrences.eager_loop, r),
}


def peak_mb(form: str, r: Recurrence) -> float | None:
    """Peak memory of this process above what it held before; call it once in a process."""
    for recurrence in (replace(r, steps=WARM_UP), r):
        built = FORMS[form](recurrence)
        memory = PeakMemory("cpu")
        built.results()
    peak = memory.mb()
    return None if peak is None else peak * 2**20 / MB


def measure(form: str, r: Recurrence, threads: int) -> tuple[float | None, str]:
    """Peak memory in MB in a fresh process, and a note if it is not known."""
    size = [str(number) for number in (r.n, r.batch, r.steps)]
    command = [sys.executable, "-m", "comparisons.benchmarks", "memory"]
    command += ["--threads", str(threads), "--child", form, *size]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    if found.returncode:
        return None, f"failed: exit code {found.returncode}"
    mb = found.stdout.strip()
    return (None, "not told by this platform") if mb == "None" else (float(mb), "")


def peaks(
    forms: Sequence[str], sizes: Sequence[Recurrence], limit_mb: float, threads: int
) -> Iterator[Row]:
    """Yield a row for each form and size, the small sizes first."""
    measured = dict.fromkeys(forms, 0.0)  # MB per step and sequence
    for r in sorted(sizes, key=lambda r: r.steps * r.batch):
        for form in forms:
            states = r.steps * r.batch
            # In proportion to the largest size so far: small ones fit into memory held anyway.
            predicted = measured[form] * states
            if predicted > limit_mb:
                mb, note = None, f"not run: about {predicted / MB_PER_GIB:.0f} GiB"
            else:
                mb, note = measure(form, r, threads)
            if mb is not None:
                measured[form] = mb / states
            yield {
                "form": form,
                "n": r.n,
                "B": r.batch,
                "T": r.steps,
                "inputs_mb": states * recurrences.INPUTS * 4 / MB,
                "peak_mb": mb,
                "note": note,
            }


def requirement(rows: Sequence[Row]) -> list[Row]:
    """Whether a long sequence trains within :data:`REQUIRED_MB`, for each form that must do so."""
    r = REQUIRED
    where = {"n": r.n, "B": r.batch, "T": r.steps}
    return [
        {
            "requirement": f"n={r.n} B={r.batch} T={r.steps} trains within {REQUIRED_MB} MB",
            "form": row["form"],
            "peak_mb": row["peak_mb"],
            "met": None if row["peak_mb"] is None else row["peak_mb"] <= REQUIRED_MB,
        }
        for row in rows
        if row["form"] in (OURS, OURS_CHECKPOINT) and all(row[k] == v for k, v in where.items())
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this benchmark."""
    parser.add_argument("--limit-gib", type=float, default=8.0, help="measure no size beyond this")
    parser.add_argument("--only", default="", help="the forms whose name holds this text")
    # The form and size that a child process measures.
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Check the recurrences, then start a process for each form and size."""
    if options.child:
        form, n, batch, steps = options.child
        print(peak_mb(form, replace(REQUIRED, n=int(n), batch=int(batch), steps=int(steps))))
        return {}
    check_recurrences()
    say("correctness check passed: outputs and gradients, in float64 and float32")
    sizes = [replace(REQUIRED, batch=batch, steps=steps) for batch in BATCHES for steps in STEPS]
    if options.tiny:
        sizes = [replace(REQUIRED, n=8, batch=2, steps=steps) for steps in (4, 5)]
    forms = [form for form in FORMS if options.only in form]
    rows: list[Row] = []
    for row in peaks(forms, sizes, options.limit_gib * MB_PER_GIB, options.threads):
        say(str({key: value for key, value in row.items() if key != "inputs_mb"}))
        rows.append(row)
    show("peak memory of forward + backward, above inputs and weights", rows)
    found = requirement(rows)
    show("requirement", found)
    return {"requirement": found, "memory": rows}
