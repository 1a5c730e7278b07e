"""The command ``report``: write the report of a results folder again, and serve it."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import Any

from comparisons import plugins
from comparisons.cli import console
from comparisons.cli.interruption import ended_like_ctrl_c
from comparisons.cli.live_page import DEFAULT_PORT, LivePage
from comparisons.cli.reporting import INTERRUPTED
from comparisons.cli.serving import ServingError
from comparisons.cli.values import port
from comparisons.results.store import ResultsError, Store


def add_to(commands: Any) -> None:
    """Add the command to the commands of a parser."""
    words = "write the report of a folder of run_all.py again"
    p: argparse.ArgumentParser = commands.add_parser("report", help=words, description=words)
    p.add_argument("folder", type=Path, help="a folder of run_all.py")
    p.add_argument(
        "--serve", action="store_true",
        help="show it to a browser of this machine until Ctrl-C, and write it again whenever a "
        "run has ended",
    )  # fmt: skip
    p.add_argument(
        "--port", type=port, metavar="N",
        help=f"where --serve listens; {DEFAULT_PORT}, if not given, and 0 takes a free one",
    )  # fmt: skip
    p.add_argument(
        "--no-figures", action="store_true",
        help="write report.html alone, which takes a fraction of the time",
    )  # fmt: skip
    plugins.add_flag(p)

    def run(args: argparse.Namespace) -> int:
        if args.port is not None and not args.serve:
            p.error(f"--port {args.port} is the port of --serve; give both")
        try:
            with ended_like_ctrl_c():
                return _serve(args) if args.serve else _write(args)
        except (ResultsError, ServingError) as error:
            p.error(str(error))
        except OSError as error:
            p.error(f"the report cannot be written: {error}; copy the folder to where it can be")
        except KeyboardInterrupt:
            return 0 if args.serve else INTERRUPTED

    p.set_defaults(run=run)


def _write(args: argparse.Namespace) -> int:
    """Write the report; print remarks on the folder and the pages."""
    from comparisons.report import write_report  # drawing is slow to import

    written = write_report(args.folder, not args.no_figures)
    for line in (*written.remarks, *map(str, written.pages)):
        console.say(line)
    return 0


def _serve(args: argparse.Namespace) -> int:
    """Serve the report until Ctrl-C."""
    Store(args.folder).require()
    page = LivePage(DEFAULT_PORT if args.port is None else args.port, args.folder, args.plugin)
    _write(args)
    with page:
        console.say("Ctrl-C ends it")
        threading.Event().wait()  # for the signal
    return 0
