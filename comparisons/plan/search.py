"""A search for settings: trials chosen by Optuna, by their validation loss alone.

Each model gets the same number of trials on each task. A trial is a run with a seed of its own, so
neither the test sets nor the starts of the reported runs have a part in the choice.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from comparisons.papers import find_paper
from comparisons.plan.changes import changed, describe, value_in
from comparisons.plan.files import Entries, FileError
from comparisons.plan.spaces import own_start, space_from, space_of
from comparisons.records import Failure, Result, Run
from comparisons.studies import Dimension, Study, Trial, in_words
from comparisons.tasks import TASKS, Task
from unitary_zoo.registry import unknown_name

SAMPLERS = ("tpe", "random", "grid")
SEARCH_KEYS = ("trials", "sampler", "space")
"""Keys of a search in a grid file."""

FIRST_SEED = 1000
"""The seed of the trials, or the next one above that no reported run has."""
SAMPLER_SEED = 0


class SearchError(ValueError):
    """A search cannot be made; the message says what is missing."""


@dataclass(frozen=True)
class Search:
    """What is searched, and how.

    Attributes:
        trials: Number of trials for each model on each task.
        sampler: "tpe", "random" or "grid".
        space: The user's own space; None takes that of the paper, or this project's.
        paper: The paper whose grid is taken.
        swept: Names that a sweep sets, so that they are not searched.
    """

    trials: int
    sampler: str = "tpe"
    space: tuple[Dimension, ...] | None = None
    paper: str = ""
    swept: tuple[str, ...] = ()


def search_of(entries: Entries, swept: tuple[str, ...]) -> Search:
    """The search that a grid file describes; ``swept`` are the names in its sweep.

    Raises:
        FileError: A value is none that a search has.
        LookupError: A paper is unknown.
    """
    trials = entries.get("trials", int, "the number of trials for each model")
    if trials is None or trials < 1:
        raise FileError(f"{entries.place}: trials is {trials}; give the number for each model")
    sampler = entries.get("sampler", str, "a text", "tpe")
    if sampler not in SAMPLERS:
        raise FileError(f"{entries.place}: {unknown_name('sampler', sampler, SAMPLERS)}")
    space = entries.get("space", (str, dict), "a mapping, or the name of a paper")
    if isinstance(space, str):
        find_paper(space)
        return Search(trials, sampler, paper=space, swept=swept)
    own = None if space is None else space_from(f"{entries.place}: space", space)
    for dimension in own or ():
        if dimension.name in swept:
            raise FileError(
                f"{entries.place}: {dimension.name} is swept and searched; leave it out of one"
            )
    return Search(trials, sampler, own, swept=swept)


class Seeker:
    """The search for the setting of one run's model: asks for trials, and is told how they end.

    Args:
        run: A run whose setting is to be searched.
        search: How.
        seed: Seed of the trials.
        command: The command that asked for it.
    """

    def __init__(self, run: Run, search: Search, seed: int, command: str = "") -> None:
        self.run = run
        space, source = space_of(run, search.space, search.paper or run.paper, search.swept)
        self.study = Study(
            id=configuration(run),
            task=run.task,
            variant=run.variant,
            length=run.length,
            model=run.model,
            hidden_size=run.setting.model.hidden_size,
            space=space,
            space_source=source,
            sampler=search.sampler,
            budget=search.trials,
            seed=seed,
            command=command,
        )
        self._asked: list[tuple[Any, dict[str, Any], Run]] = []
        self._optuna = _optuna_study(self.study, run)

    def ask(self) -> list[Run]:
        """The runs of the next trials, which need no others to end first; none after the last."""
        assert not self._asked
        count = _count(self.study)
        done = len(self.study.trials)
        if self.study.sampler == "tpe":
            count = min(count, max(_startup(self.study), done + 1))
        self._asked = [self._trial() for _ in range(count - done)]
        return [run for _, _, run in self._asked]

    def _trial(self) -> tuple[Any, dict[str, Any], Run]:
        """Optuna's trial, its values and its run."""
        trial = self._optuna.ask({d.name: _distribution(d) for d in self.study.space})
        values = {d.name: _value(d, trial.params[d.name]) for d in self.study.space}
        setting = changed(self.run.setting, self.run.model, values)
        size = setting.evaluation.validation_size or setting.evaluation.test_size
        setting = setting.changed(
            validation_size=size, source=f"a trial of the search: {describe(values)}"
        )
        return trial, values, replace(self.run, seed=self.study.seed, setting=setting)

    def tell(self, ended: Mapping[str, Result | Failure]) -> None:
        """Take the ends, by id, of the runs that were asked for last."""
        for trial, values, run in self._asked:
            found, loss, error = ended[run.id], None, ""
            if isinstance(found, Failure):
                error = found.error
            elif found.stopped == "diverged":
                error = "the loss became infinite or undefined"
            else:
                loss = self._loss(found)
                error = "" if loss is not None else "it has no validation loss"
            # Infinity keeps the sampler away from where trials fail.
            self._optuna.tell(trial, math.inf if loss is None else loss)
            done = Trial(values, run.id, loss, error)
            self.study = replace(self.study, trials=(*self.study.trials, done))
        self._asked = []

    def _loss(self, result: Result) -> float | None:
        """The validation loss of the evaluation that the reported runs report; None without any.

        That is the least one if they choose it by a validation set, and otherwise the last one.
        """
        losses = [point.valid_loss for point in result.curve if point.valid_loss is not None]
        if not losses:
            return None
        evaluation = self.run.setting.evaluation
        given = _has_validation_set(TASKS.get(self.run.task))
        chosen = given or evaluation.validation_size or evaluation.report_best_test
        return min(losses) if chosen else losses[-1]


