"""Numbers, cells and Markdown tables as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

NONE = "–"
"""The cell of a value that is not known."""


def format_cell(value: object, digits: int = 3) -> str:
    """A value as text: numbers below 1000 to ``digits`` significant digits, larger ones whole."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def format_seconds(seconds: float) -> str:
    """A measured time in seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:,.3g} h"


def enumerated(names: Sequence[str], limit: int = 4, word: str = "and") -> str:
    """The names as an enumeration; if there are more than the limit, the last are counted."""
    if len(names) > limit:
        names = [*names[: limit - 1], f"{len(names) - limit + 1} others"]
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def markdown_table(
    columns: Sequence[str], lines: Iterable[Sequence[str]], numbers: Iterable[str] = ()
) -> str:
    """A table in Markdown; the columns in ``numbers`` are aligned to the right."""
    right = set(numbers)
    rule = ["--:" if column in right else "---" for column in columns]
    cells = [rule, *([_escaped(cell) for cell in line] for line in lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(map(_escaped, columns)), *cells])


def _escaped(cell: str) -> str:
    """The cell in one line; bars outside of code would end it."""
    line = cell.replace("\n", " ")
    return re.sub(r"(`[^`]*`)|\|", lambda match: match[1] or "\\|", line)
