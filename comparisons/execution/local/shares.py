"""Shares of this machine: how many runs at a time, with how many threads each; kept in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from comparisons.output import write_file
from comparisons.records import Run

FILE = "execution.json"
"""Name of the file that keeps the divisions of a comparison."""


@dataclass(frozen=True)
class Share:
    """A number of runs at a time, and the CPU threads of each."""

    jobs: int
    threads: int

    def __str__(self) -> str:
        runs = "1 run" if self.jobs == 1 else f"{self.jobs} runs"
        each = " each" if self.jobs > 1 else ""
        return f"{runs} at a time on {self.threads} thread{'s' * (self.threads > 1)}{each}"


@dataclass(frozen=True)
class _Kept:
    """An entry of the file: a share, for whom, and what had to be equal for it to count."""

    asked: int | None
    cpus: int
    share: Share
    ids: tuple[str, ...]


class KeptShares:
    """The shares that were chosen for the runs of a comparison.

    The last digits of a run depend on its threads. So what a command has left undone gets the
    threads that it would have had there, when the same number of jobs is asked for on a machine
    with as many CPUs.

    Args:
        folder: The folder of the comparison; None keeps nothing.
        asked: The number of jobs that is asked for; None if it is to be chosen.
        cpus: CPUs that may be used.
    """

    def __init__(self, folder: Path | None, asked: int | None, cpus: int) -> None:
        self._path = None if folder is None else folder / FILE
        self._asked, self._cpus = asked, cpus

    def find(self, runs: Sequence[Run]) -> dict[str, Share]:
        """The shares of those of the runs that have one, by id."""
        ids = {run.id for run in runs}
        return {
            name: kept.share
            for kept in self._read()
            if (kept.asked, kept.cpus) == (self._asked, self._cpus)
            for name in kept.ids
            if name in ids
        }

    def add(self, runs: Sequence[Run], share: Share) -> None:
        """Keep the share of the runs; where nothing can be written, it is chosen again."""
        if self._path is None or not runs:
            return
        new = _Kept(self._asked, self._cpus, share, tuple(sorted(run.id for run in runs)))
        entries = [asdict(kept) for kept in (*self._read(), new)]
        try:
            write_file(self._path, json.dumps({"shares": entries}, indent=1) + "\n")
        except OSError:
            return

    def _read(self) -> list[_Kept]:
        if self._path is None:
            return []
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))["shares"]
            return [_kept(entry) for entry in entries]
        except (OSError, ValueError, TypeError, KeyError):  # there is none, or it is damaged
            return []


def _kept(entry: dict[str, Any]) -> _Kept:
    share = Share(int(entry["share"]["jobs"]), int(entry["share"]["threads"]))
    if share.jobs < 1 or share.threads < 1:
        raise ValueError(f"a share of {share.jobs} jobs with {share.threads} threads")
    return _Kept(entry["asked"], entry["cpus"], share, tuple(entry["ids"]))
