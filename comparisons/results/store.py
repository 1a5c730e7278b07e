"""Store results on disk: one JSON file per run, written so that a crash never harms one.

A folder holds ``runs/<id>.json`` for what finished, ``failures/<id>.json`` for what did not, and
``plan.json`` with the last command and the runs it asked for. The report is made from these alone;
``claims/`` tells commands apart that share the folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from comparisons.output import check_writable, write_file
from comparisons.papers import PAPERS
from comparisons.records import Failure, Result, Run
from comparisons.results.reading import json_files, read_records
from comparisons.results.schema import check
from comparisons.tasks import TASKS

R = TypeVar("R", Result, Failure)

_FACTS = {"machine": ("cpu", "cores", "gpu", "platform"), "versions": ("torch", "unitary_zoo")}
"""Keys of a result's dictionaries that the report reads."""


class ResultsError(ValueError):
    """A folder does not hold the results that are asked for; the message is one line."""


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
        results: Finished runs, each once, sorted by id.
        failures: Runs that failed and have not finished since, each once, sorted by id.
        plan: The last command; None if none was recorded.
        problems: A line for each file that cannot be read; such a run counts as not finished.
        notices: A line for each file that holds a run which another file holds too.
    """

    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    plan: Plan | None
    problems: tuple[str, ...]
    notices: tuple[str, ...] = ()

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

    def prepare(self, command: str, runs: Iterable[Run], paper: str = "") -> None:
        """Save what is about to be run, once it is certain that files can be written.

        Raises:
            OSError: Results could not be kept: a folder is full, not writable or no folder.
        """
        for name in ("runs", "failures"):
            check_writable(self.folder / name / "any.json")
        self.save_plan(command, runs, paper)

    def save(self, result: Result) -> None:
        """Save a finished run and delete an earlier failure of it.

        Raises:
            OSError: The file cannot be written.
            TypeError: The record could not be read back; see :func:`to_text`.
            ValueError: Likewise.
        """
        write_file(self.folder / "runs" / f"{result.run.id}.json", to_text(result))
        with contextlib.suppress(OSError):  # no reader heeds a failure beside a result
            (self.folder / "failures" / f"{result.run.id}.json").unlink(missing_ok=True)

    def save_failure(self, failure: Failure) -> None:
        """Save a failed run; the next command tries it again.

        Raises:
            OSError: The file cannot be written.
        """
        write_file(self.folder / "failures" / f"{failure.run.id}.json", to_text(failure))

    def save_plan(self, command: str, runs: Iterable[Run], paper: str = "") -> None:
        """Save what is about to be run, so that a partial report can say what is missing."""
        plan = Plan(command, tuple(run.id for run in runs), paper)
        write_file(self.folder / "plan.json", _dumps(dataclasses.asdict(plan)))

    def load(self) -> Contents:
        """Read the folder; a file that cannot be read becomes a line in ``problems``."""
        problems: list[str] = []
        notices: list[str] = []
        plans = read_records([self.folder / "plan.json"], _plan, problems)
        note = "; the run counts as not finished"
        files = json_files(self.folder / "runs", problems)
        results = _by_run(read_records(files, _result, problems, note), notices)
        _leave_out_cut_curves(results, problems, note)
        files = json_files(self.folder / "failures", problems)
        failures = _by_run(read_records(files, _failure, problems, note), notices)
        return Contents(
            results=tuple(results.values()),
            failures=tuple(failures[id] for id in failures if id not in results),
            plan=next(iter(plans.values()), None),
            problems=tuple(problems),
            notices=tuple(notices),
        )

    def require(self) -> None:
        """Check that the folder holds a comparison, be it one of which nothing finished.

        Raises:
            ResultsError: It does not exist, is no folder, or holds none.
        """
        if not self.folder.is_dir():
            what = "is no folder" if self.folder.exists() else "does not exist"
            raise ResultsError(f"{self.folder} {what}; name a folder that run_all.py filled")
        if not any((self.folder / name).exists() for name in ("plan.json", "runs", "failures")):
            raise ResultsError(
                f"{self.folder} holds neither a plan nor any finished run; name a folder that "
                "run_all.py filled"
            )


def to_text(ended: Result | Failure) -> str:
    """The content of a file that holds the record.

    Raises:
        TypeError: A value is not of the type that the record's class says, so that it could not be
            read back.
        ValueError: A number is infinite or undefined.
    """
    text = _dumps(ended.to_dict())
    (_failure if isinstance(ended, Failure) else _result)(json.loads(text))
    return text


def _dumps(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)


def _result(data: dict[str, Any]) -> Result:
    """The result, checked for all that the report reads of it."""
    result = Result.from_dict(data)
    check(result, Result, "result")
    if not result.curve:
        raise ValueError("result.curve has no point")
    for name, keys in _FACTS.items():
        if lacking := [key for key in keys if key not in getattr(result, name)]:
            raise ValueError(f"result.{name} lacks {', '.join(lacking)}")
    _check_run(result.run)
    return result


def _failure(data: dict[str, Any]) -> Failure:
    failure = Failure.from_dict(data)
    check(failure, Failure, "failure")
    _check_run(failure.run)
    return failure


def _plan(data: dict[str, Any]) -> Plan:
    if not isinstance(data["ids"], list):
        raise TypeError("plan.ids is no list")
    plan = Plan(**{**data, "ids": tuple(data["ids"])})
    check(plan, Plan, "plan")
    if plan.paper and plan.paper not in tuple(PAPERS):
        raise ValueError(f"plan.paper is {plan.paper!r}, which is no paper here")
    return plan


def _check_run(run: Run) -> None:
    """Raise an error if there is no such task, variant or length here, or no id can be made."""
    TASKS.get(run.task).check_length(run.length, run.variant)
    check(run.id, str, "run.id")


def _by_run(records: dict[Path, R], notices: list[str]) -> dict[str, R]:
    """The records by the ids of their runs, sorted; a run's second file adds a line to ``notices``.

    The file that is named by the id is taken; a copy of it says nothing new.
    """
    paths: dict[str, Path] = {}
    for path in sorted(records, key=lambda path: (path.stem != records[path].run.id, path.name)):
        first = paths.setdefault(records[path].run.id, path)
        if first != path:
            notices.append(
                f"{path.parent.name}/{path.name} holds the run of {first.name} and is ignored; "
                "delete one of them"
            )
    return {id: records[paths[id]] for id in sorted(paths)}


def _leave_out_cut_curves(results: dict[str, Result], problems: list[str], note: str) -> None:
    """Leave out results without the points that another seed of the same configuration has.

    A run that ended early has the first of them.
    """
    points = {id: [point.iteration for point in found.curve] for id, found in results.items()}
    configurations = {id: replace(found.run, seed=0).id for id, found in results.items()}
    longest: dict[str, list[int]] = {}
    for id, configuration in configurations.items():
        longest[configuration] = max(longest.get(configuration, []), points[id], key=len)
    for id, configuration in configurations.items():
        expected = longest[configuration]
        if results[id].stopped:
            expected = expected[: len(points[id])]
        if points[id] != expected:
            problems.append(
                f"runs/{id}.json has {len(points[id])} points in its curve, and another seed "
                f"{len(longest[configuration])} at these or other iterations{note}"
            )
            del results[id]
