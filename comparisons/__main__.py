"""``python -m comparisons COMMAND``: ``results`` lists and compares runs, ``report`` shows them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from comparisons.cli import report_command, results_command
from comparisons.cli.arguments import Parser
from comparisons.output import tolerate_encoding


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 where it cannot be run."""
    tolerate_encoding()
    parser = Parser(
        "python -m comparisons", description="Work with what comparisons/run_all.py has kept."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    results_command.add_to(commands)
    report_command.add_to(commands)
    args = parser.parse_args(argv)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
