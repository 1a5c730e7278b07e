"""Train every scheme and baseline on every task and report; a second call goes on from the first.

Results are kept run by run, so an interrupted command loses nothing that finished. The exit code is
1 if a run failed, 2 if nothing could be started, and 3 if something could not be written.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

# Run as a script from a checkout, Python looks in this folder only; the packages are one above.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from comparisons.cli import console
from comparisons.cli.arguments import parser, planned_runs, results_folder
from comparisons.cli.conformance import NotConformingError
from comparisons.cli.execute import Keeper, complete
from comparisons.cli.execution_flags import execution_options
from comparisons.cli.follow import follow, is_follower
from comparisons.data import DataError
from comparisons.execution import EXECUTORS, ExecutorError
from comparisons.output import tolerate_encoding
from comparisons.plan import PlanError
from comparisons.results.store import ResultsError, Store
from comparisons.training.machine import usable_cpus


def main(argv: list[str]) -> int:
    """Parse, plan, execute, report; returns the exit code."""
    tolerate_encoding()
    command = shlex.join(["python", "comparisons/run_all.py", *argv])
    p = parser(__doc__ or "")
    args = p.parse_args(argv)
    if is_follower(args):
        return follow(args)
    if args.list:
        console.print_catalogue()
        return 0
    try:
        runs = planned_runs(args)
        store = Store(results_folder(args))
        executor = EXECUTORS[args.executor](execution_options(args, store.folder))
    except (PlanError, DataError, NotConformingError, ExecutorError) as error:
        p.error(str(error))
    if args.dry_run:
        console.print_runs(runs, console.read_finished(store), args.jobs or usable_cpus())
        return 0
    try:
        for line in store.prepare(command, runs, args.paper or "", args.plugin):
            console.say(line)
    except (OSError, ResultsError) as error:
        p.error(f"results cannot be kept in {store.folder}: {error}; choose another --results")
    keeper = Keeper(store, command)
    try:
        complete(executor, runs, store, keeper, args.jobs or usable_cpus())
        reported = _report(store.folder)
    except ExecutorError as error:
        p.error(str(error))
    except KeyboardInterrupt:
        keeper.report_unsaved()
        console.say(f"interrupted; what finished is kept, and the same command goes on: {command}")
        return 130
    if keeper.failed:
        console.say(f"{keeper.failed} runs failed; tracebacks are in {store.folder / 'failures'}")
    keeper.report_unsaved()
    return 3 if keeper.unsaved or not reported else 1 if keeper.failed else 0


def _report(folder: Path) -> bool:
    """Write and print the report; returns whether it could be written."""
    # Late: every worker process imports this file, and only this one process draws figures.
    from comparisons.report import write_report

    try:
        report = write_report(folder)
    except OSError as error:
        again = shlex.join(["python", "-m", "comparisons.report", str(folder)])
        console.say(f"the report could not be written ({error}); this tries again: {again}")
        return False
    console.print_summary(report.sections)
    console.say("report: " + ", ".join(map(str, report.pages)))
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
