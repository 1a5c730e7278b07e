"""Put the recorded benchmarks and trainings into the pages: a mkdocs hook.

Pages name what they show by comments: ``benchmark: NAME`` is a file of docs/benchmarks,
``results: NAME`` and ``losses: NAME`` are one of docs/results.
"""

import json
import re
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

# mkdocs does not look for modules in the folder it is started in.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from comparisons.models import is_baseline
from comparisons.results.text import format_cell, markdown_table
from unitary_zoo import Parametrization

Row = dict[str, Any]

HERE = Path(__file__).resolve().parent

MARKER = re.compile(r"<!-- (\w+): (\w+) -->")
NOTHING = "*No run is recorded yet.*"

# ----------------------------------------------------------------------------------- benchmarks

SPLIT = {
    ("scheme_speed", "schemes"): ("field", "n"),
    ("training_step", "times"): ("case",),
    ("training_step", "breakdown"): ("case",),
}
"""Tables of many rows, by file and section, and the columns by whose values they are divided."""


def benchmark(name: str, docs: Path) -> str:
    """All tables of a benchmark's file, or the command that makes it."""
    path = docs / "benchmarks" / f"{name}.json"
    command = f"python -m comparisons.benchmarks {name} --json docs/benchmarks/{name}.json"
    if not path.exists():
        return f"{NOTHING} *This makes one:* `{command}`"
    found = json.loads(path.read_text(encoding="utf-8"))
    # The recorded command may be that of an older version.
    shown = [f"{made_by_benchmark(found)} To run it again: `{command}`."]
    for key, rows in found.items():
        if not (isinstance(rows, list) and rows and isinstance(rows[0], dict)):
            continue
        shown.append(f"### {name}: {key}".replace("_", " "))
        if columns := SPLIT.get((name, key)):
            for title, group in grouped(rows, columns).items():
                shown += [f"#### {title}", table(group)]
        else:
            shown.append(table(rows))
    return "\n\n".join(shown)


def table(rows: list[Row]) -> str:
    """Rows that have the same keys as a table, with numbers to the right."""
    names = {key: key.replace("_", " ") for key in rows[0]}
    numbers = [names[key] for key, value in rows[0].items() if not isinstance(value, str)]
    lines = [list(map(format_cell, row.values())) for row in rows]
    return markdown_table(list(names.values()), lines, numbers)


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


def made_by_benchmark(found: Row) -> str:
    """A sentence on the command, machine and day behind a benchmark's file."""
    machine = found["machine"]
    loads = [found["load_before"], found["load_after"]]
    load = " and ".join("unknown" if load is None else format_cell(load[0]) for load in loads)
    return (
        f"Made on {found['date'][:10]} by `{found['command']}` on {machine['cpu']}, "
        f"{machine['instructions']}, {machine['cores']} cores, with {found['threads']} threads, "
        f"torch {found['versions']['torch']}, Python {found['versions']['python']}; "
        f"load average before and after: {load}."
    )


# -------------------------------------------------------------------------------------- results

BY_NAME = (
    "Some models have a single seed, so the rows are sorted by name: other seeds move a loss by a "
    "factor of up to 5 (on copying), and the order of single seeds means nothing."
)
MOST_TABLES = 8
"""The most tables of a comparison; the results on more tasks are shown as a matrix."""
COLUMNS = ("model", "n", "seeds", "iterations", "batch", "training", "metric", "loss", "published")
DIGITS = 4
"""Digits of metrics and losses; two accuracies can differ in the fourth alone."""


def results(name: str, docs: Path) -> str:
    """All tables of an exported comparison, or the commands that make it."""
    found = exported(name, docs)
    if found is None:
        which = "--preset quick" if name == "quick" else f"--paper {name}"
        return (
            f"{NOTHING} *These make one:* `python comparisons/run_all.py {which}`, "
            f"then `python -m comparisons.report.export results/{name}`"
        )
    sections = [list(group) for _, group in groupby(found["runs"], place)]
    if len(sections) > MOST_TABLES:
        shown = [matrix(sections)]
    else:
        shown = []
        for runs in sections:
            shown += [f"**{where(runs[0])}** ({name}; {bounds(runs[0])})", results_table(runs)]
    if not all(map(ranked, sections)):
        shown.append(BY_NAME)
    shown += [f"![Figure of {name}](images/{image})" for image in found["images"]]
    if found.get("search"):  # older exports do not have it
        shown += [found["search_caption"], table(found["search"])]
    if found["failed"]:
        shown.append(f"Failed, and counted in no row: {'; '.join(found['failed'])}.")
    return "\n\n".join([*shown, made_by_runs(found["runs"])])


def exported(name: str, docs: Path) -> Row | None:
    """The content of a file that comparisons.report.export wrote; None if there is none."""
    path = docs / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def place(run: Row) -> tuple[str, str, str, int]:
    """Task, title, variant and length of a record."""
    return run["task"], run["title"], run["variant"], run["T"]


def where(run: Row) -> str:
    """Title, variant and length of a record, as a heading."""
    return ", ".join(part for part in (run["title"], run["variant"], f"T = {run['T']}") if part)


def ranked(runs: list[Row]) -> bool:
    """Whether every record has several seeds: only then do the losses have an order."""
    return all(run["seeds"] > 1 for run in runs)


def in_order(runs: list[Row]) -> list[Row]:
    """The least loss first if all records have several seeds, otherwise by name, schemes first."""
    if ranked(runs):
        return sorted(runs, key=lambda run: run["loss"])
    return sorted(runs, key=lambda run: (is_baseline(run["model"]), run["model"], run["n"]))


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


def without_memory(run: Row) -> float:
    """The least loss known that needs no memory."""
    memoryless = run.get("memoryless")
    return run["baseline"] if memoryless is None else memoryless


def matrix(sections: list[list[Row]]) -> str:
    """The metric of every model on every task, and the least loss known that needs no memory."""
    models = sorted({run["model"] for runs in sections for run in runs})
    columns = [f"{where(runs[0])}: {runs[0]['metric_name']}" for runs in sections]
    lines = []
    for model in models:
        own = (next((r["metric"] for r in runs if r["model"] == model), None) for runs in sections)
        lines.append([model, *(format_cell(metric, DIGITS) for metric in own)])
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
    """A cell of a record; the metric of several seeds with its spread and median."""
    shown = format_cell(run[key], DIGITS)
    if key == "metric" and run["metric_spread"] is not None:
        # One seed that is caught can pull the mean far from all the others.
        spread = format_cell(run["metric_spread"], 2)
        shown += f" ± {spread} (median {format_cell(run['metric_median'], DIGITS)})"
    return shown


def made_by_runs(runs: list[Row]) -> str:
    """A sentence on the commands, machines and days behind some records."""
    commands = dict.fromkeys(f"`{command}`" for run in runs for command in run["commands"])
    machines = dict.fromkeys(
        f"{run['machine']['gpu'] or run['machine']['cpu']}, torch {run['versions']['torch']}"
        for run in runs
    )
    days = sorted({run["date"] for run in runs})
    day = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"Made {day} by {', '.join(commands)} on {'; '.join(machines)}."


# --------------------------------------------------------------------------------------- losses

LOSS_TASKS = ("copying", "adding")
"""Tasks of the table of losses."""


def losses(name: str, docs: Path) -> str:
    """The losses of an exported comparison on two tasks, one row for each model."""
    found = exported(name, docs)
    if found is None:
        return results(name, docs)
    runs = [run for run in found["runs"] if run["task"] in LOSS_TASKS]
    return f"{table(loss_rows(runs))}\n\n{made_by_runs(runs)}"


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
