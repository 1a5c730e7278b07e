"""Store results on disk: one JSON file per run, written so that a crash never harms one.

A folder holds ``runs/<id>.json`` for what finished, ``failures/<id>.json`` for what did not, and
``plan.json`` with the last command and the runs it asked for. The report is made from these alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from comparisons.records import Failure, Result, Run

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """The last command, the ids of its runs and, if it trained a paper again, the paper's name."""

    command: str
    ids: tuple[str, ...]
    paper: str = ""


@dataclass(frozen=True)
class Contents:
    """The contents of a folder.

    Attributes:
        results: Finished runs, sorted by id.
        failures: Runs that failed and have not finished since, sorted by id.
        plan: The last command; None if none was recorded.
        problems: A line for each file that cannot be read; such a run counts as not finished.
    """

    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    plan: Plan | None
    problems: tuple[str, ...]

    @property
    def missing(self) -> int:
        """Number of runs of the last command that neither finished nor failed."""
        asked = set(self.plan.ids) if self.plan else set()
        finished = {result.run.id for result in self.results}
        return len(asked - finished - {failure.run.id for failure in self.failures})


class Store:
    """The files of one comparison.

    Args:
        folder: The folder; created with the first file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, result: Result) -> None:
        """Save a finished run and delete an earlier failure of it."""
        self._write(self._run_file(result.run), result.to_dict())
        self._failure_file(result.run).unlink(missing_ok=True)

    def save_failure(self, failure: Failure) -> None:
        """Save a failed run; the next command tries it again."""
        self._write(self._failure_file(failure.run), failure.to_dict())

    def save_plan(self, command: str, runs: Iterable[Run], paper: str = "") -> None:
        """Save what is about to be run, so that a partial report can say what is missing."""
        plan = Plan(command, tuple(run.id for run in runs), paper)
        self._write(self.folder / "plan.json", dataclasses.asdict(plan))

    def load(self) -> Contents:
        """Read the folder; a file that cannot be read becomes a line in ``problems``."""
        problems: list[str] = []
        plans = _read(self.folder.glob("plan.json"), _plan_from_dict, problems)
        return Contents(
            results=_read((self.folder / "runs").glob("*.json"), Result.from_dict, problems),
            failures=_read((self.folder / "failures").glob("*.json"), Failure.from_dict, problems),
            plan=plans[0] if plans else None,
            problems=tuple(problems),
        )

    def _run_file(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.id}.json"

    def _failure_file(self, run: Run) -> Path:
        return self.folder / "failures" / f"{run.id}.json"

    def _write(self, path: Path, data: dict[str, Any]) -> None:
        """Replace the file in one step: a reader sees the old text or the new, never a part."""
        text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # or a power cut could leave the new name on old blocks
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _plan_from_dict(data: dict[str, Any]) -> Plan:
    return Plan(**{**data, "ids": tuple(data["ids"])})


def _read(
    paths: Iterable[Path], from_dict: Callable[[dict[str, Any]], T], problems: list[str]
) -> tuple[T, ...]:
    """The records in the files, sorted by name; an unreadable file adds a line to ``problems``."""
    records = []
    for path in sorted(paths):
        try:
            records.append(from_dict(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = f"{type(error).__name__}: {error}"
            problems.append(f"{path.parent.name}/{path.name} cannot be read ({reason})")
    return tuple(records)
