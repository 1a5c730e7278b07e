"""The runs of a command, shared with other commands on the same folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from comparisons.cli import console
from comparisons.records import Run
from comparisons.results.claims import Claims, tidy
from comparisons.results.store import Store


class SharedRuns(Iterator[Run]):
    """The runs, each claimed when an executor asks for the next one.

    So two commands share their runs as each has room for another. Runs that others hold are asked
    for once more at the end: their command may have ended.

    Args:
        runs: The runs, in order.
        store: Says what has ended meanwhile.
        claims: The claims of this command; None trains all runs without.
        on_elsewhere: Called with a run that another command has ended meanwhile.

    Attributes:
        held: The runs that another command holds.
        elsewhere: Number of the runs that another command has ended meanwhile.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        store: Store,
        claims: Claims | None,
        on_elsewhere: Callable[[Run], None] = lambda run: None,
    ) -> None:
        self.held: list[Run] = []
        self.elsewhere = 0
        self.on_elsewhere = on_elsewhere
        self._store, self._claims, self._refused = store, claims, False
        self._chosen = self._choose(runs)

    def __next__(self) -> Run:
        return next(self._chosen)

    def release(self, run: Run) -> None:
        """Give back the claim of a run that is stored."""
        if self._claims is not None:
            self._claims.release(run.id)

    def _choose(self, runs: Sequence[Run]) -> Iterator[Run]:
        yield from filter(self._claim, runs)
        again, self.held = self.held, []
        yield from filter(self._claim, again)

    def _claim(self, run: Run) -> bool:
        """Whether the run is to be trained here."""
        if self._claims is None:
            return True
        try:
            taken = self._claims.take(run.id)
        except OSError as error:
            if not self._refused:
                self._refused = True
                warn(self._store, error)
            return True
        if not taken:
            self.held.append(run)
            return False
        if self._store.ended_since(run, self._claims.since):
            self.release(run)
            self.elsewhere += 1
            self.on_elsewhere(run)
            return False
        return True


@contextlib.contextmanager
def open_claims(store: Store) -> Iterator[Claims | None]:
    """The claims of a command on a folder; None, and a line, where it does not take any."""
    with contextlib.ExitStack() as stack:
        claims = None
        try:
            claims = stack.enter_context(Claims(store.folder))
            tidy(store.folder, claims)
        except OSError as error:
            warn(store, error)
        yield claims


def warn(store: Store, error: OSError) -> None:
    """Say that runs cannot be claimed, and what comes of it."""
    console.say(
        f"runs cannot be claimed in {store.folder} ({error}); a second command on this folder "
        "would train them twice"
    )
