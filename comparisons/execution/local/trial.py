"""A measurement of which division of the CPUs finishes a list of runs soonest."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import connection
from multiprocessing.context import ForkServerContext, SpawnContext

from comparisons.execution.local.shares import Share
from comparisons.execution.local.worker import Worker
from comparisons.execution.options import ExecutionOptions
from comparisons.plan.costs import costs
from comparisons.records import Run
from comparisons.training.artifacts import NOTHING

WINDOW_SECONDS = 0.7
"""Least time in which the steps of one share are counted."""
WINDOW_STEPS = 2
"""Least number of steps of each run in that time."""
LIMIT_SECONDS = 15.0
"""Time after which a share that has not made its first step, or these, is given up."""
SHORT_SECONDS = 60.0
"""Runs that take no longer than this in all are not worth a measurement."""
WORSE = 1.1
"""Shares with yet more threads are not tried once one takes that much longer than the best."""

STEP_SECONDS, ENTRY_SECONDS = 5e-3, 2e-6
"""A rough guess of a step where nothing is recorded: a constant, and each entry of the batch."""

Rate = Callable[[Share], float | None]
"""Steps a second of a share's runs together; None if they could not be counted."""


def possible_shares(cpus: int, count: int) -> list[Share]:
    """Shares that use as many runs as there can be; the one with the fewest threads comes first."""
    threads = {1 << power for power in range(cpus.bit_length())} | {cpus, max(1, cpus // count)}
    return [Share(min(count, cpus // each), each) for each in sorted(threads)]


def is_short(runs: Sequence[Run], cpus: int) -> bool:
    """Whether the runs are expected to end before a measurement would pay."""
    seconds, known = costs(runs)
    if not known:
        training = [run.setting.training for run in runs]
        seconds = [
            own.iterations * (STEP_SECONDS + ENTRY_SECONDS * run.length * own.batch_size)
            for run, own in zip(runs, training, strict=True)
        ]
    return sum(seconds) / min(cpus, len(runs)) < SHORT_SECONDS


def fastest(runs: Sequence[Run], cpus: int, rate: Rate) -> tuple[Share | None, str]:
    """The share that finishes the runs soonest, and the figures in words.

    Args:
        runs: In the order in which they are started.
        cpus: CPUs that may be used.
        rate: Measures a share on :func:`dearest`.
    """
    times: dict[Share, float] = {}
    parts = []
    for share in possible_shares(cpus, len(runs)):
        steps = rate(share)
        if steps is None:
            continue
        times[share] = whole_seconds(runs, share, steps)
        parts.append(f"{share.jobs} x {share.threads}: {steps:.3g} steps/s, {times[share]:.0f} s")
        if times[share] > WORSE * min(times.values()):
            break
    if not times:
        return None, ""
    return min(times, key=lambda share: times[share]), "; ".join(parts)


def dearest(runs: Sequence[Run]) -> Run:
    """The run that is expected to take longest."""
    own = costs(runs)[0]
    return runs[own.index(max(own))]


def whole_seconds(runs: Sequence[Run], share: Share, steps: float) -> float:
    """Time of the whole list if runs of its dearest make that many steps a second together."""
    own = costs(runs)[0]
    longest = dearest(runs).setting.training.iterations * share.jobs / steps
    ends = [0.0] * share.jobs
    for cost in own:
        heapq.heappush(ends, heapq.heappop(ends) + longest * cost / max(own))
    return max(ends)


def steps_per_second(
    context: ForkServerContext | SpawnContext,
    run: Run,
    share: Share,
    options: ExecutionOptions,
    share_mb: float | None,
) -> float | None:
    """Steps a second of several copies of the run that are trained at the same time.

    None is returned if one of them fails, or takes more than its share of the memory.
    """
    # It is stopped in its first steps, and has hardly anything to evaluate before them.
    size = run.setting.training.batch_size
    setting = run.setting.changed(iterations=10**9, eval_every=10**9, test_size=size)
    given = replace(options, artifacts=NOTHING, timeout=None)
    workers: list[Worker] = []
    try:
        for _ in range(share.jobs):
            workers.append(
                Worker(context, replace(run, setting=setting), share.threads, given, None, share_mb)
            )
            workers[-1].start()
        begun = _wait(workers, [1] * share.jobs, 0.0)  # the first step sets things up
        if begun is None:
            return None
        targets = [count + WINDOW_STEPS for count, _ in begun]
        ended = _wait(workers, targets, WINDOW_SECONDS)
    except (OSError, EOFError):
        return None
    finally:
        for worker in workers:
            worker.kill()
            worker.close()
    if ended is None:
        return None
    pairs = zip(begun, ended, strict=True)
    return sum((count - first) / (now - then) for (first, then), (count, now) in pairs)


def _wait(
    workers: Sequence[Worker], targets: Sequence[int], seconds: float
) -> list[tuple[int, float]] | None:
    """Wait that long at least, and until all have made their steps; return what they have made."""
    started = time.monotonic()
    while time.monotonic() - started < LIMIT_SECONDS:
        if connection.wait([end for worker in workers for end in worker.ends], 0.02):
            return None  # one has ended, which none can do in so few steps
        for worker in workers:
            worker.watch()
        made = [worker.steps for worker in workers]
        enough = all(count >= goal for (count, _), goal in zip(made, targets, strict=True))
        if enough and time.monotonic() - started >= seconds:
            return made
    return None
