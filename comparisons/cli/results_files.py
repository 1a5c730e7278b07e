"""The actions ``export`` and ``prune`` of the command ``results``."""

from __future__ import annotations

import argparse
import collections
import sys
import time
from pathlib import Path

from comparisons.cli.console import say
from comparisons.cli.results_found import load
from comparisons.output import write_file
from comparisons.results.exporting import ExportError, point_rows, run_rows, to_csv, to_parquet
from comparisons.results.pruning import KINDS, delete, spare_files
from comparisons.results.store import ResultsError, Store


def export(args: argparse.Namespace) -> None:
    """Write a table of the runs of a folder, or of the points of their curves."""
    to_output = args.output == "-"
    if to_output and args.format == "parquet":
        raise ExportError("parquet is no text for standard output; name a file by --output")
    store = Store(args.folder)
    store.require()
    # Its problems would stand among the lines of the table.
    contents = store.load() if to_output else load(args.folder)
    rows = point_rows(contents) if args.curves else run_rows(contents)
    if not rows:
        raise ResultsError(f"{args.folder} holds no run that has ended; there is nothing to export")
    content = to_csv(rows) if args.format == "csv" else to_parquet(rows)
    if isinstance(content, str) and to_output:
        sys.stdout.write(content)
        return
    name = f"{'curves' if args.curves else 'runs'}.{args.format}"
    path = Path(args.output) if args.output else args.folder / name
    try:
        write_file(path, content)
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error}; choose another --output") from error
    say(f"{len(rows)} lines: {path}")


def prune(args: argparse.Namespace) -> None:
    """List the files that nothing needs, and delete them if that is asked for."""
    load(args.folder)
    kinds = list(args.only or args.usual)
    if args.not_planned and "not_planned" not in kinds:
        kinds.append("not_planned")
    # To list is not to write: here, the clock of this machine has to do.
    spares = spare_files(args.folder, kinds, time.time())
    if not spares:
        say(f"{args.folder} holds no file that can go")
        return
    sizes: collections.Counter[str] = collections.Counter()
    counts = collections.Counter(spare.kind for spare in spares)
    for spare in spares:
        sizes[spare.kind] += spare.size
        say(f"  {spare.path.relative_to(args.folder)}")
    for kind, count in counts.items():
        say(f"{count} {KINDS[kind]}: {sizes[kind] / 1024:,.0f} KiB")
    if not args.yes:
        say("nothing is deleted without --yes")
        return
    gone, errors = delete(args.folder, spares)
    say(f"{len(gone)} files deleted")
    if errors:
        raise ResultsError(f"{len(errors)} files could not be deleted: {errors[0]}")
