"""Timing in turns, the limit of the machine, and the JSON file, which all benchmarks share."""

from __future__ import annotations

import datetime
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from comparisons.output import write_file
from comparisons.training.machine import describe_machine, versions
from unitary_zoo._torch import onednn_product

Step = Callable[[], object]
Row = Mapping[str, Any]

ROOT = Path(__file__).resolve().parents[2]
GEMM_SIZES = (512, 1024, 2048)
PARALLEL = 2**18  # entries; PyTorch divides operations on more than 2^15 among its threads


class BrokenPromiseError(Exception):
    """A scheme of this library does what it claims not to do; its benchmark ran to the end.

    Attributes:
        tables: What the benchmark found, to be written all the same.
    """

    def __init__(self, message: str, tables: Mapping[str, list[Row]]) -> None:
        super().__init__(message)
        self.tables = tables


def load_average() -> list[float] | None:
    """Runnable processes over the last 1, 5 and 15 minutes; None where the platform has none."""
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None


def medians(steps: Mapping[str, Step], rounds: int, before: Step | None = None) -> dict[str, float]:
    """Median seconds of each step, after a warm-up; in every round each step takes one turn.

    Args:
        steps: Steps by name.
        rounds: Number of turns of each step.
        before: Is called before each turn, and not timed.
    """
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            if before is not None:
                before()
            times[name].append(seconds(step))
    return {name: statistics.median(taken) for name, taken in times.items()}


def medians_in_loops(
    steps: Mapping[str, Step], threads: Sequence[int], rounds: int, turn: float
) -> dict[str, dict[int, float]]:
    """Median seconds of each step in a loop of its own, by name and number of threads.

    Each turn begins with a step that is not timed: the caches still hold what another loop has
    left.

    Args:
        steps: Steps by name.
        threads: Numbers of threads; every step takes a turn with each of them in every round.
        rounds: Number of turns of each step with each number of threads.
        turn: Seconds of a turn, which has at least one step.
    """
    before = torch.get_num_threads()
    times: dict[str, dict[int, list[float]]] = {name: {n: [] for n in threads} for name in steps}
    counts = {}
    for name, step in steps.items():
        step()
        counts[name] = max(1, round(turn / seconds(step)))
    for _ in range(rounds):
        for name, step in steps.items():
            for n in threads:
                torch.set_num_threads(n)
                step()
                taken = seconds(partial(_repeat, step, counts[name]))
                times[name][n].append(taken / counts[name])
    torch.set_num_threads(before)
    return {
        name: {n: statistics.median(taken) for n, taken in by_threads.items()}
        for name, by_threads in times.items()
    }


def _repeat(step: Step, count: int) -> None:
    for _ in range(count):
        step()


def parallel_operation() -> Step:
    """A short operation of PyTorch that runs on all of its threads, as a training loop has many.

    Its threads stay awake for some milliseconds after it, whoever comes next.
    """
    x = torch.zeros(PARALLEL)
    return lambda: x.add_(1)


def seconds(step: Step) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def gemm_limit(
    dtype: torch.dtype = torch.float32, sizes: Sequence[int] = GEMM_SIZES, repeats: int = 10
) -> float:
    """The best rate of a square matrix product with the current threads, in GF/s.

    Both libraries of a torch build are tried, the BLAS behind ``torch.mm`` and oneDNN: which of
    them is the faster one depends on the processor.
    """
    best = 0.0
    with torch.no_grad():
        for n in sizes:
            for step in _products(n, dtype):
                step()
                taken = min(seconds(step) for _ in range(repeats))
                best = max(best, 2 * n**3 / taken / 1e9)
    return best


def _products(n: int, dtype: torch.dtype) -> list[Step]:
    a, b, out = (torch.randn(n, n, dtype=dtype) for _ in range(3))
    steps: list[Step] = [lambda: torch.mm(a, b, out=out)]
    if dtype == torch.float32 and torch.backends.mkldnn.is_available():
        steps.append(lambda: onednn_product(a, b))
    return steps


def write_json(
    path: Path, load_before: Sequence[float] | None = None, /, **sections: Sequence[Row]
) -> None:
    """Write tables, and beside them the facts about the run that a reader needs to judge them.

    Args:
        path: The file.
        load_before: The load average before the measurement; None where it was not asked for.
        sections: Tables by name; the page of the documentation shows every one it finds.
    """
    found: dict[str, Any] = {
        "command": _command(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": describe_machine("cpu"),
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "load_before": load_before,
        "load_after": load_average(),
    }
    clash = found.keys() & sections.keys()
    if clash:
        raise ValueError(f"sections {sorted(clash)} are facts about the run; name them otherwise")
    write_file(path, json.dumps(found | sections, indent=2) + "\n")


def _command() -> str:
    """The command line, with paths inside the repository relative to its root."""
    script, *words = sys.argv
    program = _from_root(Path(script).absolute())
    # ``python -m package`` starts the package's file __main__.py.
    package = program.removesuffix("/__main__.py")
    start = [program] if package == program else ["-m", package.replace("/", ".")]
    return shlex.join(["python", *start, *map(_from_root, words)])


def _from_root(word: str | Path) -> str:
    path = Path(word)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(word)
