"""Print to a terminal: progress bars, lines and tables."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import math
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from comparisons.cli.terminal_table import Column, print_table
from comparisons.models import BASELINES, MODELS, Builder, relevant_setting
from comparisons.papers import paper_titles
from comparisons.plan import PRESETS
from comparisons.plan.costs import costs
from comparisons.records import Failure, Result, Run
from comparisons.results.store import Contents, Store
from comparisons.results.text import format_cell
from comparisons.tasks import TASKS, Task
from unitary_zoo import Parametrization


class _StandardOutput(io.TextIOBase):
    """Standard output, where a line that cannot be written is lost and ends no training.

    A log can fill its disk, a pipe or a terminal can be closed while runs go on.
    """

    @property
    def _stream(self) -> Any:
        # Bars put a proxy in its place, which would print here again.
        return getattr(sys.stdout, "rich_proxied_file", sys.stdout)

    # In the type stubs it is an attribute of io.TextIOBase; here it follows sys.stdout.
    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, AttributeError):  # closed before the start, it is None
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


@functools.cache
def get_console() -> Console:
    """The console that everything is printed on; made when it is first asked for."""
    return Console(file=cast(IO[str], _StandardOutput()))


class ProgressBars:
    """Show a bar over all runs and one for each in training; print a line for each that ended.

    Args:
        total: Number of runs.
    """

    def __init__(self, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=get_console(),
            transient=True,
            # Bars belong on a screen; a file gets the lines alone.
            disable=not get_console().is_terminal,
        )
        self._all = self._progress.add_task("all runs", total=total, note="")
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> ProgressBars:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def update(self, run: Run, iteration: int, loss: float) -> None:
        """Move the bar of a run; the first update creates it."""
        if run.id not in self._bars:
            self._bars[run.id] = self._progress.add_task(
                str(run), total=run.setting.training.iterations, note=""
            )
        self._progress.update(
            self._bars[run.id], completed=iteration, note=f"training loss {loss:.4g}"
        )

    def note(self, text: str) -> None:
        """Show a note behind the bar of all runs."""
        self._progress.update(self._all, note=text)

    def leave_out(self) -> None:
        """Count a run that ended elsewhere."""
        self._progress.advance(self._all)

    def finish(self, ended: Result | Failure) -> None:
        """Remove the bar of a run that ended, and print how it ended."""
        bar = self._bars.pop(ended.run.id, None)
        if bar is not None:
            self._progress.remove_task(bar)
        self._progress.advance(self._all)
        if isinstance(ended, Failure):
            line = f"[red]failed[/] {escape(f'{ended.run}: {ended.error}')}"
        else:
            line = (
                f"[green]done[/]   {ended.run}: test loss {ended.final.test_loss:.4g} "
                f"(without memory {ended.without_memory:.4g}), {ended.ms_per_step:.3g} ms per step"
            )
        get_console().print(line, highlight=False, soft_wrap=True)


def read_contents(store: Store) -> Contents:
    """The contents of a folder; print what is wrong with its files."""
    contents = store.load()
    for line in (*contents.problems, *contents.notices):
        say(line)
    return contents


def read_finished(store: Store) -> set[str]:
    """The ids of the finished runs of a folder; print what is wrong with its files."""
    return {result.run.id for result in read_contents(store).results}


def expected(runs: Sequence[Run], jobs: int) -> str:
    """A sentence on the time that the runs would take; "" where nothing like them is recorded."""
    seconds, known = costs(runs)
    if not known or not runs:
        return ""
    return (
        f"about {minutes(sum(seconds) / jobs)} for {len(runs)} runs, {jobs} at a time, on the "
        "machine of the recorded ones"
    )


def minutes(seconds: float) -> str:
    """A time in words, as exact as an estimate is."""
    if seconds < 90:
        return f"{10 * math.ceil(seconds / 10)} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def print_runs(runs: Sequence[Run], finished: set[str], jobs: int = 1) -> None:
    """Print the runs of a command, which of them are finished, and the time of the others."""
    show(
        f"{len(runs)} runs",
        [
            {
                "model": run.model,
                "task": f"{run.task} ({run.variant})" if run.variant else run.task,
                "T": run.length,
                "seed": run.seed,
                "state": "finished" if run.id in finished else "to run",
                "n": run.setting.model.hidden_size,
                "iterations": f"{run.setting.training.iterations:,}",
                "batch": run.setting.training.batch_size,
                "device": run.device,
                "training": relevant_setting(run.model, run.setting).summary,
            }
            for run in runs
        ],
    )
    if line := expected([run for run in runs if run.id not in finished], jobs):
        say(line)


def print_catalogue() -> None:
    """Print all names that the command line takes, and the papers behind the settings."""
    entries = {
        "tasks": {name: _task(TASKS.get(name)) for name in TASKS.names()},
        "schemes": {name: Parametrization.get(name).info.title for name in Parametrization.names()},
        "baselines": {name: _first_line(BASELINES.get(name)) for name in BASELINES.names()},
        "models": {name: _first_line(MODELS.get(name)) for name in MODELS.names()},
        "presets": {name: PRESETS.get(name).title for name in PRESETS.names()},
        "papers": paper_titles(),
    }
    width = max(len(name) for group in entries.values() for name in group)
    for kind, group in entries.items():
        if not group:  # models come with plug-ins
            continue
        get_console().print(f"[bold]{kind}[/]")
        for name, title in group.items():
            get_console().print(
                f"  {name:<{width}}  {escape(title)}", highlight=False, soft_wrap=True
            )


def _first_line(builder: Builder) -> str:
    """What the builder's docstring says first."""
    return (inspect.getdoc(builder) or "").partition("\n")[0]


def _task(task: type[Task]) -> str:
    """The task's title, and the names that --variants takes."""
    variants = f"; variants {', '.join(task.variants)}" if task.variants else ""
    return task.title + variants


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table; without rows, print nothing.

    Args:
        title: A line above it.
        rows: Values by column, with the same keys in each row, the most important ones first.
            Columns that do not fit are left out from the end.
    """
    if not rows:
        return
    columns = [
        Column(
            name,
            tuple(format_cell(row[name]) for row in rows),
            numbers=not isinstance(rows[0][name], str),
        )
        for name in rows[0]
    ]
    print_table(get_console(), title, columns)


def say(text: str) -> None:
    """Print a line of plain text."""
    get_console().print(text, markup=False, highlight=False, soft_wrap=True)
