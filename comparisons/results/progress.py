"""How far the last command on a folder is, told by the names of files, without reading results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from comparisons.results.claims import current_claims
from comparisons.results.form import read_plan
from comparisons.results.reading import Findings, json_files, read_records


@dataclass(frozen=True)
class Progress:
    """Numbers of runs of the last command.

    Attributes:
        finished: Those that finished.
        failed: Those that failed, and are not in training again.
        running: Those that a command trains now.
        left: Those that nobody has begun.
    """

    finished: int
    failed: int
    running: int
    left: int


def read_progress(folder: Path, now: float) -> Progress:
    """The progress of the last command; ``now`` is a time of the file system's clock.

    Without a plan, all files count, and nothing is left. A damaged file counts as finished until a
    command sets it aside.
    """
    finished, failed = (
        {path.stem for path in json_files(folder / name, [])} for name in ("runs", "failures")
    )
    plans = read_records([folder / "plan.json"], read_plan, Findings())
    asked = {id for plan in plans.values() for id in plan.ids} or finished | failed
    running = asked.intersection(current_claims(folder, now)) - finished
    failed = (failed & asked) - finished - running
    left = asked - finished - failed - running
    return Progress(len(finished & asked), len(failed), len(running), len(left))
