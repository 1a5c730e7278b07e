"""A folder of results as one small file and its figures, for docs/experiments.md.

It trains nothing. For each model in each configuration it keeps what the runs recorded: metric and
loss over the seeds, a thinned learning curve, and the command, machine and day behind them. Runs
that failed are listed; no mean counts them.

    python comparisons/run_all.py --paper arjovsky2016
    python comparisons/benchmarks/distil.py results/arjovsky2016 [--docs docs] [--no-figures]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# A checkout is run as it is, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from comparisons.papers import Paper, find_paper
from comparisons.records import Failure, Result
from comparisons.report.html import write_report
from comparisons.results.published import published_for
from comparisons.results.store import Store
from comparisons.results.summary import Row, rows
from comparisons.tasks import TASKS

POINTS = 50
"""Of a learning curve, at most."""


class ResultsError(ValueError):
    """The folder holds nothing to keep; the message is one line."""


def distil(results: Sequence[Result], paper: Paper | None = None) -> list[dict[str, Any]]:
    """One record for each model in each configuration, by task, variant and length, best first.

    With a paper, what it reported stands beside.
    """
    groups = rows(results, lambda name, length, variant: TASKS.get(name)(length, variant))
    return [_record(row, paper) for key in sorted(groups) for row in groups[key]]


def _record(row: Row, paper: Paper | None) -> dict[str, Any]:
    first, task = row.results[0], row.task
    defects = [result.defect_end for result in row.results if result.defect_end is not None]
    metrics = [row.metric(result) for result in row.results]
    return {
        "task": task.name,
        "title": task.title,
        "variant": first.run.variant,
        "T": task.length,
        "model": row.name,
        "n": row.setting.hidden_size,
        "training": row.training,
        "source": row.setting.source,
        "seeds": len(row.results),
        "iterations": row.setting.iterations,
        "batch": row.setting.batch_size,
        "metric_name": task.metric_name,
        "metric": statistics.fmean(metrics),
        "metric_median": statistics.median(metrics),
        "metric_spread": statistics.stdev(metrics) if len(metrics) > 1 else None,
        "loss": row.loss,
        "published": "" if paper is None else published_for(row, paper),
        "baseline": statistics.fmean(result.baseline for result in row.results),
        "optimum": task.optimum,
        "defect": max(defects, default=None),
        "curve": _curve(row.results),
        "data": first.data,
        "commands": list(dict.fromkeys(result.command for result in row.results)),
        "machine": first.machine,
        "versions": first.versions,
        "date": max(result.date for result in row.results)[:10],
    }


def failed(failures: Sequence[Failure]) -> list[str]:
    """A line for each model in each place whose runs failed with one kind of error: its seeds."""
    seeds: dict[str, list[int]] = {}
    for failure in failures:
        run = failure.run
        task = TASKS.get(run.task)(run.length, run.variant)
        where = ", ".join(filter(None, (task.title, run.variant, f"T = {run.length}")))
        line = f"{where}: {run.model}, n = {run.setting.hidden_size}"
        seeds.setdefault(f"{line} ({failure.error.partition(':')[0]})", []).append(run.seed)
    return [
        f"{line}: seed{'s' * (len(found) > 1)} {', '.join(map(str, sorted(found)))}"
        for line, found in seeds.items()
    ]


def _curve(results: Sequence[Result]) -> list[tuple[int, float]]:
    """Iteration and mean test loss, to four digits; the first and the last point are kept."""
    points = list(zip(*(result.curve for result in results), strict=True))
    count = min(POINTS, len(points))
    kept = {round(i * (len(points) - 1) / max(1, count - 1)) for i in range(count)}
    return [
        (points[i][0].iteration, _rounded(statistics.fmean(p.test_loss for p in points[i])))
        for i in sorted(kept)
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def write(folder: Path, docs: Path, figures: bool = True) -> Path:
    """Write ``results/NAME.json`` and, with figures, ``images/NAME-*.png``, NAME the folder's.

    Raises:
        ResultsError: Nothing in the folder finished.
    """
    contents = Store(folder).load()
    if not contents.results:
        raise ResultsError(f"{folder} holds no finished run; let comparisons/run_all.py train some")
    images = []
    for section in write_report(folder).sections if figures else ():
        figure = folder / "figures" / f"{section.drawings[0].name}.png"
        images.append(f"{folder.name}-{figure.name}")
        (docs / "images").mkdir(parents=True, exist_ok=True)
        (docs / "images" / images[-1]).write_bytes(figure.read_bytes())
    path = docs / "results" / f"{folder.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    named = contents.plan.paper if contents.plan else ""
    runs = distil(contents.results, find_paper(named) if named else None)
    # A line for each run: short files, and differences that can be read.
    lines = ",\n".join(json.dumps(run, ensure_ascii=False) for run in runs)
    others = json.dumps({"images": images, "failed": failed(contents.failures)})
    path.write_text(f'{others[:-1]}, "runs": [\n{lines}\n]}}\n', encoding="utf-8")
    return path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("folder", type=Path, help="a folder that run_all.py filled")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where pages are kept")
    parser.add_argument("--no-figures", action="store_true", help="keep the numbers alone")
    arguments = parser.parse_args()
    try:
        print(write(arguments.folder, arguments.docs, not arguments.no_figures))
    except ResultsError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
