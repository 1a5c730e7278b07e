"""From the flags of a command to the list of its runs: presets are expanded here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from comparisons.models import check_model, is_baseline, model_names
from comparisons.papers import PAPERS
from comparisons.records import Optimizer, Run, Setting
from comparisons.tasks import TASKS
from unitary_zoo import Parametrization

Choice = tuple[int, Setting]
"""One length, and the setting to train with there."""


@dataclass(frozen=True)
class Preset:
    """A named way to settle everything that a command leaves open.

    Attributes:
        title: One line for ``--list``.
        choices: (task, model) to the lengths and settings to run.
    """

    title: str
    choices: Callable[[str, str], list[Choice]]


class GridError(ValueError):
    """The flags ask for what there is not; the message is one line and names the nearest."""


def expand(
    preset: str,
    tasks: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    *,
    lengths: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    device: str = "cpu",
    iterations: int | None = None,
) -> list[Run]:
    """Every run of a command, each once.

    Args:
        preset: A key of :data:`PRESETS`.
        tasks: Names of tasks; None is all.
        models: Names of schemes and baselines; None is all.
        lengths: Instead of the preset's; a length it does not know takes the nearest's setting.
        seeds: One run for each.
        device: Where to train.
        iterations: Instead of the preset's.

    Raises:
        GridError: An unknown task or model, a length too short for a task, or nothing to run.
    """
    runs = []
    try:
        for task in tasks or TASKS.names():
            for length in lengths or ():
                TASKS.get(task)(length)  # refuses a length that makes no sense
            for model in map(check_model, models or model_names()):
                choices = PRESETS[preset].choices(TASKS.get(task).name, model)
                for length, setting in choices if lengths is None else _at(lengths, choices):
                    if iterations is not None:
                        setting = replace(setting, iterations=iterations)
                    runs += [Run(task, model, length, seed, setting, device) for seed in seeds]
    except (LookupError, ValueError) as error:
        raise GridError(str(error)) from None
    if not runs:
        raise GridError(f"preset {preset!r} has no settings for these tasks; try another preset")
    return list({run.id: run for run in runs}.values())


def _at(lengths: Sequence[int], choices: list[Choice]) -> list[Choice]:
    """The choices at other lengths: those made for a length, or else the nearest one."""
    chosen = []
    for length in lengths if choices else ():
        exact = [choice for choice in choices if choice[0] == length]
        if not exact:
            nearest, setting = min(choices, key=lambda choice: abs(math.log(choice[0] / length)))
            source = f"{setting.source} (settings made for T = {nearest})"
            exact = [(length, replace(setting, source=source))]
        chosen += exact
    return chosen


def _field(model: str) -> str:
    return "baseline" if is_baseline(model) else Parametrization.get(model).info.field


def _accepted(model: str, n: int) -> int:
    """The smallest size from ``n`` up at which the model exists (some need a power of two)."""
    if is_baseline(model):
        return n
    accepts = Parametrization.get(model).info.accepts
    return next(size for size in range(n, 2 * n + 1) if accepts(size))


SMOKE_LENGTH = 10
SMOKE = Setting(
    hidden_size=16,
    batch_size=8,
    iterations=30,
    optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
    test_size=32,
    eval_every=10,
    source="this project's: just enough to see that everything runs",
)


def _smoke(task: str, model: str) -> list[Choice]:
    return [(SMOKE_LENGTH, _fitted(SMOKE, model, state=16))]


QUICK_COPYING = Setting(
    hidden_size=128,
    batch_size=20,
    iterations=1000,
    optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
    test_size=500,
    eval_every=50,
    source="this project's: every model has a state of 128 real numbers and the same free "
    "parameters' learning rate; that of the unitary weight is a tenth of it (as in expRNN), or the "
    "same where the scheme has O(n) parameters (as in Arjovsky et al.)",
)
QUICK = {
    "copying": (100, QUICK_COPYING),
    "adding": (
        50,
        replace(QUICK_COPYING, iterations=1500, optimizer=Optimizer("rmsprop", lr=3e-3, alpha=0.9)),
    ),
}


def _quick(task: str, model: str) -> list[Choice]:
    if task not in QUICK:
        return []
    length, setting = QUICK[task]
    return [(length, _fitted(setting, model, state=128))]


def _fitted(setting: Setting, model: str, state: int) -> Setting:
    """The setting for a model whose state is ``state`` real numbers."""
    if is_baseline(model):
        # An LSTM's state is h and c.
        return replace(setting, hidden_size=state // 2 if model == "lstm" else state, clip=1.0)
    info = Parametrization.get(model).info
    n = _accepted(model, state // 2 if info.field == "complex" else state)
    few = info.dimension(n) <= 8 * n
    lr = setting.optimizer.lr if few else setting.optimizer.lr / 10
    return replace(setting, hidden_size=n, unitary_optimizer=replace(setting.optimizer, lr=lr))


def _paper(task: str, model: str) -> list[Choice]:
    """Every published setting for the model on the task, or else its neighbour's."""
    own = _published(task, model)
    if own:
        return own
    for neighbour in NEIGHBOURS[_field(model)]:
        borrowed = _published(task, neighbour)
        if borrowed:
            return [(length, _borrow(setting, model, neighbour)) for length, setting in borrowed]
    return []


NEIGHBOURS = {
    "real": ("expm", "cayley"),
    "complex": ("arjovsky", "full_capacity"),
    "baseline": ("lstm",),
}
"""Whose settings a model without published ones takes: the first that has some on the task."""


def _published(task: str, model: str) -> list[Choice]:
    return [
        (length, training.setting)
        for paper in PAPERS.values()
        for training in paper.trainings
        if training.task == task and model in training.models
        for length in training.lengths
    ]


def _borrow(setting: Setting, model: str, neighbour: str) -> Setting:
    return replace(
        setting,
        hidden_size=_accepted(model, setting.hidden_size),
        init=None,
        source=f"no published setting of {model}; with its own start, that of {neighbour}: "
        f"{setting.source}",
    )


PRESETS = {
    "smoke": Preset("every model for a few iterations; under a minute; no result", _smoke),
    "quick": Preset("the difference in under ten minutes on two cores", _quick),
    "paper": Preset("the papers' own sizes, lengths and optimizers; days on a CPU", _paper),
}
