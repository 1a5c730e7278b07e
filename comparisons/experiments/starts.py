"""Train each scheme from each of its starts, on several tasks and seeds: which one is the default?

The settings are those of the preset ``quick`` with fewer units and iterations. Finished runs are
kept in DIR/starts, as those of ``run_all.py`` are, so that a second call goes on from the first and
shows what earlier calls trained. A start counts as better than another on a task only if its worst
seed ends below the other's best: equal runs with other seeds end up to 5 times apart on copying.
Three seeds part from three by chance once in twenty, so a default is changed only if another start
is better on two tasks and worse on none.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from comparisons.cli.console import say
from comparisons.execution.executor import failure_by
from comparisons.experiments.usage import UsageError, positive
from comparisons.models import check_model, is_baseline
from comparisons.plan.fitting import fitted
from comparisons.plan.presets import QUICK
from comparisons.records import Result, Run
from comparisons.report import style
from comparisons.results.store import Store
from comparisons.training.trainer import DivergedError, train
from unitary_zoo import NotRepresentableError, Parametrization
from unitary_zoo.initializers import INITIALIZERS

TASKS = {
    "copying": (50, 1000),
    "adding": (50, 1000),
    "permuted_mnist": (64, 300),
    "contractive_system": (100, 1000),
    "unitary_system": (25, 1200),
}
"""Length and iterations of each task."""
DEFAULT_TASKS = ("copying", "adding", "permuted_mnist")
CHANGES: dict[str, dict[str, Any]] = {"adding": {"lr_decay": None, "decay_every": 1}}
"""Departures from the preset besides size, length and iterations."""
STATES = {"unitary_system": 16}
"""Sizes that a task prescribes, in real numbers: the network is the system itself."""
SCHEMES = (
    "cayley",
    "expm",
    "householder",
    "svd_projection",
    "torch_orthogonal",
    "scaled_cayley",
    "lie_exp",
    "dtriv",
    "full_capacity",
    "scaled_cayley_unitary",
    "qr",
    "polar_newton_schulz",
    "projunn_t",
    "projunn_d",
    "landing",
    "spectral_band",
    "nnrnn",
    "geotorch_so",
    "eigenphase",
    "butterfly",
    "eunn_fft",
    "kronecker",
    "eunn",
    "arjovsky",
)
"""The schemes in the order in which they are trained."""


@dataclass(frozen=True)
class Losses:
    """Losses on the test set after the last iteration, a number for each seed.

    Attributes:
        scheme: Name of the scheme.
        task: Name of the task.
        start: Name of the start.
        losses: By seed; None where the training diverged.
    """

    scheme: str
    task: str
    start: str
    losses: list[float | None]

    @property
    def least(self) -> float:
        """Loss of the best seed."""
        return min(_known(self.losses))

    @property
    def most(self) -> float:
        """Loss of the worst seed."""
        return max(_known(self.losses))


def _known(losses: Sequence[float | None]) -> list[float]:
    return [math.inf if loss is None else loss for loss in losses]


def starts_of(scheme: str, n: int, wanted: Sequence[str]) -> list[str]:
    """Return which of some starts a scheme takes at size n; its default is always among them.

    ``torus`` is left out for real schemes, for which it is ``henaff``.
    """
    subject = Parametrization.create(scheme, n)
    real = subject.field == "real"
    names = [name for name in wanted if not (real and name == "torus")]
    names += [] if subject.info.default_init in names else [subject.info.default_init]
    found = []
    for name in names:
        try:
            subject.reset_parameters(name)
        except (NotRepresentableError, ValueError):
            continue
        found.append(name)
    return found


def runs_of(
    scheme: str,
    tasks: Sequence[str],
    wanted: Sequence[str],
    seeds: Sequence[int],
    hidden_size: int,
    iterations: int,
) -> Iterator[Run]:
    """Yield the runs of a scheme, task by task and start by start, all seeds of a start at once."""
    for task in tasks:
        length, count = TASKS[task]
        count = min(count, iterations) if iterations else count
        setting = QUICK[task][1].changed(
            hidden_size=STATES.get(task, hidden_size),
            iterations=count,
            eval_every=count,
            **CHANGES.get(task, {}),
        )
        setting = fitted(setting, scheme)
        for start in starts_of(scheme, setting.model.hidden_size, wanted):
            for seed in seeds:
                yield Run(task, scheme, length, seed, setting.changed(init=start))


def trained(runs: Sequence[Run], folder: Path, minutes: float) -> dict[str, Result | None]:
    """Train the runs that the folder lacks; returns the results by id, None where one diverged.

    Args:
        runs: In the order in which they are trained.
        folder: Where the results are kept.
        minutes: No run starts later than this; 0 is no limit.
    """
    store, started = Store(folder), time.perf_counter()
    contents = store.load()
    ended: dict[str, Result | None] = {r.run.id: r for r in contents.results}
    ended |= {failure.run.id: None for failure in contents.failures}
    for i, run in enumerate(runs, start=1):
        if run.id in ended:
            continue
        if minutes and time.perf_counter() - started > 60 * minutes:
            say(f"time is over: {len(runs) - i + 1} of {len(runs)} runs were not started")
            break
        try:
            result = train(run)
        except DivergedError as error:
            store.save_failure(failure_by(error, run))
            ended[run.id] = None
            continue
        store.save(result)
        ended[run.id] = result
        say(f"{i}/{len(runs)} {run} {run.setting.model.init}: {result.final.test_loss:.4g}")
    return ended


def gathered(runs: Sequence[Run], ended: dict[str, Result | None]) -> list[Losses]:
    """Return the losses of each start of which every seed has ended."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        key = (run.model, run.task, run.setting.model.init or "")
        groups.setdefault(key, []).append(run)
    found = []
    for key, group in groups.items():
        if all(run.id in ended for run in group):
            results = [ended[run.id] for run in group]
            losses = [None if r is None else float(f"{r.final.test_loss:.4g}") for r in results]
            found.append(Losses(*key, losses))
    return found