def seekers(runs: Sequence[Run], search: Search, command: str = "") -> list[Seeker]:
    """A seeker for each configuration that has something to search, in the order of the runs.

    Raises:
        SearchError: Optuna is not installed, a task can have no validation set, or no run has
            anything to search.
    """
    if importlib.util.find_spec("optuna") is None:
        raise SearchError("a search needs Optuna; pip install 'unitary_zoo[search]' installs it")
    for name in sorted({run.task for run in runs}):
        task = TASKS.get(name)
        if not _has_validation_set(task) and task.hold_out is Task.hold_out:
            raise SearchError(
                f"{name} has no validation set, by which a search chooses; give it valid_batches, "
                "or hold_out and held_out_batches, or leave it out by --tasks"
            )
    seeds = {run.seed for run in runs}
    seed = next(seed for seed in itertools.count(FIRST_SEED) if seed not in seeds)
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(configuration(run), run)
    found = [Seeker(run, search, seed, command) for run in first.values()]
    found = [seeker for seeker in found if seeker.study.space]
    if not found:
        raise SearchError("no model here has anything of what is searched; give another space")
    return found


def _has_validation_set(task: type[Task]) -> bool:
    """Whether the task brings one, so that none is held out of its training data."""
    return task.valid_batches is not Task.valid_batches


def settled(runs: Iterable[Run], studies: Iterable[Study]) -> list[Run]:
    """The runs with the best settings that the studies found."""
    by_id = {study.id: study for study in studies}
    return [_settled(run, by_id.get(configuration(run))) for run in runs]


def configuration(run: Run) -> str:
    """The id that the runs of one configuration share: that with seed 0."""
    return replace(run, seed=0).id


def _settled(run: Run, study: Study | None) -> Run:
    if study is None:
        return run
    space = ", ".join(f"{dimension.name} {dimension}" for dimension in study.space)
    tried = f"{len(study.trials)} trials ({study.sampler}, seed {study.seed}) over {space}"
    if study.best is None:
        source = f"{run.setting.source}; all of {tried} failed"
        return replace(run, setting=run.setting.changed(source=source))
    setting = changed(run.setting, run.model, study.best.values)
    source = (
        f"{run.setting.source}; {describe(study.best.values)}: the least validation loss "
        f"({in_words(study.best.loss)}) of {tried}"
    )
    return replace(run, setting=setting.changed(source=source))


# ------------------------------------------------------------------------------------------ Optuna


def _optuna_study(study: Study, run: Run) -> Any:
    """Optuna's study in memory, whose first trial is the setting as it is, if the space has it."""
    import optuna  # an optional dependency, and slow to import

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler: optuna.samplers.BaseSampler
    if study.sampler == "tpe":
        sampler = optuna.samplers.TPESampler(seed=SAMPLER_SEED, n_startup_trials=_startup(study))
    else:
        sampler = optuna.samplers.RandomSampler(seed=SAMPLER_SEED)
    found = optuna.create_study(sampler=sampler)
    start = {d.name: value_in(run.setting, d.name) for d in study.space}
    if start.get("init") is not None and start["init"] == own_start(run.model):
        start["init"] = None
    held = {d.name: start[d.name] for d in study.space if d.holds(start[d.name])}
    if study.sampler == "grid":
        points = list(itertools.product(*_axes(study)))
        random.Random(SAMPLER_SEED).shuffle(points)
        names = [d.name for d in study.space]
        grid = [dict(zip(names, point, strict=True)) for point in points]
        queued = sorted(grid, key=lambda values: values != held)[: study.budget]
    else:
        queued = [held] if held else []
    for values in queued:
        found.enqueue_trial({d.name: _code(d, values[d.name]) for d in study.space
                             if d.name in values})  # fmt: skip
    return found


def _axes(study: Study) -> list[tuple[Any, ...]]:
    """The values of each dimension in a grid, with so many points that the budget is used."""
    choices = math.prod(len(d.choices) for d in study.space if d.choices)
    ranges = sum(not d.choices for d in study.space)
    count = max(2, math.ceil((study.budget / choices) ** (1 / max(1, ranges)) - 1e-9))
    return [d.choices or _spread(d, count) for d in study.space]


def _spread(dimension: Dimension, count: int) -> tuple[float, ...]:
    """Points of a range from end to end."""
    assert dimension.bounds is not None
    low, high = dimension.bounds
    steps = [i / (count - 1) for i in range(count)]
    if not dimension.log:
        return tuple(low + step * (high - low) for step in steps)
    inner = (low * (high / low) ** step for step in steps[1:-1])
    return (low, *inner, high)


def _count(study: Study) -> int:
    """The number of trials: the budget, or all points of a grid that has fewer."""
    points = math.prod(map(len, _axes(study))) if study.sampler == "grid" else study.budget
    return min(study.budget, points)


def _startup(study: Study) -> int:
    """The number of trials that TPE draws at random, before it learns from them."""
    return min(10, max(3, study.budget // 3))


def _distribution(dimension: Dimension) -> Any:
    """Optuna's distribution; choices go by their place, since Optuna refuses tuples."""
    import optuna

    if dimension.bounds is not None:
        return optuna.distributions.FloatDistribution(*dimension.bounds, log=dimension.log)
    places = tuple(range(len(dimension.choices)))
    return optuna.distributions.CategoricalDistribution(places)


def _code(dimension: Dimension, value: Any) -> Any:
    return dimension.choices.index(value) if dimension.choices else value


def _value(dimension: Dimension, code: Any) -> Any:
    return dimension.choices[code] if dimension.choices else code
