"""Small figures inside the pages: SVG whose colours are those of the page, light or dark."""

import html
import io
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a5a2b", "#000001")
"""Colours of lines: those of Okabe and Ito, with brown for yellow, which no light page can show.

stylesheets/figures.css has the colours of each that a reader sees.
"""
MARKERS = "osD^vPX*"
QUIET = "#777776"
"""The colour of what is not in the foreground."""
_TEXT, _GRID = "#000002", "#e8e8e7"
_NAMES = {
    **{color: f"var(--figure-{i})" for i, color in enumerate(COLORS)},
    QUIET: "var(--figure-quiet)",
    _GRID: "var(--figure-grid)",
    _TEXT: "currentColor",
}
"""What stands in the page for each colour that is drawn."""

RC: Any = {  # each key has a value of its own type
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": QUIET,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _GRID,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",  # text stays text: smaller, and a reader can search it
    "svg.hashsalt": "unitary_zoo",  # equal results give equal pages
}
WIDTH = 3.9
"""Inches of a figure; a telephone shows its letters at their size."""


@contextmanager
def drawn(label: str, height: float, width: float = WIDTH) -> Iterator[tuple[Axes, list[str]]]:
    """Axes to draw on, and a list that holds their SVG afterwards.

    Args:
        label: What the figure shows, for readers who do not see it.
        height: In inches.
        width: In inches.
    """
    found: list[str] = []
    with mpl.rc_context(RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure.subplots(), found
        found.append(_svg(figure, label))


def _svg(figure: Figure, label: str) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.S)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    if size is None:
        raise ValueError(f"matplotlib wrote no viewBox for the figure {label!r}")
    title = html.escape(label, quote=True)
    opening = (
        f'<svg class="figure" role="img" aria-label="{title}" viewBox="{size[0][9:-1]}" '
        f'style="max-width: {float(size[1]) * 1.5:.0f}px" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    text = re.sub(r"<svg[^>]*>", opening, text, count=1)
    # Names of groups would stand twice in a page of two figures; those of shapes are hashes.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    for drawn_color, shown in _NAMES.items():
        text = text.replace(drawn_color, shown)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def side_by_side(figures: Sequence[str], caption: str = "") -> str:
    """Figures beside each other where there is room, and a caption in Markdown below them."""
    inside = "\n".join(figures)
    below = f'\n\n<p class="figure-caption" markdown="1">{caption}</p>' if caption else ""
    return f'<div class="figures">\n{inside}\n</div>{below}'


def ranges(
    axes: Axes,
    names: Sequence[str],
    rows: Sequence[tuple[float, float, float]],
    marked: Collection[str] = (),
) -> None:
    """Draw for each name a point and the range around it, the first name at the top.

    Names that are marked have another colour and a square.
    """
    for y, (name, (middle, low, high)) in enumerate(zip(names[::-1], rows[::-1], strict=True)):
        color, marker = (COLORS[1], "s") if name in marked else (COLORS[0], "o")
        axes.plot([low, high], [y, y], color=color, lw=2.2, alpha=0.45, solid_capstyle="round")
        axes.plot(middle, y, color=color, marker=marker, markersize=4.5, ls="none")
    by_name(axes, names)


def bars(axes: Axes, names: Sequence[str], parts: dict[str, Sequence[float]]) -> None:
    """Draw for each name its parts one after the other, the first name at the top."""
    left = [0.0] * len(names)
    for color, (part, values) in zip(COLORS, parts.items(), strict=False):
        lengths = list(reversed(values))
        axes.barh(range(len(names)), lengths, left=left, color=color, height=0.62, label=part)
        left = [x + length for x, length in zip(left, lengths, strict=True)]
    by_name(axes, names)


def title(axes: Axes, text: str) -> None:
    """Write a title that begins at the left edge of the figure, where there is room for it."""
    axes.figure.suptitle(text, x=0.01, ha="left", fontsize=10)


def logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with numbers where powers of ten would be few; draw before."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_minor_locator(NullLocator())
    if high < 3e3 * low and low > 1e-4 and high < 1e5:
        steps = (1.0, 2.0, 5.0) if high < 60 * low else (1.0,)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))


def by_name(axes: Axes, names: Sequence[str]) -> None:
    """Write the names beside the rows 0, 1, ... from the top, without lines between these."""
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="y", length=0)


def height_of(rows: int) -> float:
    """Inches of a figure with so many rows of names."""
    return 0.19 * rows + 0.75
