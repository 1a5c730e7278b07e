"""Train what is missing under progress bars, and store each run as it ends."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

from comparisons.cli import console
from comparisons.execution import Executor
from comparisons.execution.executor import failure_by
from comparisons.records import Failure, Result, Run
from comparisons.results.claims import ClaimError, claimed
from comparisons.results.store import Store, to_text


class Keeper:
    """Store what ended; what cannot be stored is kept in memory and tried again.

    Args:
        store: The files.
        command: The command that asked for the runs.

    Attributes:
        failed: Number of runs that failed.
        unsaved: What ended and is not stored.
    """

    def __init__(self, store: Store, command: str) -> None:
        self.failed = 0
        self.unsaved: list[Result | Failure] = []
        self._store, self._command = store, command

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
            except OSError as error:
                last = error
            else:
                self.unsaved.remove(ended)  # only now: an interruption in between loses nothing
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


def complete(executor: Executor, runs: Sequence[Run], store: Store, keeper: Keeper) -> None:
    """Train the runs that have not finished, except for those that another command trains."""
    with contextlib.ExitStack() as stack:
        held: frozenset[str] = frozenset()
        try:
            held = stack.enter_context(claimed(store.folder, [run.id for run in runs]))
        except ClaimError as error:
            console.say(
                f"runs cannot be claimed in {store.folder} ({error}); a second command on this "
                "folder would train them twice"
            )
        finished = console.read_finished(store)  # after the claim: one may have ended just now
        left = [run for run in runs if run.id not in finished]
        missing = [run for run in left if run.id not in held]
        taken = f"{len(runs) - len(left)} taken from {store.folder}"
        console.say(f"{len(runs)} runs: {taken}, {len(missing)} to train")
        if len(missing) < len(left):
            console.say(
                f"{len(left) - len(missing)} runs are left to another command, which is at work "
                "on this folder; once it has ended, the same command trains what it did not"
            )
        execute(executor, missing, keeper)


def execute(executor: Executor, runs: Sequence[Run], keeper: Keeper) -> None:
    """Train the runs, and store and print each result or failure as it comes."""
    bars = console.ProgressBars(len(runs))
    try:
        with bars, contextlib.closing(executor.execute(runs, bars.update)) as ended_runs:
            for ended in ended_runs:
                bars.finish(keeper.keep(ended))
    finally:
        keeper.try_again()
