"""Write the report of a folder, and say where it is."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

from comparisons.cli import console
from comparisons.cli.interruption import ended_like_ctrl_c
from comparisons.cli.summary import print_summary

# Drawing is imported late: every worker process imports this file, and only one process draws.

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def report(folder: Path, whole: bool = True) -> bool:
    """Write the report and print where it is; Ctrl-C meanwhile ends the command at once.

    Args:
        folder: The results folder.
        whole: Whether to draw its figures, which takes a minute or more, and to print its main
            tables.

    Returns:
        Whether it could be written.
    """
    from comparisons.report import write_report

    again = shlex.join(["python", "-m", "comparisons", "report", str(folder)])
    try:
        with ended_like_ctrl_c():
            written = write_report(folder, figures=whole)
    except OSError as error:
        console.say(f"the report could not be written ({error}); this tries again: {again}")
        return False
    except KeyboardInterrupt:
        console.say(f"the report is not finished; this writes it: {again}")
        raise SystemExit(INTERRUPTED) from None
    if whole:
        print_summary(written.overview, written.sections, written.pages[-1])
    console.say("report: " + ", ".join(map(str, written.pages)))
    if not whole:
        console.say(f"this draws its figures for a paper, too: {again}")
    return True


def report_interrupted(folder: Path, command: str) -> int:
    """Report what had finished when Ctrl-C or SIGTERM came; return the exit code."""
    console.say(f"interrupted; what finished is kept, and the same command goes on: {command}")
    console.say("writing the report of what finished; Ctrl-C again ends at once")
    report(folder, whole=False)
    return INTERRUPTED


def report_early(folder: Path) -> None:
    """Write a first page; one that cannot be written now is written at the end."""
    from comparisons.report import write_report

    with contextlib.suppress(OSError):
        pages = ", ".join(map(str, write_report(folder, figures=False).pages))
        console.say(f"a first report, of what has finished: {pages}")
