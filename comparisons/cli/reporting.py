"""Write the report of a folder, and say where it is."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

from comparisons.cli import console
from comparisons.cli.summary import print_summary

# Drawing is imported late: every worker process imports this file, and only one process draws.


def report(folder: Path) -> bool:
    """Write and print the report; returns whether it could be written."""
    from comparisons.report import write_report

    try:
        written = write_report(folder)
    except OSError as error:
        again = shlex.join(["python", "-m", "comparisons.report", str(folder)])
        console.say(f"the report could not be written ({error}); this tries again: {again}")
        return False
    print_summary(written.overview, written.sections, written.pages[-1])
    console.say("report: " + ", ".join(map(str, written.pages)))
    return True


def report_early(folder: Path) -> None:
    """Write a first report; one that cannot be written now is written at the end."""
    from comparisons.report import write_report

    with contextlib.suppress(OSError):
        pages = ", ".join(map(str, write_report(folder).pages))
        console.say(f"a first report, of what has finished: {pages}")
