"""Write the report of a results folder again: ``python -m comparisons.report FOLDER``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from comparisons.report import write_report


def main(argv: Sequence[str] | None = None) -> None:
    """Write the report of the folder that is named."""
    parser = argparse.ArgumentParser(
        prog="python -m comparisons.report",
        description="Write the report of a results folder again.",
    )
    parser.add_argument("folder", type=Path, help="a folder that run_all.py filled")
    for page in write_report(parser.parse_args(argv).folder).pages:
        print(page)


if __name__ == "__main__":
    main()
