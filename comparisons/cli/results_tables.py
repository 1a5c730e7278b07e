"""The actions ``list``, ``show`` and ``compare`` of the command ``results``."""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comparisons.cli.console import say, show
from comparisons.cli.results_found import NotFoundError, comparisons_in, find, load
from comparisons.records import Failure, Result, Run
from comparisons.results.claims import current_claims
from comparisons.results.comparing import Pair, differences, losses, pairs
from comparisons.results.exporting import setting_values
from comparisons.results.text import format_cell

POINTS_SHOWN = 5
"""Evaluations that are shown from each end of a curve."""
_EVALUATION = (
    "iteration", "test_loss", "test_accuracy", "train_loss", "valid_loss", "seconds", "defect",
)  # fmt: skip


def print_list(args: argparse.Namespace) -> None:
    """Print a table of the runs of each folder that is named."""
    for folder in comparisons_in(args.folder):
        contents = load(folder)
        # Reading changes nothing in the folder: here, the clock of this machine has to do.
        held = current_claims(folder, time.time())
        rows = [
            _row(ended, "in training again" if ended.run.id in held else None)
            for ended in contents.ended
            if _asked(ended.run, args)
        ]
        show(f"{folder}: {len(rows)} runs", sorted(rows, key=_order))
        ended_ids = {ended.run.id for ended in contents.ended}
        for id, claim in held.items():
            if id not in ended_ids:
                host = claim.owner.host if claim.owner else "a machine that is not known"
                say(f"in training on {host}: {id}")
        if contents.missing:
            say(f"{contents.missing} runs of the last command have not ended")


def print_run(args: argparse.Namespace) -> None:
    """Print all that is known of one run."""
    folder, ended = find(args.id, args.results)
    run = ended.run
    values: dict[str, Any] = {
        "id": run.id,
        "folder": str(folder),
        **{name: getattr(run, name) for name in ("task", "variant", "length", "model", "seed")},
        "device": run.device,
        "paper": run.paper,
        **setting_values(run.setting),
    }
    if isinstance(ended, Failure):
        left_out: tuple[str, ...] = ("run", "traceback")
        values["state"] = "failed"
    else:
        left_out = ("run", "curve")
        values["state"] = "finished"
        values["test_loss"] = ended.chosen.test_loss
    for name, value in vars(ended).items():
        if isinstance(value, dict):
            values |= {f"{name} {key}": item for key, item in value.items()}
        elif name not in left_out:
            values[name] = value
    width = max(map(len, values))
    for name, value in values.items():
        if value is not None and value not in ("", ()):
            say(f"{name:<{width}}  {_text(value)}")
    if isinstance(ended, Failure):
        say(ended.traceback)
        return
    points = [dataclasses.asdict(point) for point in ended.curve]
    measured = [name for name in _EVALUATION if any(point[name] is not None for point in points)]
    points = [{name: point[name] for name in measured} for point in points]
    if len(points) > 2 * POINTS_SHOWN:
        show(f"the first of {len(points)} evaluations", points[:POINTS_SHOWN])
        show("the last ones", points[-POINTS_SHOWN:])
    else:
        show("evaluations", points)


def print_comparison(args: argparse.Namespace) -> None:
    """Print the losses of two folders, or of two runs, and what differs in their settings."""
    folders = [Path(word).is_dir() for word in (args.first, args.second)]
    if all(folders):
        first, second = (load(Path(word)).results for word in (args.first, args.second))
        _print_pairs(pairs(first, second), args.first, args.second)
    elif any(folders):
        word = args.second if folders[0] else args.first
        raise NotFoundError(f"{word!r} is no folder; compare two folders or two runs")
    else:
        one, other = (_finished(word, args.results) for word in (args.first, args.second))
        say(f"A: {one.run.id}\nB: {other.run.id}")
        differing = differences(one, other)
        if one.run.seed != other.run.seed:
            differing = {"seed": (one.run.seed, other.run.seed), **differing}
        _print_differences(differing)
        show("results", [_outcome("A", one), _outcome("B", other)])


def _finished(word: str, folder: Path) -> Result:
    place, ended = find(word, folder)
    if isinstance(ended, Failure):
        raise NotFoundError(f"{ended.run.id} in {place} failed; name a run that has finished")
    return ended


def _print_pairs(found: Sequence[Pair], first: str, second: str) -> None:
    say(f"A: {first}\nB: {second}")
    both = [pair for pair in found if pair.first and pair.second]
    show(
        "test losses, as mean ± standard deviation (seeds)",
        [
            {
                **_trained(pair.result.run),
                "B - A": pair.difference,
                "p (Welch)": pair.p_value,
                "n": pair.result.run.setting.model.hidden_size,
                "loss A": _spread(losses(pair.first)),
                "loss B": _spread(losses(pair.second)),
                "setting": "differs" if pair.differences else "the same",
            }
            for pair in both
        ],
    )
    for pair in both:
        if pair.differences:
            say(" ".join(map(str, _kind(pair.result.run).values())))
            _print_differences(pair.differences)
    for name, alone in (
        ("A", [pair for pair in found if not pair.second]),
        ("B", [pair for pair in found if not pair.first]),
    ):
        show(
            f"in {name} only",
            [
                {**_kind(pair.result.run), "loss": _spread(losses(pair.first or pair.second))}
                for pair in alone
            ],
        )


def _print_differences(differing: dict[str, tuple[Any, Any]]) -> None:
    if not differing:
        say("  the settings are the same")
    for name, (ours, theirs) in differing.items():
        say(f"  {name}: A {_text(ours)}, B {_text(theirs)}")


def _asked(run: Run, args: argparse.Namespace) -> bool:
    asked = ((args.task, run.task), (args.model, run.model), (args.length, run.length))
    return all(values is None or value in values for values, value in asked)


def _trained(run: Run) -> dict[str, Any]:
    task = f"{run.task} ({run.variant})" if run.variant else run.task
    return {"model": run.model, "task": task, "T": run.length}


def _kind(run: Run) -> dict[str, Any]:
    return {**_trained(run), "n": run.setting.model.hidden_size}


def _row(ended: Result | Failure, state: str | None) -> dict[str, Any]:
    usual = "failed" if isinstance(ended, Failure) else ended.stopped or "finished"
    return {
        "id": ended.run.id,  # it names the task, the length, the model, its size and the seed
        "loss": None if isinstance(ended, Failure) else ended.chosen.test_loss,
        "state": state or usual,
        "date": ended.date[:16].replace("T", " "),
        **_kind(ended.run),
        "seed": ended.run.seed,
    }


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("task", "T", "model", "n", "seed"))


def _outcome(name: str, result: Result) -> dict[str, Any]:
    return {
        "run": name,
        "test loss": result.chosen.test_loss,
        "accuracy": result.chosen.test_accuracy,
        "last test loss": result.final.test_loss,
        "parameters": result.parameters,
        "ms / step": result.ms_per_step,
        "defect end": result.defect_end,
        "date": result.date[:10],
    }


def _spread(values: Sequence[float]) -> str:
    mean = format_cell(float(statistics.fmean(values)))
    if len(values) == 1:
        return f"{mean} (1)"
    return f"{mean} ± {format_cell(float(statistics.stdev(values)), 2)} ({len(values)})"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return format_cell(value, 6)
