"""The folders and the runs that the words of a command name."""

from __future__ import annotations

from pathlib import Path

from comparisons.cli.console import say
from comparisons.records import Failure, Result
from comparisons.results.store import Contents, ResultsError, Store

SHOWN = 5
"""Number of ids that a message names."""


class NotFoundError(LookupError):
    """No run, or more than one, is meant by a word; the message is one line."""

    def __str__(self) -> str:
        return str(self.args[0])


def load(folder: Path) -> Contents:
    """The contents of a comparison, after a line for each problem with its files.

    Raises:
        ResultsError: The folder holds none.
    """
    store = Store(folder)
    store.require()
    contents = store.load()
    for line in (*contents.problems, *contents.notices):
        say(f"{folder}: {line}")
    return contents


def comparisons_in(folder: Path) -> list[Path]:
    """The folder itself if it holds a comparison, or else the folders in it that do.

    Raises:
        ResultsError: There are none.
    """
    try:
        Store(folder).require()
    except ResultsError:
        inner = sorted(path for path in folder.glob("*") if path.is_dir() and _holds_one(path))
        if inner:
            return inner
        raise
    return [folder]


def find(word: str, folder: Path) -> tuple[Path, Result | Failure]:
    """The run whose id is the word or begins with it, and the folder that holds it.

    Raises:
        NotFoundError: No run does, or several do and none has the word as its id.
        ResultsError: The folder holds no comparison.
    """
    found: list[tuple[Path, Result | Failure]] = []
    for place in comparisons_in(folder):
        found += [(place, one) for one in load(place).ended if one.run.id.startswith(word)]
    exact = [(place, one) for place, one in found if one.run.id == word]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise NotFoundError(
            f"no run in {folder} begins with {word!r}; `results list` shows the ids"
        )
    names = [f"{one.run.id} in {place}" for place, one in (exact or found)[:SHOWN]]
    more = len(exact or found) - len(names)
    raise NotFoundError(
        f"{word!r} may be {', '.join(names)}{f' or {more} others' if more else ''}; name more of "
        "the id, or the folder by --results"
    )


def _holds_one(folder: Path) -> bool:
    try:
        Store(folder).require()
    except ResultsError:
        return False
    return True
