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
from comparisons.cli.arguments import parser
from comparisons.cli.execute import Keeper, complete
from comparisons.cli.execution_flags import execution_options
from comparisons.cli.follow import follow, is_follower
from comparisons.cli.live_page import LivePage
from comparisons.cli.planned import REFUSALS, planned
from comparisons.cli.reporting import report, report_interrupted
from comparisons.cli.search import print_searches, searched
from comparisons.execution import EXECUTORS
from comparisons.output import tolerate_encoding
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
        asked = planned(args, command)
        store = Store(asked.folder)
        executor = EXECUTORS[args.executor](execution_options(args, store.folder))
        page = LivePage(None if args.dry_run else args.serve, store.folder, asked.plugins)
    except REFUSALS as error:
        p.error(str(error))
    if args.dry_run:
        jobs = args.jobs or usable_cpus()
        print_searches(asked.seekers, jobs)
        console.print_runs(asked.runs, console.read_finished(store), jobs)
        return 0
    try:
        searching = bool(asked.seekers)
        for line in store.prepare(command, asked.runs, asked.paper, asked.plugins, searching):
            console.say(line)
    except (OSError, ResultsError) as error:
        p.error(f"results cannot be kept in {store.folder}: {error}; choose another --results")
    keeper = Keeper(store, command)
    try:
        with page:
            runs = searched(executor, asked, store, command)
            complete(executor, runs, store, keeper, args.jobs or usable_cpus())
        reported = report(store.folder)
    except REFUSALS as error:
        p.error(str(error))
    except KeyboardInterrupt:
        keeper.report_unsaved()
        return report_interrupted(store.folder, command)
    page.close()
    if keeper.failed:
        console.say(f"{keeper.failed} runs failed; tracebacks are in {store.folder / 'failures'}")
    keeper.report_unsaved()
    return 3 if keeper.unsaved or not reported else 1 if keeper.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
