"""Run one experiment: ``python -m comparisons.experiments NAME [--results DIR] [--tiny] ...``.

It writes the numbers to NAME.json and the figure to NAME.png. An experiment is a module of this
package with two functions: ``add_arguments(parser)`` adds its own flags, and ``run(options)``
returns its tables by name and its figure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from comparisons.benchmarks.timing import load_average, write_json
from comparisons.cli.console import say, show
from comparisons.cli.named import chosen_module
from comparisons.experiments.usage import UsageError
from comparisons.output import check_writable, tolerate_encoding
from comparisons.report.figures import save_png

NAMES = ("norms", "starts", "theorems", "vanishing")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the experiment that is named first, and write its files."""
    tolerate_encoding()
    argv = sys.argv[1:] if argv is None else argv
    name, experiment, parser = chosen_module(
        "comparisons.experiments",
        __doc__,
        NAMES,
        argv,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    experiment.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--results", type=Path, default=Path("results", "experiments"), metavar="DIR"
    )
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: does it run at all?")
    options = parser.parse_args(argv[1:])
    path = options.results / f"{name}.json"
    try:
        check_writable(path)  # now, and not after the last of the numbers
    except OSError as error:
        parser.error(f"{path} cannot be written: {error}; choose another --results")
    load_before = load_average()
    try:
        tables, figure = experiment.run(options)
    except UsageError as error:
        parser.error(str(error))
    try:
        write_json(path, load_before, **tables)
        save_png(figure, path.with_suffix(".png"))
    except OSError as error:
        for title, rows in tables.items():
            show(title, rows)
        say(f"not written: {error}; the numbers are printed above")
        return 1
    say(f"written: {path} and {name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
