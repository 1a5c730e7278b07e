"""Colours, dashes and markers of the models in all figures of a report.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart, and every line also
has a dash pattern and every point a marker of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1.2)))
MARKERS = "osD^vP*X"
LINE_MARKERS = "x+1234"  # of baselines; they have no inside that could be left hollow
GREYS = ("#3d3d3d", "#6e6e6e", "#949494")
RC: Any = {  # each key has a value of its own type
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#e8e8e8",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",  # text stays text: smaller, and a reader can search it
    "svg.hashsalt": "unitary_zoo",  # equal results give equal files
}


COLUMN: Any = {**RC, "font.size": 7.5, "lines.linewidth": 1.1, "lines.markersize": 3.5}
"""For figures that are :data:`COLUMN_WIDTH` wide."""
COLUMN_WIDTH = 3.5  # inches, a column of most journals
OTHERS: Any = {"color": "#c4c4c4", "linewidth": 0.6, "zorder": 1}
"""Look of the lines that have none of their own."""


@dataclass(frozen=True)
class Style:
    """Colour, dash pattern and marker of a line; a dash pattern is matplotlib's."""

    color: str
    dash: Any
    marker: str

    def varied(self, k: int) -> Style:
        """The style of a model's k-th line: the same colour, other dashes and markers for k > 0."""
        markers = LINE_MARKERS if self.marker in LINE_MARKERS else MARKERS
        dash = DASHES[(DASHES.index(self.dash) + k) % len(DASHES)]
        return Style(self.color, dash, markers[(markers.index(self.marker) + k) % len(markers)])


def styles(schemes: Sequence[str], baselines: Sequence[str]) -> dict[str, Style]:
    """A style for each model: schemes in colours, baselines in greys."""
    chosen = {}
    for i, name in enumerate(schemes):
        # 7 colours and 4 dash patterns have no common factor: 28 different pairs.
        dash = DASHES[i % len(DASHES)]
        chosen[name] = Style(PALETTE[i % len(PALETTE)], dash, MARKERS[i % len(MARKERS)])
    for i, name in enumerate(baselines):
        dash = DASHES[(i + 1) % len(DASHES)]
        chosen[name] = Style(GREYS[i % len(GREYS)], dash, LINE_MARKERS[i % len(LINE_MARKERS)])
    return chosen


def count_of_others(count: int) -> str:
    """The label of the lines that have no look of their own."""
    return f"{count} other{'s' * (count > 1)}"


def distinct(styles: Sequence[Style]) -> list[Style]:
    """The styles, each in a colour of its own as long as there are colours."""
    chosen: list[Style] = []
    for style in styles:
        taken = {other.color for other in chosen}
        free = (color for color in (*PALETTE, *GREYS) if color not in taken)
        color = next(free, style.color) if style.color in taken else style.color
        chosen.append(replace(style, color=color))
    return chosen


def line_styles(names: Sequence[str], styles: Mapping[str, Style]) -> list[Style]:
    """A style for each line, given the model of each; lines of one model are told apart."""
    return [styles[name].varied(names[:i].count(name)) for i, name in enumerate(names)]
