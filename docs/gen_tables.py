"""Put the recorded benchmarks and trainings into the pages: a mkdocs hook.

Pages name what they show by comments: ``figures: NAME`` and ``benchmark: NAME``, its tables, are of
a file of docs/benchmarks, ``results: NAME`` and ``losses: NAME`` are of one of docs/results.
"""

import re
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

# mkdocs does not look for modules in the folder it is started in, nor in that of a hook.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import result_figures
from benchmark_figures import FIGURES
from recorded import (
    DIGITS,
    HERE,
    NOTHING,
    Row,
    exported,
    folded,
    in_order,
    interval,
    made_by_benchmark,
    made_by_runs,
    measured,
    metric,
    place,
    ranked,
    table,
    where,
    without_memory,
)
from result_figures import curves, scores

from comparisons.results.intervals import LEVEL
from comparisons.results.text import NONE, format_cell, markdown_table
from unitary_zoo import Parametrization

MARKER = re.compile(r"<!-- (\w+): (\w+) -->")

# ----------------------------------------------------------------------------------- benchmarks

SPLIT = {
    ("scheme_speed", "schemes"): ("field", "n"),
    ("training_step", "times"): ("case",),
    ("training_step", "breakdown"): ("case",),
}
"""Tables of many rows, by file and section, and the columns by whose values they are divided."""
OPEN = {("silent_failures", "who_passes")}
"""Tables that no figure shows: a reader sees them without a click."""


def benchmark(name: str, docs: Path) -> str:
    """Origin and tables of a benchmark's file, or the command that makes it."""
    command = f"python -m comparisons.benchmarks {name} --json docs/benchmarks/{name}.json"
    found = measured(name, docs)
    if found is None:
        return f"{NOTHING} *This makes one:* `{command}`"
    # The recorded command may be that of an older version.
    shown = [f"{made_by_benchmark(found)} To run it again: `{command}`."]
    for key, rows in found.items():
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
            title = f"Table of {name}: {key}".replace("_", " ")
            shown.append(folded(title, _tables(name, key, rows), is_open=(name, key) in OPEN))
    return "\n\n".join(shown)


def figures(name: str, docs: Path) -> str:
    """The figures of a benchmark's file; "" where there is none, which its tables say."""
    found = measured(name, docs)
    return FIGURES[name](found) if found else ""


def _tables(name: str, key: str, rows: list[Row]) -> str:
    """The rows of a section of a benchmark as a table, or as several by the values of columns."""
    if not (columns := SPLIT.get((name, key))):
        return table(rows)
    groups = grouped(rows, columns).items()
    return "\n\n".join(f"**{title}**\n\n{table(group)}" for title, group in groups)


