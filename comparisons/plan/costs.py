"""Expected times of runs, from those recorded for the documentation: for the order and an estimate.

A run costs what the recorded one of its task, model and size took, in proportion to iterations,
length and batch. Where those differ too much, or nothing is recorded, no time is expected.
"""

from __future__ import annotations

import functools
import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from comparisons.records import Run

RECORDED = Path(__file__).resolve().parents[2] / "docs" / "results" / "quick.json"
FACTOR = 4.0
"""Largest ratio of length times batch over which a recorded time is carried over."""


@functools.cache
def _recorded() -> dict[tuple[str, str, int], tuple[float, int]]:
    """Seconds per iteration, and length times batch, by task, model and units."""
    if not RECORDED.exists():
        return {}
    return {
        (run["task"], run["model"], run["n"]): (
            run["seconds"] / run["iterations"],
            run["T"] * run["batch"],
        )
        for run in json.loads(RECORDED.read_text(encoding="utf-8"))["runs"]
        if run.get("seconds")
    }


def expected_seconds(run: Run) -> float | None:
    """Return the time on the machine of the recorded runs; None where none is comparable."""
    found = _recorded().get((run.task, run.model, run.setting.model.hidden_size))
    training = run.setting.training
    size = run.length * training.batch_size
    if found is None or run.device != "cpu" or not 1 / FACTOR <= size / found[1] <= FACTOR:
        return None
    return found[0] * training.iterations * size / found[1]


def costs(runs: Sequence[Run]) -> tuple[list[float], bool]:
    """Return relative costs of the runs, and whether they are expected seconds of each.

    A run without an expected time counts as much as the others on average; where no run has one,
    a cost is iterations times length times batch.
    """
    seconds = [expected_seconds(run) for run in runs]
    known = [cost for cost in seconds if cost is not None]
    if known:
        mean = statistics.fmean(known)
        return [mean if cost is None else cost for cost in seconds], len(known) == len(runs)
    training = [run.setting.training for run in runs]
    steps = [
        float(run.length * own.iterations * own.batch_size)
        for run, own in zip(runs, training, strict=True)
    ]
    return steps, False


def section(run: Run) -> tuple[str, str, int]:
    """Return what the report shows in one place: task, variant and length."""
    return run.task, run.variant, run.length


def cheapest_first(runs: Sequence[Run]) -> list[Run]:
    """Sort by seed, then by the cost of the whole section; its longest run comes first.

    So figures are complete early, and no worker is left alone with a long run. Where no time is
    expected, as for most papers, the order within a seed stays.
    """
    if all(expected_seconds(run) is None for run in runs):
        return sorted(runs, key=lambda run: run.seed)
    own = dict(zip((run.id for run in runs), costs(runs)[0], strict=True))
    total: dict[tuple[str, str, int], float] = defaultdict(float)
    for run in runs:
        total[section(run)] += own[run.id]
    return sorted(runs, key=lambda r: (r.seed, total[section(r)], section(r), -own[r.id]))
