"""Run one experiment; write its numbers to NAME.json and its figure to NAME.png.

python -m comparisons.experiments {norms,theorems,vanishing} [--results DIR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from matplotlib.figure import Figure

from comparisons.benchmarks.timing import write_json
from comparisons.cli.console import console
from comparisons.experiments import norms, theorems, vanishing
from comparisons.experiments.usage import UsageError
from comparisons.report.figures import save_png

Experiment = Callable[
    [argparse.Namespace], tuple[Mapping[str, Sequence[Mapping[str, Any]]], Figure]
]
"""From the arguments to tables by name, and a figure."""

EXPERIMENTS: dict[str, ModuleType] = {
    "norms": norms,
    "theorems": theorems,
    "vanishing": vanishing,
}
"""Modules with ``add_arguments(parser)`` and ``run``, an :data:`Experiment`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the experiment that the arguments name, and write its files."""
    parser = argparse.ArgumentParser(
        prog="python -m comparisons.experiments", description=(__doc__ or "").partition("\n\n")[0]
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    parsers: dict[str, argparse.ArgumentParser] = {}
    for name, module in EXPERIMENTS.items():
        summary = (module.__doc__ or "").partition("\n\n")[0]
        command = parsers[name] = commands.add_parser(
            name,
            help=summary,
            description=summary,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        module.add_arguments(command)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument(
            "--results", type=Path, default=Path("results", "experiments"), metavar="DIR"
        )
        command.add_argument("--tiny", action="store_true", help="tiny sizes: does it run at all?")
    options = parser.parse_args(argv)
    run: Experiment = EXPERIMENTS[options.name].run
    try:
        tables, figure = run(options)
    except UsageError as error:
        parsers[options.name].error(str(error))
    path = options.results / f"{options.name}.json"
    write_json(path, **tables)
    save_png(figure, path.with_suffix(".png"))
    console.print(f"written: {path} and {path.with_suffix('.png').name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
