"""Read records from JSON files of which any may be damaged, huge or no file at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

LARGEST_BYTES = 1 << 28
"""Size above which no file is read: the result with the longest curve has a tenth of it."""


class LeftAloneError(ValueError):
    """A file is whole and cannot be understood here; the message says what can understand it."""


@dataclass
class Findings:
    """What is wrong with the files of a folder.

    Attributes:
        problems: A line for each file that cannot be read.
        damaged: Those of them that nobody can read.
        left_alone: Those that a newer version, or one with other plug-ins, can read.
    """

    problems: list[str] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    left_alone: list[Path] = field(default_factory=list)

    def add(self, path: Path, reason: str, note: str) -> None:
        """Add a line; the path may be none of those that are listed apart."""
        self.problems.append(f"{path.parent.name}/{path.name} cannot be read ({reason}){note}")


def json_files(folder: Path, problems: list[str]) -> list[Path]:
    """The JSON files of a folder, sorted by name; a folder that is not there has none."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"{folder.name} cannot be read ({_reason(error)})")
        return []
    return [folder / name for name in sorted(names) if name.endswith(".json") and name[0] != "."]


def read_records(
    paths: Iterable[Path],
    parse: Callable[[dict[str, Any]], T],
    findings: Findings,
    note: str = "",
) -> dict[Path, T]:
    """The records in the files; of one that cannot be read, a line with the note is a finding.

    No file is a problem where a file may be missing.
    """
    records = {}
    for path in paths:
        try:
            records[path] = parse(_json(path))
        except FileNotFoundError:
            if path.is_symlink():
                findings.add(path, "a link to nothing", note)
                findings.damaged.append(path)
        except LeftAloneError as error:
            findings.add(path, str(error), "; it is left alone")
            findings.left_alone.append(path)
        except Exception as error:
            # Whatever the file holds, it is a matter of this file: the others are read.
            findings.add(path, _reason(error), note)
            findings.damaged.append(path)
    return records


def _json(path: Path) -> Any:
    """What the file holds.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON, is nested too deeply, or is no file of a size that is read.
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("not a regular file")
    if facts.st_size > LARGEST_BYTES:
        raise ValueError(
            f"{facts.st_size >> 20:,} MiB, more than the {LARGEST_BYTES >> 20:,} that a result "
            "may take"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(number: str) -> NoReturn:
    raise ValueError(f"{number} is not finite")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
