"""Tables that fit a terminal: whole columns are left out, the least important ones first."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

WRAPPED = 16
"""Width down to which a column of words may be wrapped, unless a word is longer."""
GAP = 2
"""Width between two columns."""


@dataclass(frozen=True)
class Column:
    """A column of texts.

    Attributes:
        name: Its heading.
        cells: A text for each line.
        numbers: Whether they are numbers: these stand at the right and are never wrapped.
    """

    name: str
    cells: tuple[str, ...]
    numbers: bool

    @property
    def least(self) -> int:
        """The width that the column needs; headings are wrapped."""
        words = [word for cell in self.cells for word in cell.split()]
        uncut = _widest(self.cells) if self.numbers else min(_widest(self.cells), WRAPPED)
        return max(uncut, _widest(words), _widest(self.name.split()))

    @property
    def natural(self) -> int:
        """The width at which no cell is wrapped."""
        return max(self.least, _widest(self.cells))


def print_table(
    console: Console, title: str, columns: Sequence[Column], styles: Sequence[str] = ()
) -> None:
    """Print a table, with as many of its columns as fit, and name those that do not.

    Args:
        console: Where to; its width is the limit.
        title: A line above the table.
        columns: The columns, the most important ones first. Two are always shown; if they do not
            fit, words of the first one are broken.
        styles: A style of rich for each line; no styles, if not given.
    """
    shown = list(columns)
    while len(shown) > 2 and _least_width(shown) > console.width:
        shown.pop()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for column, width in zip(shown, _widths(shown, console.width), strict=True):
        # The widths are given, since rich would take them from all columns, and cut numbers.
        heading = textwrap.fill(column.name, width)
        justify: Literal["left", "right"] = "right" if column.numbers else "left"
        table.add_column(Text(heading), justify=justify, width=width, overflow="fold")
    lines = list(zip(*(column.cells for column in shown), strict=True))
    for line, style in zip(lines, styles or [""] * len(lines), strict=True):
        table.add_row(*map(Text, line), style=style)
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(table)
    if left_out := [column.name for column in columns[len(shown) :]]:
        needed = _least_width(columns)
        text = f"not shown: {', '.join(left_out)}; a terminal with {needed} columns shows all"
        console.print(Text(text, style="dim"))


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """The widths of the columns: what is left goes to those that need it, in equal parts."""
    spare = width - _least_width(columns)
    widths = [column.least for column in columns]
    if spare < 0:
        return [max(1, widths[0] + spare), *widths[1:]]
    while spare > 0 and (
        narrow := [i for i, column in enumerate(columns) if widths[i] < column.natural]
    ):
        for place in narrow[:spare]:
            widths[place] += 1
        spare -= len(narrow)
    return widths


def _least_width(columns: Sequence[Column]) -> int:
    return sum(column.least for column in columns) + GAP * (len(columns) - 1)


def _widest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts), default=0)
