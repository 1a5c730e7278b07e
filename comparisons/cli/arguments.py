"""The flags of ``run_all.py`` on what is trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from comparisons.cli.execution_flags import add_execution_flags
from comparisons.cli.live_page import DEFAULT_PORT
from comparisons.cli.own_parts import plugin
from comparisons.cli.values import device, port, positive
from comparisons.execution.ddp import rank, started_by_torchrun
from comparisons.plan import DEFAULT_PRESET
from comparisons.plan.search import SAMPLERS


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line: the usage text would hide the reason."""

    def error(self, message: str) -> NoReturn:
        """Print the reason on standard error, and exit with 2.

        Of the processes that torchrun started, the first alone does so, and ends the others.
        """
        if started_by_torchrun() and rank() > 0:
            self.exit(0)
        self.exit(2, f"{self.prog}: {message}\n")


def parser(description: str) -> Parser:
    """Build the parser; flags that are not given are settled by the preset."""
    p = Parser(description=description, allow_abbrev=False)
    what = p.add_mutually_exclusive_group()
    # No default here: argparse would not see that a value equal to it was given beside --paper.
    what.add_argument(
        "--preset",
        metavar="NAME",
        help=f"sizes and settings by name; {DEFAULT_PRESET} without --paper and --grid",
    )
    what.add_argument(
        "--paper", metavar="NAME", help="what one paper trained, beside what it published"
    )
    what.add_argument(
        "--grid", type=Path, metavar="FILE",
        help="what a YAML or Python file of your own asks for; docs/grids.md",
    )  # fmt: skip
    p.add_argument("--tasks", nargs="+", metavar="NAME", help="tasks; all, if not given")
    p.add_argument(
        "--schemes", nargs="+", metavar="NAME",
        help="schemes, baselines and models of plug-ins; all, if not given",
    )  # fmt: skip
    p.add_argument(
        "--lengths", nargs="+", type=positive, metavar="T",
        help="lengths T; those of the preset, paper or grid, if not given",
    )  # fmt: skip
    p.add_argument(
        "--variants", nargs="+", metavar="NAME",
        help="data or forms of the tasks, which --tasks has to name; --list has them",
    )  # fmt: skip
    p.add_argument(
        "--data-dir", type=Path, metavar="DIR",
        help="real data, in folders mnist and ptb; $UNITARY_ZOO_DATA, or else embedded data",
    )  # fmt: skip
    p.add_argument("--download", action="store_true", help="fetch what --data-dir lacks")
    p.add_argument(
        "--seeds", nargs="+", type=int, metavar="SEED",
        help="a run for each; 0 or those of the paper or grid, if not given",
    )  # fmt: skip
    p.add_argument(
        "--iterations", type=positive, metavar="N",
        help="optimizer steps of each run; those of its setting, if not given",
    )  # fmt: skip
    p.add_argument(
        "--hidden-size", type=positive, metavar="N",
        help="units: the paper's settings of that size, or else all settings at that size",
    )  # fmt: skip
    p.add_argument(
        "--device", type=device, default="cpu", help="cpu, cuda, cuda:1, ...; %(default)s"
    )
    p.add_argument(
        "--results", type=Path, metavar="DIR",
        help="the results folder; results/ and the name of the preset, paper or grid, if not given",
    )  # fmt: skip
    p.add_argument(
        "--plugin", nargs="+", type=plugin, default=[], metavar="FILE",
        help="files or modules with schemes, models, tasks, papers or presets of your own",
    )  # fmt: skip
    p.add_argument(
        "--skip-conformance", action="store_true",
        help="train schemes of plug-ins without the checks that they have to pass first",
    )  # fmt: skip
    add_search_flags(p)
    add_execution_flags(p)
    p.add_argument(
        "--serve", nargs="?", type=port, const=DEFAULT_PORT, metavar="PORT",
        help="show the report to a browser of this machine while runs go on; at port "
        f"{DEFAULT_PORT} without a number, and 0 takes a free one",
    )  # fmt: skip
    p.add_argument("--dry-run", action="store_true", help="show the runs and train nothing")
    p.add_argument("--list", action="store_true", help="show everything that has a name here")
    return p


def add_search_flags(p: argparse.ArgumentParser) -> None:
    """Add the flags of a search."""
    search = p.add_argument_group("search for settings, by a validation set")
    search.add_argument(
        "--search", type=positive, metavar="N",
        help="choose each model's learning rates and start on each task by N trials",
    )  # fmt: skip
    search.add_argument(
        "--search-space", metavar="FILE|PAPER",
        help="what is searched: a file of yours, or the grid of a paper; without it, that of "
        "--paper if it states one, or else this project's",
    )  # fmt: skip
    search.add_argument(
        "--search-sampler", choices=SAMPLERS, help="how trials are chosen; tpe, if not given"
    )
