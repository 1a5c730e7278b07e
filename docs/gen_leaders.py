"""Put the best schemes by each of some measures into the page on choosing one: a mkdocs hook.

The page names the place of the table by the comment ``leaders``.
"""

import sys
from pathlib import Path
from typing import Any

# mkdocs does not look for modules in the folder it is started in, nor in that of a hook.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from gen_tables import LOSS_TASKS
from recorded import HERE, NOTHING, Row, best_models, exported, measured, typical_loss, where

from comparisons.results.text import format_cell, markdown_table

MARKER = "<!-- leaders -->"

BUILD = ("build_ms", "step_ms")
LEADERS = (
    ("W(θ) and step, real, n = 128, ms", BUILD, "real", 128, "least", ""),
    ("W(θ) and step, real, n = 512, ms", BUILD, "real", 512, "least", ""),
    ("W(θ) and step, complex, n = 512, ms", BUILD, "complex", 512, "least", ""),
    ("W h against dense, real, n = 16384", ("dense_ratio",), "real", 16384, "most", " times"),
    ("least drift, real", ("drift",), "real", 128, "least", ""),
)
"""Title; columns to add up; field and n of the rows; which is best; unit."""


def leaders(docs: Path) -> str:
    """The three least costs of each kind, and the models of the least losses, as recorded."""
    speed = measured("scheme_speed", docs)
    lines = []
    for title, keys, field, n, best, unit in LEADERS:
        values = [
            (sum(row[key] for key in keys), row["scheme"])
            for row in (speed["schemes"] if speed else [])
            if (field, n) == (row["field"], row["n"])
            and all(isinstance(row.get(key), (int, float)) for key in keys)
        ]
        values.sort(reverse=best == "most")
        podium = [f"`{scheme}` {format_cell(float(value))}{unit}" for value, scheme in values[:3]]
        if podium:
            lines.append([title, *podium, *[""] * (3 - len(podium))])
    shown = [markdown_table(["measure", "first", "second", "third"], lines)] if lines else []
    found = exported("quick", docs)
    for task in LOSS_TASKS if found else ():
        shown.append(least_losses([run for run in found["runs"] if run["task"] == task]))
    return "\n\n".join(filter(None, shown)) or NOTHING


def least_losses(runs: list[Row]) -> str:
    """A sentence on the best model of a task and its ties; "" where single seeds have no order."""
    best = best_models(runs)
    if not best:
        return ""
    least = format_cell(typical_loss(next(run for run in runs if run["model"] == best[0])))
    named = ", ".join(f"`{model}`" for model in best[1:])
    others = f"the seeds cannot tell {named} from it" if named else "all others are worse"
    return (
        f"**{where(runs[0])}**: the least test loss is that of `{best[0]}`, {least} "
        f"(geometric mean over the seeds); {others}."
    )


def on_page_markdown(markdown: str, /, *, docs: Path = HERE, **_: Any) -> str:
    """Replace the comment of a page; mkdocs calls it with every page."""
    return markdown.replace(MARKER, leaders(docs)) if MARKER in markdown else markdown
