"""The final losses of a comparison as one table: docs/choosing.md shows them.

It trains nothing. What the runs left in their folder is read, and the means over their seeds are
written, with the machine, versions and command that the runs themselves recorded.

    python comparisons/run_all.py --preset quick
    python comparisons/benchmarks/quick.py [--results results/quick] [--json FILE]
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

from comparisons.benchmarks.timing import Row, show
from comparisons.cli.console import console
from comparisons.models import is_baseline
from comparisons.records import Result
from comparisons.results.store import Store
from unitary_zoo import Parametrization

TASKS = ("copying", "adding")
"""The tasks of the table; distil.py keeps the others."""
FACTS = ("command", "machine", "versions", "threads")


class ResultsError(ValueError):
    """The folder does not hold one whole comparison; the message is one line."""


def table(results: Sequence[Result]) -> list[Row]:
    """One row for each model, after one for the best predictor without a memory.

    Raises:
        ResultsError: A task was run with several lengths, whose losses have no common mean.
    """
    results = [result for result in results if result.run.task in TASKS]
    rows: list[Row] = [_without_memory(results)]
    for model in sorted({result.run.model for result in results}):
        own = [result for result in results if result.run.model == model]
        defects = [result.defect_end for result in own if result.defect_end is not None]
        row = {
            "scheme": model,
            "field": "-" if is_baseline(model) else Parametrization.get(model).info.field,
            "n": max(result.run.setting.hidden_size for result in own),
            "seeds": min(len(_of(own, task)) for task in TASKS),
        }
        for task in TASKS:
            found = _of(own, task)
            row[f"{task}_loss"] = _mean([result.final.test_loss for result in found])
            row[f"{task}_seconds"] = _mean([result.final.seconds for result in found])
        rows.append(row | {"defect": max(defects, default=None)})
    return rows


def _without_memory(results: Sequence[Result]) -> Row:
    row: dict[str, Any] = {"scheme": "(no memory)", "field": "-", "n": None, "seeds": None}
    for task in TASKS:
        found = _of(results, task)
        if len(lengths := {result.run.length for result in found}) > 1:
            raise ResultsError(
                f"{task} was run with the lengths {sorted(lengths)}; use a folder with one of them"
            )
        row[f"{task}_loss"] = found[0].baseline if found else None
        row[f"{task}_seconds"] = None
    return row | {"defect": None}


def _of(results: Sequence[Result], task: str) -> list[Result]:
    return [result for result in results if result.run.task == task]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def facts(results: Sequence[Result]) -> dict[str, Any]:
    """What the runs are to be judged by: the same for all of them.

    Raises:
        ResultsError: It is not.
    """
    found: dict[str, Any] = {}
    for name in FACTS:
        values = [getattr(result, name) for result in results]
        if any(value != values[0] for value in values):
            raise ResultsError(
                f"the runs do not agree in their {name}; run them again in a new folder, by one "
                "command on one machine"
            )
        found[name] = values[0]
    days = sorted(result.date for result in results)
    return found | {"date": days[-1], "load_before": None, "load_after": None}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results", "quick"))
    parser.add_argument("--json", type=Path, help="write the table here")
    arguments = parser.parse_args()
    contents = Store(arguments.results).load()
    asked = set(contents.plan.ids) if contents.plan else set()
    missing = len(asked - {result.run.id for result in contents.results})
    try:
        if missing or contents.problems or contents.failures or not contents.results:
            raise ResultsError(
                f"{arguments.results} holds {len(contents.results)} finished runs, "
                f"{len(contents.failures)} failed ones and {len(contents.problems)} files that "
                f"cannot be read, and lacks {missing} of the last command; let "
                "python comparisons/run_all.py finish first"
            )
        rows, found = table(contents.results), facts(contents.results)
    except ResultsError as error:
        parser.error(str(error))
    show("Final losses", rows, console)
    if arguments.json:
        text = json.dumps(found | {"quick": rows}, indent=2, ensure_ascii=False)
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
