"""Train every scheme and baseline on every task and report; a second call goes on from the first.

Results are kept run by run, so an interrupted command loses nothing that finished.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

# Run as a script from a checkout, Python looks in this folder only; the packages are one above.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from comparisons.cli import console
from comparisons.cli.arguments import parser, planned_runs
from comparisons.cli.execute import execute
from comparisons.data import DataError
from comparisons.execution import EXECUTORS, ExecutorError
from comparisons.plan import DEFAULT_PRESET, PlanError
from comparisons.results.store import Store


def main(argv: list[str]) -> int:
    """Parse, plan, execute, report; returns the exit code."""
    command = shlex.join(["python", "comparisons/run_all.py", *argv])
    p = parser(__doc__ or "")
    args = p.parse_args(argv)
    if args.list:
        console.print_catalogue()
        return 0
    try:
        runs = planned_runs(args)
        executor = EXECUTORS[args.executor](args.jobs)
    except (PlanError, DataError, ExecutorError) as error:
        p.error(str(error))

    store = Store(args.results or Path("results", args.paper or args.preset or DEFAULT_PRESET))
    contents = store.load()
    for problem in contents.problems:
        console.say(f"{problem}; this run counts as not finished")
    finished = {result.run.id for result in contents.results}
    if args.dry_run:
        console.print_runs(runs, finished)
        return 0
    missing = [run for run in runs if run.id not in finished]
    taken = f"{len(runs) - len(missing)} taken from {store.folder}"
    console.say(f"{len(runs)} runs: {taken}, {len(missing)} to train")
    try:
        try:
            store.save_plan(command, runs, args.paper or "")
        except OSError as error:
            p.error(f"results cannot be kept in {store.folder}: {error}; choose another --results")
        failed = execute(executor, missing, store, command)
        # Late: every worker process imports this file, and only this one process draws figures.
        from comparisons.report import write_report

        report = write_report(store.folder)
    except KeyboardInterrupt:
        console.say(f"interrupted; what finished is kept, and the same command goes on: {command}")
        return 130
    console.print_summary(report.sections)
    console.say("report: " + ", ".join(map(str, report.pages)))
    if failed:
        console.say(f"{failed} runs failed; tracebacks are in {store.folder / 'failures'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