def grouped(rows: list[Row], keys: tuple[str, ...]) -> dict[str, list[Row]]:
    """Groups of rows that agree in the columns ``keys``, by a title and without these columns."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        title = ", ".join(
            row[key] if isinstance(row[key], str) else f"{key} = {format_cell(row[key])}"
            for key in keys
        )
        kept = {key: value for key, value in row.items() if key not in keys}
        found.setdefault(title, []).append(kept)
    return found


# -------------------------------------------------------------------------------------- results

BY_NAME = (
    "Some models have a single seed, so the rows are sorted by name: other seeds move a loss by a "
    "factor of up to 5 (on copying), and the order of single seeds means nothing."
)
MOST_TABLES = 8
"""The most tables of a comparison; the results on more tasks are shown as a matrix."""
COLUMNS = ("model", "n", "seeds", "iterations", "batch", "training", "metric", "loss", "published")


def results(name: str, docs: Path) -> str:
    """The figures and tables of an exported comparison, or the commands that make it."""
    found = exported(name, docs)
    if found is None:
        which = "--preset quick" if name == "quick" else f"--paper {name}"
        return (
            f"{NOTHING} *These make one:* `python comparisons/run_all.py {which}`, "
            f"then `python -m comparisons.report.export results/{name}`"
        )
    sections = [list(group) for _, group in groupby(found["runs"], place)]
    if len(sections) > MOST_TABLES:
        shown = [scores(sections), folded("Table of all models and tasks", matrix(sections))]
    else:
        shown = [curves(sections)]
        for runs in sections:
            title = f"Table: {where(runs[0])} ({name}; {bounds(runs[0])})"
            shown.append(folded(title, results_table(runs)))
    if any(run["seeds"] > 1 for run in found["runs"]):
        shown.append(f"In brackets: the interval of confidence {LEVEL:.0%} of a mean over seeds.")
    if not all(map(ranked, sections)):
        shown.append(BY_NAME)
    if found.get("search"):  # older exports do not have it
        shown += [found["search_caption"], folded("Table of the search", table(found["search"]))]
    if found["failed"]:
        shown.append(f"Failed, and counted in no row: {'; '.join(found['failed'])}.")
    return "\n\n".join([*shown, made_by_runs(found["runs"])])


def bounds(run: Row) -> str:
    """Data, baselines and optimum of a record."""
    found = {
        "constant baseline": run["baseline"],
        "memoryless baseline": run.get("memoryless"),  # older exports do not have it
        "optimum": run["optimum"],
    }
    if found["memoryless baseline"] == run["baseline"]:
        del found["constant baseline"]
    known = (f"{name} {format_cell(loss)}" for name, loss in found.items() if loss is not None)
    return f"{run['data']}; {', '.join(known)}"


def matrix(sections: list[list[Row]]) -> str:
    """The metric of every model on every task, and the least loss known that needs no memory."""
    models = sorted({run["model"] for runs in sections for run in runs})
    columns = [f"{where(runs[0])}: {runs[0]['metric_name']}" for runs in sections]
    lines = []
    for model in models:
        own = (next((run for run in runs if run["model"] == model), None) for runs in sections)
        lines.append([model, *(NONE if run is None else interval(metric(run), 3) for run in own)])
    baselines = (format_cell(without_memory(runs[0]), DIGITS) for runs in sections)
    lines.append(["*loss without memory*", *baselines])
    return markdown_table(["model", *columns], lines, columns)


def results_table(runs: list[Row]) -> str:
    """The records of one task in one variant at one length as a table."""
    columns = COLUMNS if any(run["published"] for run in runs) else COLUMNS[:-1]
    names = [runs[0]["metric_name"] if key == "metric" else key for key in columns]
    numbers = [
        name for name, key in zip(names, columns, strict=True) if not isinstance(runs[0][key], str)
    ]
    return markdown_table(
        names, [[result_cell(run, key) for key in columns] for run in in_order(runs)], numbers
    )


def result_cell(run: Row, key: str) -> str:
    """A cell of a record; the metric of several seeds with its interval and median."""
    if key != "metric":
        return format_cell(run[key], DIGITS)
    shown = interval(metric(run), DIGITS)
    # One seed that is caught can pull the mean far from all the others.
    return shown + f" (median {format_cell(run['metric_median'], DIGITS)})" * (run["seeds"] > 1)


# --------------------------------------------------------------------------------------- losses

LOSS_TASKS = ("copying", "adding")
"""Tasks of the table of losses."""


def losses(name: str, docs: Path) -> str:
    """The losses of an exported comparison on two tasks, one row for each model."""
    found = exported(name, docs)
    if found is None:
        return results(name, docs)
    runs = [run for run in found["runs"] if run["task"] in LOSS_TASKS]
    shown = result_figures.losses(runs, LOSS_TASKS)
    return "\n\n".join([shown, folded("Table", table(loss_rows(runs))), made_by_runs(runs)])


def loss_rows(runs: list[Row]) -> list[Row]:
    """A row for the best predictor without memory, then one for each model.

    Raises:
        ValueError: A model has several records on one task, which have no common loss.
    """
    by_task: dict[str, dict[str, Row]] = {task: {} for task in LOSS_TASKS}
    for run in runs:
        own = by_task[run["task"]]
        if run["model"] in own:
            raise ValueError(
                f"{run['model']} has several records on {run['task']}; export one only"
            )
        own[run["model"]] = run
    nothing: Row = {"scheme": "(no memory)", "field": format_cell(None), "n": None, "seeds": None}
    for task in LOSS_TASKS:
        nothing[f"{task}_loss"] = next(map(without_memory, by_task[task].values()), None)
        nothing[f"{task}_seconds"] = None
    rows = [{**nothing, "defect": None}]
    for model in sorted({run["model"] for run in runs}):
        own = [by_task[task][model] for task in LOSS_TASKS if model in by_task[task]]
        defects = [run["defect"] for run in own if run["defect"] is not None]
        known = model in Parametrization.names()
        row: Row = {
            "scheme": model,
            "field": Parametrization.get(model).info.field if known else format_cell(None),
            "n": max(run["n"] for run in own),
            "seeds": min(run["seeds"] for run in own),
        }
        for task in LOSS_TASKS:
            run = by_task[task].get(model, {})
            row[f"{task}_loss"] = run.get("loss")
            row[f"{task}_seconds"] = run.get("seconds")  # older exports do not have it
        rows.append({**row, "defect": max(defects, default=None)})
    return rows


# ----------------------------------------------------------------------------------------- hook

SHOWN: dict[str, Callable[[str, Path], str]] = {
    "figures": figures,
    "benchmark": benchmark,
    "results": results,
    "losses": losses,
}


def on_page_markdown(markdown: str, /, *, docs: Path = HERE, **_: Any) -> str:
    """Replace the comments of a page; mkdocs calls it with every page."""

    def shown(match: re.Match[str]) -> str:
        kind, name = match[1], match[2]
        return SHOWN[kind](name, docs) if kind in SHOWN else match[0]

    return MARKER.sub(shown, markdown)
