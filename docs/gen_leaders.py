"""Put the best schemes by each of some measures into the page on choosing one: a mkdocs hook.

The page names the place of the table by the comment ``leaders``.
"""

import sys
from pathlib import Path
from typing import Any

# mkdocs does not look for modules in the folder it is started in, nor in that of a hook.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from gen_tables import LOSS_TASKS, loss_rows
from recorded import HERE, NOTHING, exported, measured, ranked

from comparisons.results.text import format_cell, markdown_table

MARKER = "<!-- leaders -->"

BUILD = ("build_ms", "step_ms")
LEADERS = (
    ("W(θ) and step, real, n = 128, ms", BUILD, "real", 128, "least", ""),
    ("W(θ) and step, real, n = 512, ms", BUILD, "real", 512, "least", ""),
    ("W(θ) and step, complex, n = 512, ms", BUILD, "complex", 512, "least", ""),
    ("W h against dense, real, n = 16384", ("dense_ratio",), "real", 16384, "most", " times"),
    ("least drift, real", ("drift",), "real", 128, "least", ""),
    ("copying, test loss", ("copying_loss",), None, None, "least", ""),
    ("adding, test loss", ("adding_loss",), None, None, "least", ""),
)
"""Title; columns to add up; field and n of the rows, where None is any; which is best; unit."""


def leaders(docs: Path) -> str:
    """The three best schemes by each of some measures, from what is recorded.

    Losses are a measure where every model has several seeds.
    """
    speed = measured("scheme_speed", docs)
    rows = speed["schemes"] if speed else []
    if found := exported("quick", docs):
        runs = [run for run in found["runs"] if run["task"] in LOSS_TASKS]
        rows += loss_rows(runs)[1:] if ranked(runs) else []
    lines = []
    for title, keys, field, n, best, unit in LEADERS:
        values = [
            (sum(row[key] for key in keys), row["scheme"])
            for row in rows
            if field in (None, row["field"])
            and n in (None, row["n"])
            and all(isinstance(row.get(key), (int, float)) for key in keys)
        ]
        values.sort(reverse=best == "most")
        podium = [f"`{scheme}` {format_cell(float(value))}{unit}" for value, scheme in values[:3]]
        if podium:
            lines.append([title, *podium, *[""] * (3 - len(podium))])
    return markdown_table(["measure", "first", "second", "third"], lines) if lines else NOTHING


def on_page_markdown(markdown: str, /, *, docs: Path = HERE, **_: Any) -> str:
    """Replace the comment of a page; mkdocs calls it with every page."""
    return markdown.replace(MARKER, leaders(docs)) if MARKER in markdown else markdown
