"""The file of a results folder that says which schemes of plug-ins passed the conformance kit."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, replace
from pathlib import Path

from comparisons.output import write_file
from comparisons.results.schema import check

FILE = "conformance.json"


@dataclass(frozen=True)
class Conformance:
    """What is known about the schemes of plug-ins.

    Attributes:
        passed: A hash of code and versions for each scheme that passed.
        unchecked: Names of schemes that were trained without the checks.
    """

    passed: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    def with_passed(self, key: str) -> Conformance:
        """The record after a scheme passed whose code has that hash.

        What was trained without the checks, perhaps by other code, stays recorded.
        """
        return replace(self, passed=tuple(sorted({*self.passed, key})))

    def with_unchecked(self, scheme: str) -> Conformance:
        """The record after the scheme was trained without the checks."""
        return replace(self, unchecked=tuple(sorted({*self.unchecked, scheme})))


def read_conformance(folder: Path) -> Conformance:
    """The record in the folder; an empty one where none can be read, so that all is checked."""
    try:
        data = json.loads((folder / FILE).read_text(encoding="utf-8"))
        record = Conformance(tuple(data["passed"]), tuple(data["unchecked"]))
        check(record, Conformance, "conformance")
    except (OSError, ValueError, TypeError, KeyError):
        return Conformance()
    return record


def write_conformance(folder: Path, record: Conformance) -> None:
    """Write the record.

    Raises:
        OSError: It cannot be written.
    """
    write_file(folder / FILE, json.dumps(dataclasses.asdict(record), indent=1))
