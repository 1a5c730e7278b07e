"""Export a results folder to the documentation: one small JSON file.

Nothing is trained. For each model in each configuration the file keeps what the runs recorded:
metric and loss over the seeds, a thinned learning curve, and the command, machine and day behind
them. Failed runs are listed; no mean counts them. A record whose runs were measured inside the
model has ``probes``, those of one seed: an object of

- ``seed``, the smallest seed that has any;
- ``eigenphases_start`` and ``eigenphases_end``, lists in radians, or null without such a matrix;
- ``gradient_steps`` and ``gradient_norms``, of one length, empty where nothing was measured;
- ``defects``, pairs (iteration, unitarity defect), empty for models that claim none.

    python comparisons/run_all.py --paper arjovsky2016
    python -m comparisons.report.export results/arjovsky2016 [--docs docs]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from comparisons import plugins
from comparisons.output import tolerate_encoding, write_file
from comparisons.papers import PAPERS, Paper
from comparisons.records import Failure, Result
from comparisons.report.levels import Levels
from comparisons.report.search_table import caption, search_rows
from comparisons.results.published import published_for
from comparisons.results.store import Contents, ResultsError, Store
from comparisons.results.summary import Summary, points_by_iteration, summarize
from comparisons.tasks import TASKS

POINTS = 50
"""Points of a curve, at most."""

T = TypeVar("T")


def records(results: Sequence[Result], paper: Paper | None = None) -> list[dict[str, Any]]:
    """One record for each summary, by task, variant and length, in the order of the report.

    Args:
        results: Finished runs.
        paper: If given, each record holds what this paper reported beside ours.
    """
    groups = summarize(results)
    return [_record(summary, paper) for key in sorted(groups) for summary in groups[key]]


def _record(summary: Summary, paper: Paper | None) -> dict[str, Any]:
    first, task = summary.results[0], summary.task
    defects = [result.defect_end for result in summary.results if result.defect_end is not None]
    metrics = [summary.metric(result) for result in summary.results]
    levels = Levels.of(task, summary.results)
    return {
        "task": task.name,
        "title": task.title,
        "variant": first.run.variant,
        "T": task.length,
        "model": summary.name,
        "n": summary.setting.model.hidden_size,
        "training": summary.training,
        "source": summary.setting.source,
        "seeds": len(summary.results),
        "iterations": summary.setting.training.iterations,
        "batch": summary.setting.training.batch_size,
        "metric_name": task.metric_name,
        "metric": statistics.fmean(metrics),
        "metric_median": statistics.median(metrics),
        "metric_spread": statistics.stdev(metrics) if len(metrics) > 1 else None,
        "loss": summary.loss,
        **_by_seed(summary),
        # The median: one seed of which another program took the processor would move the mean.
        "seconds": statistics.median(result.final.seconds for result in summary.results),
        "published": "" if paper is None else published_for(summary, paper),
        "baseline": levels.constant,
        "memoryless": levels.memoryless,
        "optimum": levels.optimum,
        "defect": max(defects, default=None),
        **({"stopped": summary.stops()} if summary.stops() else {}),
        "curve": _curve(summary.results),
        **_probes(summary.results),
        "data": first.data,
        "commands": list(dict.fromkeys(result.command for result in summary.results)),
        "machine": first.machine,
        "versions": first.versions,
        "date": max(result.date for result in summary.results)[:10],
    }


def _by_seed(summary: Summary) -> dict[str, list[Any]]:
    """What the seeds reached; without it the pages could show neither intervals nor ties.

    ``solved`` holds iterations and seconds up to the solution, for each seed that solves the task.
    """
    return {
        "seed_metrics": [_rounded(summary.metric(result)) for result in summary.results],
        "seed_losses": [_rounded(loss) for loss in summary.losses],
        "solved": [(point.iteration, _rounded(point.seconds)) for point in summary.solutions],
    }


def failed(failures: Sequence[Failure]) -> list[str]:
    """A line for each model, place and kind of error, with the seeds that failed."""
    seeds: dict[str, list[int]] = {}
    for failure in failures:
        run = failure.run
        task = TASKS.get(run.task)(run.length, run.variant)
        where = ", ".join(filter(None, (task.title, run.variant, f"T = {run.length}")))
        line = f"{where}: {run.model}, n = {run.setting.model.hidden_size}"
        seeds.setdefault(f"{line} ({failure.kind or failure.error})", []).append(run.seed)
    return [
        f"{line}: seed{'s' * (len(found) > 1)} {', '.join(map(str, sorted(found)))}"
        for line, found in seeds.items()
    ]


def _curve(results: Sequence[Result]) -> list[tuple[int, float]]:
    """Iterations and mean test losses to four digits, with the first and the last point."""
    return [
        (points[0].iteration, _rounded(statistics.fmean(p.test_loss for p in points)))
        for points in _thinned(points_by_iteration(results))
    ]


def _probes(results: Sequence[Result]) -> dict[str, Any]:
    """What was measured inside the model, of one seed; nothing where no seed has it."""
    measured = [result for result in results if result.probes is not None]
    if not measured:
        return {}
    result = min(measured, key=lambda result: result.run.seed)
    probes = result.probes
    assert probes is not None
    norms = _thinned(tuple(zip(probes.gradient_steps, probes.gradient_norms, strict=True)))
    defects = [(p.iteration, p.defect) for p in result.curve if p.defect is not None]
    kept = {
        "seed": result.run.seed,
        "eigenphases_start": _phases(probes.eigenphases_start),
        "eigenphases_end": _phases(probes.eigenphases_end),
        "gradient_steps": [step for step, _ in norms],
        "gradient_norms": [_rounded(norm, 3) for _, norm in norms],
        "defects": [(iteration, _rounded(defect, 3)) for iteration, defect in _thinned(defects)],
    }
    return {"probes": kept}


def _phases(phases: Sequence[float] | None) -> list[float] | None:
    """The phases to three digits, which is finer than a figure."""
    return None if phases is None else [_rounded(phase, 3) for phase in phases]


def _thinned(points: Sequence[T]) -> list[T]:
    """At most :data:`POINTS` of the points, evenly spaced, with the first and the last one."""
    count = min(POINTS, len(points))
    kept = {round(i * (len(points) - 1) / max(1, count - 1)) for i in range(count)}
    return [points[i] for i in sorted(kept)]


def _rounded(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")


def export(folder: Path, docs: Path, partial: bool = False) -> Path:
    """Write ``results/NAME.json``; NAME is that of the folder.

    Args:
        folder: The results folder.
        docs: The folder of the documentation.
        partial: Whether to export a comparison that is not finished.

    Returns:
        The JSON file.

    Raises:
        ResultsError: There is no such folder, nothing in it finished, or not everything did and
            ``partial`` is False.
        OSError: A file cannot be written.
    """
    store = Store(folder)
    store.require()
    contents = store.load()
    _check(folder, contents, partial)
    name = Path(os.path.abspath(folder)).name  # that of "." and of "a/.." too
    path = docs / "results" / f"{name}.json"
    named = contents.plan.paper if contents.plan else ""
    runs = records(contents.results, PAPERS.get(named))
    # One line for each record keeps differences between two versions of the file readable.
    lines = ",\n".join(json.dumps(run, ensure_ascii=False) for run in runs)
    others = json.dumps(
        {
            "failed": failed(contents.failures),
            "search": search_rows(contents.searches),
            "search_caption": caption(contents.searches) if contents.searches else "",
        },
        ensure_ascii=False,
    )
    write_file(path, f'{others[:-1]}, "runs": [\n{lines}\n]}}\n')
    return path


def _check(folder: Path, contents: Contents, partial: bool) -> None:
    if not contents.results:
        raise ResultsError(f"{folder} holds no finished run; let comparisons/run_all.py train some")
    if (contents.missing or contents.problems) and not partial:
        raise ResultsError(
            f"{folder} lacks {contents.missing} runs of the last command and holds "
            f"{len(contents.problems)} files that cannot be read; let comparisons/run_all.py "
            "finish, or export the rest with --partial"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Export the folder that is named."""
    tolerate_encoding()
    parser = argparse.ArgumentParser(
        prog="python -m comparisons.report.export", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="a folder that run_all.py filled")
    parser.add_argument(
        "--docs", type=Path, default=Path("docs"), help="folder of the documentation"
    )
    parser.add_argument("--partial", action="store_true", help="export although runs are missing")
    plugins.add_flag(parser)
    options = parser.parse_args(argv)
    try:
        print(export(options.folder, options.docs, options.partial))
    except ResultsError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"nothing more can be written: {error}; choose another --docs")


if __name__ == "__main__":
    main()
