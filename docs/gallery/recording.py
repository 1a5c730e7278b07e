"""What the scripts of the gallery share: their flags, their seeds, and the file for their page."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

# A script is started by its path, so the root of the clone is not among the folders of modules.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from comparisons.benchmarks.timing import load_average, write_json
from comparisons.output import check_writable

GRID = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Learning rates that --tune tries."""
TUNING_SEED = 1000
"""A seed that no reported number uses."""


@dataclass(frozen=True)
class Outcome:
    """One method trained with one seed.

    Attributes:
        validation: A loss on data that neither trains nor tests; --tune chooses by it.
        values: What was measured on the test data, by name; the page shows means over the seeds.
        facts: What is the same for every seed, such as the number of parameters.
        curves: Points (x, y) of the page's figure, by name.
    """

    validation: float
    values: Mapping[str, float]
    facts: Mapping[str, object]
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


Train = Callable[[str, float, int, int], Outcome]
"""Trains (method, learning rate, steps, seed)."""
Trained = dict[str, list[Outcome]]
"""The outcomes of each method, one for each seed."""


def arguments(description: str | None, steps: int) -> argparse.ArgumentParser:
    """The flags that every script has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="optimizer steps of a training")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each method")
    parser.add_argument("--out", type=Path, help="also write the outcomes to this JSON file")
    parser.add_argument("--tune", action="store_true", help="only compare learning rates")
    return parser


def record(train: Train, rates: Mapping[str, float], options: argparse.Namespace) -> Trained:
    """Train every method with every seed, print what was measured, and write it to a file.

    Args:
        train: Trains one method with one seed.
        rates: The learning rate of each method, which --tune found.
        options: The flags.
    """
    if options.tune:
        tune(train, rates, options.steps)
        return {}
    if options.out:
        check_writable(options.out)  # now, and not after the trainings
    start, load = time.perf_counter(), load_average()
    seeds = range(options.seeds)
    found = {
        method: [train(method, rate, options.steps, seed) for seed in seeds]
        for method, rate in rates.items()
    }
    seconds = time.perf_counter() - start
    for method, outcomes in found.items():
        print(method, *(f"{name}: {fact}" for name, fact in outcomes[0].facts.items()), sep=", ")
        for name in outcomes[0].values:
            values = [outcome.values[name] for outcome in outcomes]
            each = ", ".join(f"{value:.4g}" for value in values)
            print(f"    {name}: {statistics.fmean(values):.4g}, the mean of {each}")
    print(f"{seconds:.0f} s")
    if options.out:
        trainings = [
            {"method": method, "rate": rates[method], "seed": seed, **asdict(outcome)}
            for method, outcomes in found.items()
            for seed, outcome in enumerate(outcomes)
        ]
        setting = {"steps": options.steps, "seeds": options.seeds, "seconds": seconds}
        write_json(options.out, load, setting=[setting], trainings=trainings)
    return found


def tune(train: Train, rates: Mapping[str, float], steps: int) -> None:
    """Print the validation loss of every method at every learning rate of the grid."""
    for method in rates:
        losses = {rate: train(method, rate, steps, TUNING_SEED).validation for rate in GRID}
        shown = ", ".join(f"{rate:g}: {loss:.4g}" for rate, loss in losses.items())
        print(f"{method}: {shown}; the least at {min(losses, key=losses.__getitem__):g}")
