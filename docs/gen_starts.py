"""Put the trainings from several starts into the page on choosing a scheme: a mkdocs hook.

The page names places by comments, ``starts`` and ``starts_of_systems``; the files are in
docs/results/probes.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

# mkdocs does not look for modules in the folder it is started in, nor in that of a hook.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from recorded import HERE, NOTHING, Row, folded, made_by_benchmark, span, table

from comparisons.results.text import markdown_table

MARKER = re.compile(r"<!-- (starts\w*) -->")


def starts(name: str, docs: Path) -> str:
    """The losses of each scheme from each start, and the comparison with its default one."""
    path = docs / "results" / "probes" / f"{name}.json"
    if not path.exists():
        return f"{NOTHING} *This makes them:* `python -m comparisons.experiments starts`"
    found = json.loads(path.read_text(encoding="utf-8"))
    verdicts = {(row["scheme"], row["start"]): row for row in found["verdicts"]}
    tasks = [row["task"] for row in found["settings"]]
    losses = {(row["scheme"], row["start"], row["task"]): row["losses"] for row in found["starts"]}
    lines = []
    for scheme, start in dict.fromkeys((row["scheme"], row["start"]) for row in found["starts"]):
        cells = [span(losses.get((scheme, start, task), [])) for task in tasks]
        verdict = verdicts.get((scheme, start))
        words = "*default*" if verdict is None else judged(verdict)
        lines.append([f"`{scheme}`", f"`{start}`", *cells, words])
    columns = ["scheme", "start", *tasks, "against the default"]
    return "\n\n".join(
        [
            folded("Table of the settings", table(found["settings"])),
            folded("Table of the losses", markdown_table(columns, lines, tasks)),
            made_by_benchmark(found),
        ]
    )


def judged(verdict: Row) -> str:
    """The tasks on which all seeds of a start end below, or above, all of the default's."""
    better, worse = verdict["better_on"], verdict["worse_on"]
    parts = [f"better on {better}" if better else "", f"worse on {worse}" if worse else ""]
    return "; ".join(part for part in parts if part) or "not told apart"


def on_page_markdown(markdown: str, /, *, docs: Path = HERE, **_: Any) -> str:
    """Replace the comment of a page; mkdocs calls it with every page."""
    return MARKER.sub(lambda found: starts(found[1], docs), markdown)
