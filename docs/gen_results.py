"""The tables of trainings on the pages, from the files that distil.py wrote: a mkdocs hook."""

import json
import re
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# mkdocs does not look for modules in the folder it is started in.
sys.path.insert(0, str(HERE.parent))

from comparisons.benchmarks import text  # noqa: E402 - found only now that the path is set

MARKER = re.compile(r"<!-- results: (\w+) -->")
MOST_TABLES = 8
"""More tasks than that are a matrix."""
COLUMNS = ("model", "n", "seeds", "iterations", "batch", "training", "metric", "loss", "published")


def results(name: str, folder: Path) -> str:
    """All that a file holds, or how to make one."""
    path = folder / f"{name}.json"
    if not path.exists():
        which = "--preset quick" if name == "quick" else f"--paper {name}"
        return (
            f"*No run is recorded yet. These make one:* `python comparisons/run_all.py {which}`, "
            f"then `python comparisons/benchmarks/distil.py results/{name}`"
        )
    found = json.loads(path.read_text(encoding="utf-8"))
    sections = [list(group) for _, group in groupby(found["runs"], _place)]
    if len(sections) > MOST_TABLES:
        parts = [_matrix(sections)]
    else:
        parts = []
        for runs in sections:
            parts += [f"**{_where(runs[0])}** ({name}; {_bounds(runs[0])})", _table(runs)]
    parts += [f"![Figure of {name}](images/{image})" for image in found["images"]]
    if found["failed"]:
        parts.append(f"Failed, and counted in no row: {'; '.join(found['failed'])}.")
    return "\n\n".join([*parts, _source(found["runs"])])


def _where(run: dict[str, Any]) -> str:
    parts = (run["title"], run["variant"], f"T = {run['T']}")
    return ", ".join(part for part in parts if part)


def _matrix(sections: list[list[dict[str, Any]]]) -> str:
    """The metric of every model on every task, and of the memoryless baseline its loss."""
    models = sorted({run["model"] for runs in sections for run in runs})
    header = ["model", *(f"{_where(runs[0])}: {runs[0]['metric_name']}" for runs in sections)]
    lines = [header, [":--", *["--:"] * len(sections)]]
    for model in models:
        cells = [
            next((text(run["metric"]) for run in runs if run["model"] == model), "–")
            for runs in sections
        ]
        lines.append([model, *cells])
    lines.append(["*loss without memory*", *(text(runs[0]["baseline"]) for runs in sections)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _place(run: dict[str, Any]) -> tuple[str, str, str, int]:
    return run["task"], run["title"], run["variant"], run["T"]


def _bounds(run: dict[str, Any]) -> str:
    best = "" if run["optimum"] is None else f", optimum {text(run['optimum'])}"
    return f"{run['data']}; memoryless baseline {text(run['baseline'])}{best}"


def _table(runs: list[dict[str, Any]]) -> str:
    columns = COLUMNS if any(run["published"] for run in runs) else COLUMNS[:-1]
    header = [runs[0]["metric_name"] if key == "metric" else key for key in columns]
    sides = [":--" if isinstance(runs[0][key], str) else "--:" for key in columns]
    lines = [[_cell(run, key) for key in columns] for run in runs]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, sides, *lines])


def _cell(run: dict[str, Any], key: str) -> str:
    shown = text(run[key])
    if key == "metric" and run["metric_spread"] is not None:
        # One seed that is caught can pull the mean far from all the others.
        shown += f" ± {text(run['metric_spread'])} (median {text(run['metric_median'])})"
    return shown.replace("|", "\\|")


def _source(runs: list[dict[str, Any]]) -> str:
    commands = dict.fromkeys(f"`{command}`" for run in runs for command in run["commands"])
    machines = dict.fromkeys(
        f"{run['machine']['gpu'] or run['machine']['cpu']}, torch {run['versions']['torch']}"
        for run in runs
    )
    days = sorted({run["date"] for run in runs})
    day = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"Made {day} by {', '.join(commands)} on {'; '.join(machines)}."


def on_page_markdown(markdown: str, /, *, folder: Path = HERE / "results", **_: Any) -> str:
    """Called by mkdocs with every page: put the tables where the markers are."""
    return MARKER.sub(lambda match: results(match[1], folder), markdown)
