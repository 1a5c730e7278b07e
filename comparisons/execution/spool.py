"""Files by which jobs on other machines and the command that waits for them tell each other."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comparisons.execution.executor import failure_by
from comparisons.output import write_file
from comparisons.records import Failure, Result, Run


@dataclass(frozen=True)
class Spool:
    """A folder that all machines see; every file in it is JSON and is replaced in one step.

    ``ended/<run id>.json`` holds what came of a run until the command has stored it, ``taken/``
    the same files afterwards, ``progress/<job>.json`` how far the runs of a job are,
    ``stopped/<job>.json`` that it was told to end, and ``jobs.json`` the runs of each job.
    ``logs/`` belongs to the library that submits the jobs.
    """

    folder: Path

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def save(self, ended: Result | Failure) -> None:
        """Save what came of a run; what no file can hold becomes a failure of the run."""
        key = "failure" if isinstance(ended, Failure) else "result"
        try:
            text = json.dumps({key: ended.to_dict()})
        except (TypeError, ValueError) as error:
            text = json.dumps({"failure": failure_by(error, ended.run).to_dict()})
        write_file(self.folder / "ended" / f"{ended.run.id}.json", text)

    def ended(self) -> set[str]:
        """The ids of the runs whose end is saved and not yet taken."""
        return _ids(self.folder / "ended")

    def done(self) -> set[str]:
        """The ids of all runs that ended."""
        return self.ended() | _ids(self.folder / "taken")

    def read(self, run: Run) -> Result | Failure:
        """What came of a run that ended; a file that cannot be read is a failure of the run."""
        try:
            data = json.loads((self.folder / "ended" / f"{run.id}.json").read_text("utf-8"))
            if "failure" in data:
                return replace(Failure.from_dict(data["failure"]), run=run)
            return replace(Result.from_dict(data["result"]), run=run)
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            return failure_by(error, run)

    def take(self, id: str) -> None:
        """Mark what came of a run as stored; a job that is started again does not repeat it.

        Where nothing can be written, it stays for the next command.
        """
        with contextlib.suppress(OSError):
            (self.folder / "taken").mkdir(exist_ok=True)
            os.replace(self.folder / "ended" / f"{id}.json", self.folder / "taken" / f"{id}.json")

    def start(self, job: str) -> None:
        """Note that a job has started, perhaps again."""
        with contextlib.suppress(OSError):
            (self.folder / "stopped" / f"{job}.json").unlink(missing_ok=True)
        self.note(job, {})

    def stop(self, job: str) -> None:
        """Note that a job was told to end."""
        with contextlib.suppress(OSError):  # it then costs an attempt
            write_file(self.folder / "stopped" / f"{job}.json", "{}")

    def was_stopped(self, job: str) -> bool:
        """Whether a job was told to end since it started."""
        return (self.folder / "stopped" / f"{job}.json").exists()

    def note(self, job: str, progress: Mapping[str, tuple[int, float]]) -> None:
        """Save the iterations done and the last loss of a job's runs, by their ids."""
        with contextlib.suppress(OSError):  # the runs go on
            write_file(self.folder / "progress" / f"{job}.json", json.dumps(progress))

    def progress(self, job: str) -> dict[str, tuple[int, float]] | None:
        """What :meth:`note` saved last; None if the job has not started."""
        data = _read(self.folder / "progress" / f"{job}.json")
        return None if data is None else {id: tuple(news) for id, news in data.items()}

    def save_jobs(self, jobs: Mapping[str, tuple[str, list[str]]]) -> None:
        """Save the number in the queue and the ids of the runs of each job, by its name."""
        write_file(self.folder / "jobs.json", json.dumps(jobs))

    def jobs(self) -> dict[str, tuple[str, list[str]]]:
        """What :meth:`save_jobs` saved last; empty if nothing was."""
        data = _read(self.folder / "jobs.json") or {}
        return {name: tuple(entry) for name, entry in data.items()}

    def close(self) -> None:
        """Delete all but the logs, if nothing is left to take."""
        if not self.ended():
            for name in ("ended", "taken", "progress", "stopped"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            with contextlib.suppress(OSError):  # the next command tries again
                (self.folder / "jobs.json").unlink(missing_ok=True)


def spools(place: Path) -> list[Spool]:
    """The spools in a folder that were not closed, the latest first."""
    return [Spool(path.parent) for path in sorted(place.glob("*/jobs.json"), reverse=True)]


def _ids(folder: Path) -> set[str]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return set()
    return {name[:-5] for name in names if name.endswith(".json") and name[0] != "."}


def _read(path: Path) -> dict[str, Any] | None:
    """The object in a file; None if there is no such file, or none that can be read now."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
