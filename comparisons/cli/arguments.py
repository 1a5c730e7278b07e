"""The flags of ``run_all.py``, and the runs they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from comparisons.cli.conformance import require_conformance
from comparisons.cli.execution_flags import add_execution_flags
from comparisons.cli.own_parts import plugin
from comparisons.cli.values import device, positive
from comparisons.data import files
from comparisons.execution.ddp import rank, started_by_torchrun
from comparisons.plan import DEFAULT_PRESET, plan
from comparisons.records import Run
from comparisons.tasks import TASKS


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
        help=f"sizes and settings; {DEFAULT_PRESET}, if no paper is named",
    )
    what.add_argument(
        "--paper", metavar="NAME", help="what one paper trained, beside what it published"
    )
    p.add_argument("--tasks", nargs="+", metavar="NAME", help="all, if not given")
    p.add_argument(
        "--schemes", nargs="+", metavar="NAME", help="schemes and baselines; all, if not given"
    )
    p.add_argument(
        "--lengths", nargs="+", type=positive, metavar="T",
        help="instead of the preset's or the paper's",
    )  # fmt: skip
    p.add_argument(
        "--variants", nargs="+", metavar="NAME",
        help="data or forms of the tasks, which --tasks has to name; --list has them",
    )  # fmt: skip
    p.add_argument(
        "--data-dir", type=Path, metavar="DIR",
        help="real data, in folders mnist and ptb; $UNITARY_ZOO_DATA; else embedded data are used",
    )  # fmt: skip
    p.add_argument("--download", action="store_true", help="fetch what --data-dir lacks")
    p.add_argument(
        "--seeds", nargs="+", type=int, metavar="SEED", help="a run for each; 0, or the paper's"
    )
    p.add_argument(
        "--iterations", type=positive, metavar="N", help="instead of the preset's or the paper's"
    )
    p.add_argument(
        "--hidden-size", type=positive, metavar="N",
        help="units: the paper's settings of that size, or else all settings at that size",
    )  # fmt: skip
    p.add_argument(
        "--device", type=device, default="cpu", help="cpu, cuda, cuda:1, ...; %(default)s"
    )
    p.add_argument(
        "--results", type=Path, metavar="DIR", help="where they are kept; results/PRESET or /PAPER"
    )
    p.add_argument(
        "--plugin", nargs="+", type=plugin, default=[], metavar="FILE",
        help="files or modules with schemes, models, tasks, papers or presets of your own",
    )  # fmt: skip
    p.add_argument(
        "--skip-conformance", action="store_true",
        help="train schemes of plug-ins without the checks that they have to pass first",
    )  # fmt: skip
    add_execution_flags(p)
    p.add_argument("--dry-run", action="store_true", help="show the runs and train nothing")
    p.add_argument("--list", action="store_true", help="show everything that has a name here")
    return p


def results_folder(args: argparse.Namespace) -> Path:
    """The folder of the comparison: as given, or that of the paper or preset."""
    return args.results or Path("results", args.paper or args.preset or DEFAULT_PRESET)


def planned_runs(args: argparse.Namespace) -> list[Run]:
    """The runs that the flags ask for.

    Except in a dry run, their data are checked to be there, and schemes of plug-ins to conform.

    Raises:
        PlanError: The flags ask for something that does not exist.
        DataError: Data are missing or damaged.
        NotConformingError: A scheme of a plug-in fails the conformance kit.
    """
    if args.data_dir is not None:
        files.use_folder(args.data_dir)
    runs = plan(
        args.preset or DEFAULT_PRESET,
        args.tasks,
        args.schemes,
        lengths=args.lengths,
        variants=args.variants,
        real_data=files.folder() is not None,
        seeds=args.seeds,
        device=args.device,
        iterations=args.iterations,
        hidden_size=args.hidden_size,
        paper=args.paper,
    )
    if not args.dry_run:
        for task, variant in sorted({(run.task, run.variant) for run in runs}):
            TASKS.get(task).prepare(variant, args.download)
        require_conformance(runs, results_folder(args), args.skip_conformance)
    return runs
