"""Run one benchmark: ``python -m comparisons.benchmarks NAME [--json FILE] [--tiny] ...``.

A benchmark is a module of this package with two functions: ``add_arguments(parser)`` adds the flags
that it alone has, and ``run(options)`` checks that what it times is correct, measures, prints its
tables and returns them by name for ``--json``. It raises ``CorrectnessError`` before it measures
anything wrong, or ``BrokenPromiseError`` with its tables; the exit code is 1 after either.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from comparisons.benchmarks.correctness import CorrectnessError
from comparisons.benchmarks.timing import BrokenPromiseError, load_average, write_json
from comparisons.cli.console import say
from comparisons.cli.named import chosen_module
from comparisons.output import check_writable, tolerate_encoding

NAMES = (
    "scan_speed",
    "training_step",
    "memory",
    "map_speed",
    "scheme_speed",
    "gradient_condition",
    "expm_cost",
    "silent_failures",
    "change",
    "engine_overhead",
    "page",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark that is named first and return the exit code."""
    tolerate_encoding()
    argv = sys.argv[1:] if argv is None else argv
    _, benchmark, parser = chosen_module("comparisons.benchmarks", __doc__, NAMES, argv)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: does it run at all?")
    parser.add_argument("--threads", type=int, default=2)
    benchmark.add_arguments(parser)
    options = parser.parse_args(argv[1:])
    if options.json:
        try:
            check_writable(options.json)  # now, and not after an hour of measurements
        except OSError as error:
            parser.error(f"{options.json} cannot be written: {error}; choose another --json")
    load_before = load_average()
    torch.set_num_threads(options.threads)
    code = 0
    try:
        tables = benchmark.run(options)
    except CorrectnessError as error:
        say(f"the correctness check failed, nothing is measured: {error}")
        return 1
    except BrokenPromiseError as error:
        say(f"a promise is broken: {error}")
        tables, code = error.tables, 1
    if options.json:
        found = {name: rows for name, rows in tables.items() if rows}
        try:
            write_json(options.json, load_before, **found)
        except OSError as error:
            say(f"{options.json} is not written: {error}; the figures are printed above only")
            return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
