"""Search for settings before the runs: rounds of trials, each stored as it ends.

The trials are runs like all others, in a store of their own, ``search`` in the folder of the
comparison. A search that was interrupted asks the same trials again and takes them from there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from comparisons.cli import console
from comparisons.cli.execute import Keeper
from comparisons.cli.interruption import ended_like_ctrl_c
from comparisons.cli.planned import Asked
from comparisons.cli.sharing import open_claims
from comparisons.execution import Executor
from comparisons.execution.faults import RETRIED
from comparisons.plan.search import Seeker, settled
from comparisons.records import Failure, Result, Run
from comparisons.results.claims import Claims
from comparisons.results.store import Store

TURN_SECONDS = 5.0
"""Time between two looks whether another command still searches."""


def searched(executor: Executor, asked: Asked, store: Store, command: str) -> list[Run]:
    """Return the runs with the settings that the search finds; without a search, as they are."""
    if not asked.seekers:
        return asked.runs
    trials = Store(store.folder / "search")
    keeper = Keeper(trials, command, store.folder)
    budget = asked.seekers[0].study.budget
    count = sum(seeker.study.budget for seeker in asked.seekers)
    console.say(
        f"search: {budget} trials for each of {len(asked.seekers)} configurations, {count} in all"
    )
    with ended_like_ctrl_c(), open_claims(trials) as claims:
        _wait_for_turn(claims, trials)
        try:
            _rounds(executor, asked.seekers, trials, keeper, store, count)
        finally:
            keeper.try_again()
            _kept(store.save_searches, [seeker.study for seeker in asked.seekers])
    runs = settled(asked.runs, [seeker.study for seeker in asked.seekers])
    _kept(store.save_plan, command, runs, asked.paper, asked.plugins)
    return runs


def _kept(save: Callable[..., None], *content: Any) -> None:
    """Save it; where that cannot be done, say so: the trials are kept apart, as runs are."""
    try:
        save(*content)
    except OSError as error:
        console.say(f"the search could not be stored ({error}); the same command does it again")


def _wait_for_turn(claims: Claims | None, trials: Store) -> None:
    """Wait until no other command searches in the folder, to take its trials from there."""
    told = False
    while claims is not None and not claims.take("search"):
        if not told:
            told = True
            console.say(f"another command searches in {trials.folder}; this one waits for it")
        time.sleep(TURN_SECONDS)


def _rounds(
    executor: Executor,
    seekers: Sequence[Seeker],
    trials: Store,
    keeper: Keeper,
    store: Store,
    count: int,
) -> None:
    """Train some trials of every seeker at a time, so that all workers have something to do.

    The trials of TPE that are drawn at random, and all of the other samplers, are one round.
    """
    known = _ended(trials)
    bars = console.ProgressBars(count)
    with bars:
        while asked := [run for seeker in seekers for run in seeker.ask()]:
            missing = {run.id: run for run in asked if run.id not in known}
            with contextlib.closing(
                executor.execute(list(missing.values()), bars.update)
            ) as ended_runs:
                for ended in ended_runs:
                    known[ended.run.id] = ended = keeper.keep(ended)
                    bars.finish(ended)
            for seeker in seekers:
                seeker.tell(known)
            _kept(store.save_searches, [seeker.study for seeker in seekers])


def _ended(trials: Store) -> dict[str, Result | Failure]:
    """The trials that an earlier command made; failures of the machine are tried again."""
    contents = trials.load()
    for line in (*contents.problems, *contents.notices, *trials.set_aside(contents)):
        console.say(line)
    ended: list[Result | Failure] = [*contents.results]
    ended += [failure for failure in contents.failures if failure.kind not in RETRIED]
    return {found.run.id: found for found in ended}


def print_searches(seekers: Sequence[Seeker], jobs: int) -> None:
    """Print what would be searched, and how long the trials would take."""
    if not seekers:
        return
    console.show(
        "search",
        [
            {
                "model": study.model,
                "task": study.task,
                "T": study.length,
                "n": study.hidden_size,
                "trials": study.budget,
                "sampler": study.sampler,
                "space": ", ".join(f"{d.name} {d}" for d in study.space),
                "from": study.space_source,
            }
            for study in (seeker.study for seeker in seekers)
        ],
    )
    trials = [seeker.run for seeker in seekers for _ in range(seeker.study.budget)]
    console.say(f"{len(trials)} trials come before the runs, whose settings they choose")
    if line := console.expected(trials, jobs):
        console.say(f"trials: {line}")
