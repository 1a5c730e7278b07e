"""Read records from JSON files of which any may be damaged, huge or no file at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

LARGEST_BYTES = 1 << 28
"""Size above which no file is read: the result with the longest curve has a tenth of it."""


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
    paths: Iterable[Path], parse: Callable[[dict[str, Any]], T], problems: list[str], note: str = ""
) -> dict[Path, T]:
    """The records in the files; one that cannot be read adds a line with the note to ``problems``.

    No file is a problem where a file may be missing.
    """
    records = {}
    for path in paths:
        try:
            records[path] = parse(_json(path))
        except FileNotFoundError:
            if path.is_symlink():
                problems.append(f"{path.name} cannot be read (a link to nothing){note}")
        except Exception as error:
            # Whatever the file holds, it is a matter of this file: the others are read.
            name = f"{path.parent.name}/{path.name}"
            problems.append(f"{name} cannot be read ({_reason(error)}){note}")
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
