"""What the pages show: recorded benchmarks and trainings, as rows, tables and sentences."""

import functools
import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

# mkdocs does not look for modules in the folder it is started in.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from comparisons.models import is_baseline
from comparisons.results.intervals import Estimate, among_best, estimate
from comparisons.results.text import NONE, format_cell, markdown_table

Row = dict[str, Any]

HERE = Path(__file__).resolve().parent
NOTHING = "*No run is recorded yet.*"
DIGITS = 4
"""Digits of metrics and losses; two accuracies can differ in the fourth alone."""

# ----------------------------------------------------------------------------------------- files


def measured(name: str, docs: Path = HERE) -> Row | None:
    """The content of a benchmark's file; None if there is none."""
    return _content(docs / "benchmarks" / f"{name}.json")


def exported(name: str, docs: Path = HERE) -> Row | None:
    """The content of a file that comparisons.report.export wrote; None if there is none."""
    return _content(docs / "results" / f"{name}.json")


def _content(path: Path) -> Row | None:
    return _loaded(path, path.stat().st_mtime_ns) if path.exists() else None


@functools.lru_cache  # every page of a scheme shows the same files
def _loaded(path: Path, _changed: int) -> Row:
    return json.loads(path.read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------- sentences


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


# ---------------------------------------------------------------------------------------- tables


def table(rows: list[Row]) -> str:
    """Rows that have the same keys as a table, with numbers to the right."""
    names = {key: key.replace("_", " ") for key in rows[0]}
    numbers = [names[key] for key, value in rows[0].items() if not isinstance(value, str)]
    lines = [list(map(format_cell, row.values())) for row in rows]
    return markdown_table(list(names.values()), lines, numbers)


def folded(title: str, content: str, *, is_open: bool = False) -> str:
    """Markdown that a reader opens, or closes, by a click on its title."""
    state = ' open="open"' if is_open else ""
    opening = f'<details markdown="1"{state}>\n<summary>{title}</summary>'
    return f"{opening}\n\n{content}\n\n</details>"


# --------------------------------------------------------------------------------------- records


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


def best_models(runs: list[Row]) -> list[str]:
    """The model of the least loss on a task, and every other that its seeds cannot tell from it.

    None is one where a model has a single seed, or where the seeds were not exported.
    """
    losses = [run.get("seed_losses", ()) for run in runs]
    if min(map(len, losses), default=0) < 2:
        return []
    best = [run for run, tied in zip(runs, among_best(losses), strict=True) if tied]
    return [run["model"] for run in sorted(best, key=typical_loss)]


def best_by_place(name: str, docs: Path = HERE) -> dict[tuple[str, str, str, int], list[str]]:
    """What :func:`best_models` finds on each task of an exported comparison."""
    path = docs / "results" / f"{name}.json"
    return _best_by_place(path, path.stat().st_mtime_ns) if path.exists() else {}


@functools.lru_cache  # some thousand tests of pairs, for every page of a scheme
def _best_by_place(path: Path, changed: int) -> dict[tuple[str, str, str, int], list[str]]:
    runs = _loaded(path, changed)["runs"]
    return {at: best_models(list(group)) for at, group in groupby(runs, place)}


def typical_loss(run: Row) -> float:
    """The mean of the losses by which models are compared: that of the logarithms."""
    return estimate(run["seed_losses"], positive=True).mean


def without_memory(run: Row) -> float:
    """The least loss known that needs no memory."""
    memoryless = run.get("memoryless")  # older exports do not have it
    return run["baseline"] if memoryless is None else memoryless


def metric(run: Row) -> Estimate:
    """The metric over the seeds, with its interval."""
    if "seed_metrics" in run:
        # Where the metric is the loss, its interval holds no negative values.
        is_loss = run["seed_metrics"] == run.get("seed_losses")
        return estimate(run["seed_metrics"], positive=is_loss)
    mean, spread, seeds = run["metric"], run["metric_spread"], run["seeds"]
    if spread is None:
        return estimate([mean])
    # Older exports hold mean and spread alone. Values that have both have the same interval.
    off = spread * ((seeds - 1) / 2) ** 0.5
    return estimate([mean - off, mean + off, *[mean] * (seeds - 2)])


def interval(found: Estimate, digits: int = 3) -> str:
    """A mean with its interval, or the mean alone."""
    mean = format_cell(found.mean, digits)
    if found.low is None or found.high is None:
        return mean
    return f"{mean} [{format_cell(found.low, digits)}, {format_cell(found.high, digits)}]"


def span(values: list[float | None]) -> str:
    """The least and the largest of some values, of which unknown ones are infinite."""
    known = [float("inf") if value is None else value for value in values]
    return f"{format_cell(min(known))} to {format_cell(max(known))}" if known else NONE