def draw(rows: Sequence[Losses], caption: str) -> Figure:
    """Draw a panel for each task: the losses of every seed by scheme, a colour for each start."""
    tasks, schemes, starts = (
        list(dict.fromkeys(getattr(row, name) for row in rows))
        for name in ("task", "scheme", "start")
    )
    colors = {start: style.PALETTE[i % len(style.PALETTE)] for i, start in enumerate(starts)}
    with mpl.rc_context(style.RC):
        figure = Figure(figsize=(3.2 * max(len(tasks), 1), 1 + 0.3 * len(schemes)))
        figure.set_layout_engine("constrained")
        panels = figure.subplots(1, max(len(tasks), 1), sharey=True, squeeze=False)[0]
        for axes, task in zip(panels, tasks, strict=False):
            axes.set_title(task)
            axes.set_xscale("log")
            axes.set_xlabel("test loss")
            axes.set_yticks(range(len(schemes)), schemes)
            if axes is panels[0]:  # the others share its axis
                axes.invert_yaxis()
            for row in (row for row in rows if row.task == task):
                losses = [loss for loss in row.losses if loss is not None]
                shift = 0.12 * (starts.index(row.start) - (len(starts) - 1) / 2)
                y = [schemes.index(row.scheme) + shift] * len(losses)
                axes.plot(losses, y, "o", ms=3, color=colors[row.start], label=row.start)
        handles = {
            label: handle
            for axes in panels
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=8)
        figure.supxlabel(caption, fontsize=8)
        return figure


def verdicts(rows: Sequence[Losses]) -> list[dict[str, str]]:
    """Return the tasks on which each start is better, or worse, than the scheme's default one."""
    found = []
    for scheme in dict.fromkeys(row.scheme for row in rows):
        default = Parametrization.get(scheme).info.default_init
        own = [row for row in rows if row.scheme == scheme]
        by_default = {row.task: row for row in own if row.start == default}
        for start in dict.fromkeys(row.start for row in own if row.start != default):
            pairs = [(row, by_default[row.task]) for row in own
                     if row.start == start and row.task in by_default]  # fmt: skip
            better = [row.task for row, other in pairs if row.most < other.least]
            worse = [row.task for row, other in pairs if row.least > other.most]
            found.append(
                {
                    "scheme": scheme,
                    "default": default,
                    "start": start,
                    "better_on": ", ".join(better),
                    "worse_on": ", ".join(worse),
                }
            )
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this experiment."""
    parser.add_argument("--schemes", nargs="+", default=list(SCHEMES), metavar="NAME")
    parser.add_argument("--tasks", nargs="+", default=list(DEFAULT_TASKS), choices=TASKS)
    parser.add_argument(
        "--starts",
        nargs="+",
        default=list(INITIALIZERS.names()),
        choices=INITIALIZERS.names(),
        help="what is trained, beside each scheme's default",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--hidden-size", type=positive, default=64)
    parser.add_argument("--minutes", type=float, default=0, help="start no run later; 0: no limit")


def run(options: argparse.Namespace) -> tuple[dict[str, list[dict[str, Any]]], Figure]:
    """Train what is missing, gather the losses, and draw them.

    Raises:
        UsageError: A name is no scheme.
    """
    iterations = 0
    if options.tiny:
        options.schemes, options.tasks, options.seeds = ["cayley"], ["adding"], [0]
        options.hidden_size, iterations = 4, 2
    for name in options.schemes:
        try:
            wrong = is_baseline(check_model(name))
        except LookupError as error:
            raise UsageError(str(error)) from None
        if wrong:
            raise UsageError(f"--schemes {name}: a baseline has no starts; name a scheme")
    asked, all_runs = (
        [
            run
            for scheme in options.schemes
            for run in runs_of(
                scheme, options.tasks, starts, options.seeds, options.hidden_size, iterations
            )
        ]
        for starts in (options.starts, INITIALIZERS.names())
    )
    rows = gathered(all_runs, trained(asked, options.results / "starts", options.minutes))
    settings = [
        {"task": task, "length": TASKS[task][0], "iterations": iterations or TASKS[task][1],
         "state": STATES.get(task, options.hidden_size), "seeds": len(options.seeds)}
        for task in options.tasks
    ]  # fmt: skip
    caption = f"States of {options.hidden_size} real numbers; a dot for each seed."
    tables = {
        "settings": settings,
        "verdicts": verdicts(rows),
        "starts": [asdict(row) for row in rows],
    }
    return tables, draw(rows, caption)
