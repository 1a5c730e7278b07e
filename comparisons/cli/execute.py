"""Train what is missing under progress bars, and store each run as it ends."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from comparisons.cli import console
from comparisons.cli.interruption import ended_like_ctrl_c
from comparisons.cli.reporting import report_early
from comparisons.cli.sharing import SharedRuns, open_claims
from comparisons.execution import Divides, Executor
from comparisons.execution.executor import failure_by
from comparisons.plan.costs import costs, section
from comparisons.records import Failure, Result, Run
from comparisons.results.form import to_text
from comparisons.results.store import Store
from comparisons.training.artifacts import Artifacts
from comparisons.training.checkpoints import CheckpointFile


class Keeper:
    """Store what ended; what cannot be stored is kept in memory and tried again.

    The checkpoint of a run is deleted when its result is stored, and not before: until then the
    run can go on from there.

    Args:
        store: The files.
        command: The command that asked for the runs.
        checkpoints: The folder of the comparison to which checkpoints belong, if not the store's.

    Attributes:
        failed: Number of runs that failed.
        unsaved: What ended and is not stored.
        on_stored: Called with a run that is stored.
    """

    def __init__(self, store: Store, command: str, checkpoints: Path | None = None) -> None:
        self.failed = 0
        self.on_stored: Callable[[Run], None] = lambda run: None
        self.unsaved: list[Result | Failure] = []
        self._store, self._command = store, command
        self._artifacts = Artifacts(checkpoints or store.folder)

    def keep(self, ended: Result | Failure) -> Result | Failure:
        """Store it, and all that is waiting; return it as it is kept.

        A result that no file can hold, such as one with an undefined number, is kept as a failure.
        """
        if isinstance(ended, Result):
            ended = dataclasses.replace(ended, command=self._command)
        try:
            to_text(ended)
        except (TypeError, ValueError) as error:
            ended = failure_by(error, ended.run)
        self.failed += isinstance(ended, Failure)
        self.unsaved.append(ended)
        refused = self.try_again()
        if refused is not None:
            console.say(f"not stored ({refused}); kept in memory and tried again: {ended.run}")
        return ended

    def try_again(self) -> OSError | None:
        """Store what is waiting, as far as that is possible now; return the last error."""
        last = None
        for ended in list(self.unsaved):
            try:
                if isinstance(ended, Failure):
                    self._store.save_failure(ended)
                else:
                    self._store.save(ended)
                    if path := self._artifacts.checkpoint(ended.run.id):
                        CheckpointFile(path, ended.run).delete()
            except OSError as error:
                last = error
            else:
                self.unsaved.remove(ended)  # only now: an interruption in between loses nothing
                self.on_stored(ended.run)
        return last

    def report_unsaved(self) -> None:
        """Say what was not stored, and how to get it."""
        if not self.unsaved:
            return
        console.say(f"{len(self.unsaved)} runs ended and could not be stored:")
        for ended in self.unsaved:
            console.say(f"  {ended.run}")
        console.say(
            f"give {self._store.folder} room and write permission; this trains them again: "
            f"{self._command}"
        )


class Outlook:
    """The time that is left, from the runs that ended: their costs, and how long they took.

    Args:
        runs: All that are to be trained.
    """

    enough = 4
    """Runs that have to end before anything is said."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._costs = dict(zip((run.id for run in runs), costs(runs)[0], strict=True))
        self._total = sum(self._costs.values())
        self._done, self._ended, self._started = 0.0, 0, time.monotonic()

    def leave_out(self, run: Run) -> None:
        """Count a run no more, because another command trained it."""
        self._total -= self._costs[run.id]

    def left(self, ended: Run) -> float | None:
        """Count a run that ended; return the seconds that are left, None if it is too early."""
        self._done += self._costs[ended.id]
        self._ended += 1
        if self._ended < self.enough:
            return None
        return (time.monotonic() - self._started) * (self._total / self._done - 1)

    @property
    def first(self) -> bool:
        """Whether the last run was the first after which the time is known."""
        return self._ended == self.enough


def complete(
    executor: Executor, runs: Sequence[Run], store: Store, keeper: Keeper, jobs: int = 1
) -> None:
    """Train the runs that have not finished, except for those that another command trains.

    Damaged files are set aside. Once the first section of the report is complete, a report is
    written, and again at the end.
    """
    contents = console.read_contents(store)
    for line in store.set_aside(contents):
        console.say(line)
    finished = {result.run.id for result in contents.results}
    left = [run for run in runs if run.id not in finished]
    missing = [run for run in left if run.id not in contents.left_alone]
    taken = f"{len(runs) - len(left)} taken from {store.folder}"
    console.say(f"{len(runs)} runs: {taken}, {len(missing)} to train")
    with ended_like_ctrl_c(), open_claims(store) as claims:
        if isinstance(executor, Divides) and missing:
            division = executor.divide(missing)
            jobs = division.jobs
            if division.reason:
                console.say(division.reason)
        if line := console.expected(missing, jobs):
            console.say(f"{line}; the first runs show how long it takes on this one")
        shared = SharedRuns(missing, store, claims)
        execute(executor, missing, shared, keeper, store.folder)
        if shared.elsewhere:
            console.say(f"{shared.elsewhere} runs were trained by another command meanwhile")
        if shared.held:
            console.say(
                f"{len(shared.held)} runs are left to another command, which is at work on this "
                "folder; once it has ended, the same command trains what it did not"
            )


def execute(
    executor: Executor, runs: Sequence[Run], shared: SharedRuns, keeper: Keeper, folder: Path
) -> None:
    """Train those of the runs that are shared out to this command.

    Each result or failure is stored and printed as it comes.
    """
    bars, outlook = console.ProgressBars(len(runs)), Outlook(runs)
    waiting = collections.Counter(map(section, runs))
    reported = False

    def leave_out(run: Run) -> None:
        bars.leave_out()
        outlook.leave_out(run)
        waiting[section(run)] -= 1

    shared.on_elsewhere = leave_out
    keeper.on_stored = shared.release
    try:
        with bars, contextlib.closing(executor.execute(shared, bars.update)) as ended_runs:
            for ended in ended_runs:
                bars.finish(keeper.keep(ended))
                waiting[section(ended.run)] -= 1
                whole, others = not waiting[section(ended.run)], any(waiting.values())
                left = outlook.left(ended.run)
                if left is not None and others:
                    bars.note(f"about {console.minutes(left)} left")
                    if whole or outlook.first:
                        console.say(f"about {console.minutes(left)} left on this machine")
                if whole and others and not reported:
                    reported = True
                    report_early(folder)
    finally:
        keeper.try_again()
