"""The command ``results``: its flags, and the folders and runs that they name."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comparisons import plugins
from comparisons.cli import results_files, results_tables
from comparisons.cli.results_found import NotFoundError
from comparisons.cli.values import positive
from comparisons.results.exporting import ExportError
from comparisons.results.pruning import KINDS, USUAL
from comparisons.results.store import ResultsError


def add_to(commands: Any) -> None:
    """Add the command and its subcommands to the commands of a parser."""
    command = commands.add_parser("results", help="the results in folders of run_all.py")
    actions = command.add_subparsers(required=True, metavar="action")
    _add_list(actions)
    _add_show(actions)
    _add_compare(actions)
    _add_export(actions)
    _add_prune(actions)


def _add_list(actions: Any) -> None:
    p = _action(actions, "list", "list the runs of a folder", results_tables.print_list)
    p.add_argument(
        "folder", nargs="?", type=Path, default=Path("results"),
        help="a folder of run_all.py, or one of such folders; %(default)s",
    )  # fmt: skip
    p.add_argument("--task", nargs="+", metavar="NAME", help="runs on these tasks alone")
    p.add_argument("--model", nargs="+", metavar="NAME", help="runs of these models alone")
    p.add_argument("--length", nargs="+", type=positive, metavar="T", help="of these lengths alone")


def _add_show(actions: Any) -> None:
    p = _action(actions, "show", "show all that is known of a run", results_tables.print_run)
    p.add_argument("id", help="the id of a run, or its beginning")
    _add_results(p)


def _add_compare(actions: Any) -> None:
    p = _action(
        actions, "compare", "set two folders or two runs side by side",
        results_tables.print_comparison,
    )  # fmt: skip
    p.add_argument("first", metavar="A", help="a folder, or the id of a run or its beginning")
    p.add_argument("second", metavar="B", help="another of the same kind")
    _add_results(p)


def _add_export(actions: Any) -> None:
    p = _action(actions, "export", "write a table of the runs", results_files.export)
    p.add_argument("folder", type=Path, help="a folder of run_all.py")
    p.add_argument("--format", choices=("csv", "parquet"), default="csv", help="%(default)s")
    p.add_argument(
        "--curves", action="store_true", help="a line for each evaluation instead of each run"
    )
    p.add_argument(
        "--output", metavar="FILE",
        help="- is standard output; FOLDER/runs.FORMAT or FOLDER/curves.FORMAT, if not given",
    )  # fmt: skip


def _add_prune(actions: Any) -> None:
    p = _action(actions, "prune", "list files that can go, or delete them", results_files.prune)
    p.add_argument("folder", type=Path, help="a folder of run_all.py")
    kinds = "; ".join(f"{kind}: {words}" for kind, words in KINDS.items())
    p.add_argument(
        "--only", nargs="+", choices=KINDS, metavar="KIND", help=f"these kinds alone. {kinds}"
    )
    p.add_argument(
        "--not-planned", action="store_true",
        help="also results and failures that the last command did not ask for",
    )  # fmt: skip
    p.add_argument("--yes", action="store_true", help="delete them")
    p.set_defaults(usual=USUAL)


def _action(
    actions: Any, name: str, words: str, run: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    p: argparse.ArgumentParser = actions.add_parser(name, help=words, description=words)
    plugins.add_flag(p)

    def guarded(args: argparse.Namespace) -> int:
        try:
            run(args)
            sys.stdout.flush()
        except BrokenPipeError:
            # Its reader has seen enough; the interpreter would complain when it flushes again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (ResultsError, NotFoundError, ExportError, OSError) as error:
            p.error(str(error))
        return 0

    p.set_defaults(run=guarded)
    return p


def _add_results(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR",
        help="where runs are looked for: a folder of run_all.py, or one of such; %(default)s",
    )  # fmt: skip
