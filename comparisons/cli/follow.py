"""The processes of torchrun but the first, which train what the first says and print nothing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from comparisons.cli.execution_flags import execution_options
from comparisons.data import files
from comparisons.execution import ExecutorError, ddp


def is_follower(args: argparse.Namespace) -> bool:
    """Whether another process plans, stores and reports in the place of this one."""
    return ddp.rank() > 0 and (args.executor == "ddp" or ddp.started_by_torchrun())


def follow(args: argparse.Namespace) -> int:
    """Train what the first process says; return the exit code."""
    if args.executor != "ddp" or args.list or args.dry_run:
        return 0  # the first process says what there is to say
    if args.data_dir is not None:
        files.use_folder(args.data_dir)
    try:
        return ddp.follow(execution_options(args, Path()))
    except ExecutorError as error:
        print(f"process {ddp.rank()}: {error}", file=sys.stderr)
        return 2
