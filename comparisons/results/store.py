"""Store results on disk: one JSON file per run, written so that a crash never harms one.

A folder holds ``runs/<id>.json`` for what finished, ``failures/<id>.json`` for what did not, and
``plan.json`` with the last command and the runs it asked for. ``searches.json`` holds how settings
were searched, and ``search/`` is the store of the trials. The report is made from these alone.
``claims/`` tells commands apart that share the folder, and ``set_aside/`` takes damaged files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from comparisons.output import check_writable, write_file
from comparisons.records import Failure, Result, Run
from comparisons.results.form import (
    Plan,
    dumps,
    read_failure,
    read_plan,
    read_result,
    read_searches,
    to_text,
)
from comparisons.results.reading import Findings, json_files, read_records
from comparisons.studies import Study

R = TypeVar("R", Result, Failure)

_NOT_FINISHED = "; the run counts as not finished"


class ResultsError(ValueError):
    """A folder does not hold the results that are asked for; the message is one line."""


@dataclass(frozen=True)
class Contents:
    """The contents of a folder.

    Attributes:
        results: Finished runs, each once, sorted by id.
        failures: Runs that failed and have not finished since, each once, sorted by id.
        plan: The last command; None if none was recorded.
        problems: A line for each file that cannot be read; such a run counts as not finished.
        notices: A line for each file that holds a run which another file holds too.
        damaged: Files among the problems that nobody can read.
        left_alone: The ids of runs whose files a newer version, or one with other plug-ins, can
            read: they are to be neither replaced nor set aside.
        searches: How settings were searched, sorted by id.
    """

    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    plan: Plan | None
    problems: tuple[str, ...]
    notices: tuple[str, ...] = ()
    damaged: tuple[Path, ...] = ()
    left_alone: frozenset[str] = frozenset()
    searches: tuple[Study, ...] = ()

    @property
    def ended(self) -> tuple[Result | Failure, ...]:
        """The results, and then the failures."""
        return (*self.results, *self.failures)

    @property
    def missing(self) -> int:
        """Number of runs of the last command that neither finished nor failed.

        Those that another version, or one with other plug-ins, can read have ended.
        """
        asked = set(self.plan.ids) if self.plan else set()
        finished = {result.run.id for result in self.results}
        failed = {failure.run.id for failure in self.failures}
        return len(asked - finished - failed - self.left_alone)


class Store:
    """The files of one comparison.

    Args:
        folder: The folder; created with the first file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(
        self,
        command: str,
        runs: Iterable[Run],
        paper: str = "",
        plugins: Iterable[str] = (),
        searching: bool = False,
    ) -> list[str]:
        """Save what is about to be run, once it is certain that files can be written.

        Args:
            command: The command.
            runs: Its runs.
            paper: The paper that it trains again.
            plugins: What it loaded.
            searching: Whether it searches for settings first, and stores how.

        Returns:
            A line for each file to be replaced that was damaged or foreign, and is set aside.

        Raises:
            OSError: Results could not be kept: a folder is full, not writable or no folder.
            ResultsError: A file to be replaced can be read by a newer version alone, or with other
                plug-ins; the folder is left to them.
        """
        findings = Findings()
        read_records([self.folder / "plan.json"], read_plan, findings)
        if searching:
            self._searches(findings)
        if findings.left_alone:
            raise ResultsError(findings.problems[0])
        for name in ("runs", "failures"):
            check_writable(self.folder / name / "any.json")
        lines = self._set_aside([path for path in findings.damaged if path.is_file()])
        self.save_plan(command, runs, paper, plugins)
        return lines

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

    def save_plan(
        self, command: str, runs: Iterable[Run], paper: str = "", plugins: Iterable[str] = ()
    ) -> None:
        """Save what is about to be run, so that a partial report can say what is missing."""
        plan = Plan(command, tuple(run.id for run in runs), paper, tuple(plugins))
        write_file(self.folder / "plan.json", dumps(dataclasses.asdict(plan)))

    def save_searches(self, searches: Iterable[Study]) -> None:
        """Save how settings were searched; an earlier search from the same setting is replaced.

        Raises:
            OSError: The file cannot be written.
        """
        found = {study.id: study for study in (*self._searches(Findings()), *searches)}
        studies = [dataclasses.asdict(found[id]) for id in sorted(found)]
        write_file(self.folder / "searches.json", dumps({"studies": studies}))

    def _searches(self, findings: Findings) -> tuple[Study, ...]:
        read = read_records([self.folder / "searches.json"], read_searches, findings)
        return next(iter(read.values()), ())

    def load(self) -> Contents:
        """Read the folder; a file that cannot be read becomes a line in ``problems``."""
        findings, notices = Findings(), list[str]()
        plans = read_records([self.folder / "plan.json"], read_plan, findings)
        files = json_files(self.folder / "runs", findings.problems)
        found = read_records(files, read_result, findings, _NOT_FINISHED)
        results = _by_run(found, notices)
        _leave_out_cut_curves(results, self.folder, findings)
        left_alone = frozenset(path.stem for path in findings.left_alone if path in files)
        files = json_files(self.folder / "failures", findings.problems)
        failures = _by_run(read_records(files, read_failure, findings, _NOT_FINISHED), notices)
        searches = self._searches(findings)
        return Contents(
            results=tuple(results.values()),
            failures=tuple(failures[id] for id in failures if id not in results),
            plan=next(iter(plans.values()), None),
            problems=tuple(findings.problems),
            notices=tuple(notices),
            damaged=tuple(findings.damaged),
            left_alone=left_alone,
            searches=searches,
        )

    def ended_since(self, run: Run, time: float) -> bool:
        """Whether the run has finished, or has failed after a time of the file system's clock."""
        findings, path = Findings(), Path("runs", f"{run.id}.json")
        if read_records([self.folder / path], read_result, findings) or findings.left_alone:
            return True
        try:
            return (self.folder / "failures" / path.name).stat().st_mtime > time
        except OSError:
            return False

    def set_aside(self, contents: Contents) -> list[str]:
        """Move the damaged files to ``set_aside/``; return a line for each that says how it went.

        Nothing is deleted or replaced. A file that can be read by now stays.
        """
        return self._set_aside(contents.damaged)

    def _set_aside(self, paths: Iterable[Path]) -> list[str]:
        lines = []
        for path in paths:
            target = _free_name(self.folder / "set_aside" / f"{path.parent.name}-{path.name}")
            try:
                if not self._still_damaged(path):
                    continue  # another command has replaced it just now
                target.parent.mkdir(exist_ok=True)
                path.rename(target)
            except FileNotFoundError:
                continue  # another command was faster
            except OSError as error:
                lines.append(f"{path} could not be set aside: {error}")
            else:
                lines.append(f"{path.parent.name}/{path.name} is set aside as {target}")
        return lines

    def _still_damaged(self, path: Path) -> bool:
        findings = Findings()
        if path.parent.name == "failures":
            return not read_records([path], read_failure, findings)
        if path.parent == self.folder:
            read: Callable[[Any], object] = read_plan if path.name == "plan.json" else read_searches
            return not read_records([path], read, findings)
        found = read_records([path], read_result, findings)
        # A whole file among them holds a curve that was cut.
        return not found or path in self.load().damaged

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


def _free_name(path: Path) -> Path:
    """The path, with a number if there is such a file already."""
    paths = (path.with_name(f"{path.stem}.{n}{path.suffix}") for n in itertools.count(2))
    return next(found for found in itertools.chain([path], paths) if not os.path.lexists(found))


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


def _leave_out_cut_curves(results: dict[str, Result], folder: Path, findings: Findings) -> None:
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
            path = folder / "runs" / f"{id}.json"
            findings.problems.append(
                f"{path.parent.name}/{path.name} has {len(points[id])} points in its curve, and "
                f"another seed {len(longest[configuration])} at these or other "
                f"iterations{_NOT_FINISHED}"
            )
            findings.damaged.append(path)
            del results[id]
