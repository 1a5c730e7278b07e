"""Write the report of a results folder again: ``python -m comparisons.report FOLDER``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from comparisons import plugins
from comparisons.output import tolerate_encoding
from comparisons.report import write_report
from comparisons.results.store import ResultsError


def main(argv: Sequence[str] | None = None) -> None:
    """Write the report of the folder that is named, and print its pages."""
    tolerate_encoding()
    parser = argparse.ArgumentParser(
        prog="python -m comparisons.report",
        description="Write the report of a results folder again.",
    )
    parser.add_argument("folder", type=Path, help="a folder that run_all.py filled")
    plugins.add_flag(parser)
    folder = parser.parse_args(argv).folder
    try:
        report = write_report(folder)
    except ResultsError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"the report cannot be written: {error}; copy the folder to where it can be")
    for line in (*report.remarks, *report.pages):
        print(line)


if __name__ == "__main__":
    main()
