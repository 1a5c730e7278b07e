"""Time that an engine adds to each run, results it loses, and memory it takes, over many tiny runs.

All runs take two steps on the copying task with eight units. The overhead of a run is its share of
the wall time, less the time that its training takes in a process that has trained before, divided
among the runs at the same time. The first result is late by the start of the engine, which counts.

    python -m comparisons.benchmarks engine_overhead [--executor local] [--runs 1000] [--jobs 2]

The exit code is 1 if a run was lost, or gave other numbers than in this process.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from comparisons.benchmarks.correctness import CorrectnessError
from comparisons.benchmarks.timing import BrokenPromiseError, Row
from comparisons.cli.console import say, show
from comparisons.cli.values import pair, positive
from comparisons.execution import EXECUTORS, ExecutionOptions, SlurmOptions
from comparisons.records import Optimizer, Result, Run, Setting
from comparisons.training.artifacts import Artifacts
from comparisons.training.trainer import train

SETTING = Setting.of(
    hidden_size=8,
    batch_size=4,
    iterations=2,
    optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
    unitary_optimizer=Optimizer("rmsprop", lr=1e-4, alpha=0.9),
    test_size=4,
    eval_every=2,
    source="as little as possible",
)
CHECKED = 5
"""Runs whose numbers are compared with those of a training in this process."""
WARM = 20
"""Trainings in this process, of which the median is the time without an engine."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this benchmark."""
    parser.add_argument("--executor", default="local", choices=EXECUTORS)
    parser.add_argument("--runs", type=positive, default=1000)
    parser.add_argument("--jobs", type=positive, default=2, help="runs at the same time")
    parser.add_argument("--ray-address", help="as of run_all.py")
    parser.add_argument(
        "--slurm-cluster", default="local", help="slurm, or submitit's local or debug"
    )
    parser.add_argument("--slurm-runs-per-job", type=positive, default=100)
    parser.add_argument("--slurm-option", type=pair, action="append", default=[])


def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Train the runs through the engine, and compare with trainings without one."""
    runs = tiny_runs(8 if options.tiny else options.runs)
    curves, seconds = _without_engine(runs)
    with tempfile.TemporaryDirectory() as folder:
        given = ExecutionOptions(
            jobs=options.jobs,
            artifacts=Artifacts(Path(folder)),
            ray_address=options.ray_address,
            slurm=SlurmOptions(
                cluster=options.slurm_cluster,
                array=options.jobs,
                runs_per_job=options.slurm_runs_per_job,
                more=tuple(options.slurm_option),
            ),
        )
        row, found = _through_engine(options.executor, given, runs, seconds / options.jobs)
    show(f"{len(runs)} tiny runs through {options.executor}", [row])
    tables: dict[str, list[Row]] = {"engine_overhead": [row]}
    for run, losses in curves.items():
        if run in found and found[run] != losses:
            raise CorrectnessError(f"{run}: losses {found[run]}, without an engine {losses}")
    if row["lost"]:
        raise BrokenPromiseError(f"{row['lost']} of {len(runs)} runs gave no result", tables)
    return tables


def tiny_runs(count: int) -> list[Run]:
    """Runs that differ in their seeds."""
    return [Run("copying", "cayley", 5, seed, SETTING) for seed in range(count)]


def _losses(result: Result) -> tuple[float, ...]:
    return tuple(point.test_loss for point in result.curve)


def _without_engine(runs: Sequence[Run]) -> tuple[dict[Run, tuple[float, ...]], float]:
    """Losses of the first runs, and the median seconds of a training in this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    curves = {run: _losses(train(run)) for run in runs[:CHECKED]}
    taken = []
    for run in [replace(runs[0], seed=seed) for seed in range(WARM)]:
        started = time.perf_counter()
        train(run)
        taken.append(time.perf_counter() - started)
    torch.set_num_threads(before)
    return curves, statistics.median(taken)


def _through_engine(
    name: str, options: ExecutionOptions, runs: Sequence[Run], training: float
) -> tuple[Row, dict[Run, tuple[float, ...]]]:
    """Figures of the engine, and the losses by run; ``training`` is each one's time without it."""
    found: dict[Run, tuple[float, ...]] = {}
    memory: list[tuple[float, float]] = []
    # Not at the very start: until then the engine is imported and its processes are started.
    marks = {math.ceil(share * len(runs)) for share in (0.1, 0.5, 1.0)}
    first = math.nan
    started = time.perf_counter()
    ended_runs = EXECUTORS[name](options).execute(runs, lambda *update: None)
    for count, ended in enumerate(ended_runs, start=1):
        if count == 1:
            first = time.perf_counter() - started
        if isinstance(ended, Result):
            found[ended.run] = _losses(ended)
        else:
            say(f"failed: {ended.run}: {ended.error}")
        if count in marks:
            memory.append((resident_mb(os.getpid()), sum(map(resident_mb, _children()))))
    wall = time.perf_counter() - started
    own, helpers = zip(*memory, strict=True)
    return {
        "executor": name,
        "runs": len(runs),
        "jobs": options.jobs,
        "lost": len(runs) - len(found),
        "wall s": wall,
        "first result s": first,
        "ms a run": 1e3 * wall / len(runs),
        "training ms": 1e3 * training * (options.jobs or 1),
        "overhead ms": 1e3 * (wall / len(runs) - training),
        "MB at 10, 50, 100 %": _together(own),
        "MB of its children": _together(helpers),
    }, found


def _together(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.0f}" for number in numbers)


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MiB; not a number where that is not told."""
    return _status(pid, "VmRSS", math.nan) / 2**10


def _children() -> list[int]:
    """The processes that this one has started, as far as the platform tells."""
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if _status(pid, "PPid", -1) == os.getpid()]


def _status(pid: int, key: str, default: float) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:  # it has ended, or there is no such file system
        return default
    return next((float(line.split()[1]) for line in lines if line.startswith(f"{key}:")), default)
