"""From the flags of a command to the list of its runs: presets are expanded here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from comparisons.models import check_model, is_baseline, model_names
from comparisons.papers import PAPERS, Training, find_paper
from comparisons.records import Optimizer, Run, Setting
from comparisons.tasks import TASKS
from unitary_zoo import Parametrization, nonlinearities


class Choice(NamedTuple):
    """One length and one variant of a task, the setting to train with there, and how often.

    Without a variant it is the task's default: that of real data, where they are given.
    """

    length: int
    setting: Setting
    variant: str = ""
    seeds: tuple[int, ...] = (0,)


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
    variants: Sequence[str] | None = None,
    real_data: bool = False,
    seeds: Sequence[int] | None = None,
    device: str = "cpu",
    iterations: int | None = None,
    hidden_size: int | None = None,
    paper: str | None = None,
) -> list[Run]:
    """Every run of a command, each once.

    Args:
        preset: A key of :data:`PRESETS`.
        tasks: Names of tasks; None is all.
        models: Names of schemes and baselines; None is all.
        lengths: Instead of the preset's; a length it does not know takes the nearest's setting.
        variants: Of the tasks, instead of the preset's.
        real_data: Whether a folder of real data is there; else the embedded data are the default.
        seeds: One run for each; None is what the preset has.
        device: Where to train.
        iterations: Instead of the preset's.
        hidden_size: The preset's settings of that size, or, without any, all of them at that size;
            a scheme takes the next size that it accepts.
        paper: A key of :data:`PAPERS`: exactly what it trained, in place of a preset.

    Raises:
        GridError: An unknown task, variant, model or paper, a length too short for a task, or
            nothing to run.
    """
    runs = []
    try:
        choose = PRESETS[preset].choices if paper is None else _only(paper)
        for task in map(TASKS.get, tasks or TASKS.names()):
            for model in map(check_model, models or model_names()):
                choices = choose(task.name, model)
                if hidden_size is not None:
                    choices = _of_size(_accepted(model, hidden_size), choices)
                for choice in choices if lengths is None else _at(lengths, choices):
                    setting = choice.setting
                    if iterations is not None:
                        setting = _changed(setting, iterations=iterations)
                    usual = choice.variant or (task.real if real_data else "")
                    for variant in map(task.check_variant, variants or [usual]):
                        length = choice.length
                        if lengths is None:  # a preset's choice holds for variants of any length
                            length = task.fixed_lengths.get(variant, length)
                        task.check_length(length, variant)
                        runs += [
                            Run(task.name, model, length, seed, setting, device, variant)
                            for seed in (choice.seeds if seeds is None else seeds)
                        ]
    except (LookupError, ValueError) as error:
        raise GridError(str(error)) from None
    if not runs and paper is not None:
        raise GridError(f"{paper} trained nothing of that; {_trained(paper)}")
    if not runs:
        raise GridError(f"preset {preset!r} has no settings for these tasks; try another preset")
    return list({run.id: run for run in runs}.values())


def _at(lengths: Sequence[int], choices: list[Choice]) -> list[Choice]:
    """The choices at other lengths: those made for a length, or else for the nearest one."""
    chosen = []
    for length in lengths if choices else ():
        nearest = min(choices, key=lambda choice: abs(math.log(choice.length / length))).length
        for choice in (choice for choice in choices if choice.length == nearest):
            setting = choice.setting
            if nearest != length:
                source = f"{setting.source} (settings made for T = {nearest})"
                setting = replace(setting, source=source)
            chosen.append(choice._replace(length=length, setting=setting))
    return chosen


def _of_size(n: int, choices: list[Choice]) -> list[Choice]:
    """The choices of that size or, without any, all of them changed to it."""
    found = [choice for choice in choices if choice.setting.hidden_size == n]
    return found or [
        choice._replace(setting=_changed(choice.setting, hidden_size=n)) for choice in choices
    ]


def _changed(setting: Setting, **change: Any) -> Setting:
    """The setting with another number, and a source that says so."""
    ((name, value),) = change.items()
    old, words = getattr(setting, name), name.replace("_", " ")
    if old == value:
        return setting
    return replace(
        setting, source=f"{setting.source}; {words} {value:,} instead of {old:,}", **change
    )


def _field(model: str) -> str:
    return "baseline" if is_baseline(model) else Parametrization.get(model).info.field


def _accepted(model: str, n: int) -> int:
    """The smallest size from ``n`` up at which the model exists (some need a power of two)."""
    if is_baseline(model):
        return n
    accepts = Parametrization.get(model).info.accepts
    return next(size for size in range(n, 2 * n + 1) if accepts(size))


SMOKE_LENGTHS = {"char_lm": 35, "permuted_mnist": 64, "pixel_mnist": 64, "word_lm": 35}
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
    return [Choice(SMOKE_LENGTHS.get(task, 10), _fitted(SMOKE, model, state=16))]


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
QUICK_IMAGES = replace(
    QUICK_COPYING,
    batch_size=32,
    iterations=300,
    optimizer=Optimizer("rmsprop", lr=3e-3, alpha=0.9),
    eval_every=100,
)
QUICK_SYSTEM = Setting(
    hidden_size=16,
    batch_size=20,
    iterations=1000,
    optimizer=Optimizer("adam", lr=3e-3),
    nonlinearity="relu",
    bias=True,
    test_size=300,
    eval_every=250,
    source="this project's: every model has a state of 16 real numbers, twice the least with which "
    "a unitary ReLU network can be the system (Emami et al.); learning rates as on copying",
)
QUICK_TEXT = replace(
    QUICK_COPYING,
    iterations=300,
    optimizer=Optimizer("rmsprop", lr=1e-2, alpha=0.9),
    init_range=0.1,
    eval_every=100,
)
QUICK_IDENTIFICATION = Setting(
    hidden_size=16,
    batch_size=20,
    iterations=1200,
    optimizer=Optimizer("adam", lr=2e-2),
    test_size=200,
    eval_every=200,
    decay=0.3,
    decay_every=900,
    identify=True,
    source="this project's: schemes that fill U(n) learn W alone, by one learning rate, in 8 "
    "complex units; all others have a state of 16 real numbers and learn all of their parameters, "
    "at the rates of copying",
)
PROJECTED_IDENTIFICATION = Optimizer("sgd", lr=0.15)
"""For W where it is projected and learned alone.

A unitary W keeps the length of a state that it gets wrong, so the gradient's part along W H, H
Hermitian, is about ten times that along the group at T = 25. The projection takes that part back;
but Adam scales each entry by both, and the scaled part is no longer what the projection takes.
"""
QUICK_INTEGERS = replace(QUICK_IMAGES, batch_size=64)
QUICK = {
    "contractive_system": (100, QUICK_SYSTEM),
    "copying": (100, QUICK_COPYING),
    "adding": (
        50,
        replace(QUICK_COPYING, iterations=1500, optimizer=Optimizer("rmsprop", lr=3e-3, alpha=0.9)),
    ),
    "first_term": (20, QUICK_INTEGERS),
    "kth_highest": (20, replace(QUICK_INTEGERS, iterations=400)),
    "permuted_mnist": (64, QUICK_IMAGES),
    "pixel_mnist": (64, QUICK_IMAGES),
    "char_lm": (50, QUICK_TEXT),
    "word_lm": (35, replace(QUICK_TEXT, iterations=200)),
    "unitary_system": (25, QUICK_IDENTIFICATION),
}


def _quick(task: str, model: str) -> list[Choice]:
    if task not in QUICK:
        return []
    length, setting = QUICK[task]
    return [Choice(length, _fitted(setting, model, state=setting.hidden_size))]


def _fitted(setting: Setting, model: str, state: int) -> Setting:
    """The setting for a model whose state is ``state`` real numbers."""
    setting = _of_field(setting, model)
    if is_baseline(model):
        # An LSTM's state is h and c.
        return replace(setting, hidden_size=state // 2 if model == "lstm" else state, clip=1.0)
    info = Parametrization.get(model).info
    field = dict(setting.options).get("field", info.field)
    n = _accepted(model, state // 2 if field == "complex" else state)
    dimension = info.claims[field].dimension(n)
    # A smaller family may hold no W near the system's, and W alone cannot predict 0: it keeps
    # lengths, so that what is carried wrongly costs twice the power. A free read-out can.
    setting = replace(setting, identify=setting.identify and dimension >= n * n)
    few = dimension <= 8 * n
    lr = setting.optimizer.lr
    if not (few or setting.identify):  # where W alone is learned, there is no other rate
        lr /= 10
    unitary = replace(setting.optimizer, lr=lr)
    # What is unitary only in the limit is not projected: its step follows a field of its own.
    if setting.identify and info.family == "projected" and info.exact:
        unitary = PROJECTED_IDENTIFICATION
    return replace(setting, hidden_size=n, unitary_optimizer=unitary)


def _of_field(setting: Setting, model: str) -> Setting:
    """The setting with what it asks of complex models left out for real ones, and vice versa.

    Where W alone is to be learned, a model that serves complex numbers does so, and the others are
    trained as a whole. modReLU stands in for a nonlinearity that complex states do not have.
    """
    fields = () if is_baseline(model) else Parametrization.get(model).info.fields
    field = _field(model)
    if setting.identify and "complex" in fields and field == "real":
        field = "complex"
        setting = replace(setting, options=(*setting.options, ("field", field)))
    if field != "complex":
        return replace(setting, identify=False)
    if not nonlinearities.get(setting.nonlinearity).complex:
        return replace(setting, nonlinearity="modrelu")
    return setting


def _paper(task: str, model: str) -> list[Choice]:
    """Every published setting for the model on the task, or else its neighbour's."""
    own = _published(task, model)
    if own:
        return own
    for neighbour in NEIGHBOURS[_field(model)]:
        borrowed = [
            choice for choice in _published(task, neighbour) if choice.setting.layer == "rnn"
        ]
        if borrowed:
            return [
                choice._replace(setting=_borrow(choice.setting, model, neighbour), seeds=(0,))
                for choice in borrowed
            ]
    return []


NEIGHBOURS = {
    "real": ("expm", "scaled_cayley", "lie_exp", "svd_projection", "full_capacity"),
    "complex": ("arjovsky", "full_capacity", "expm", "lie_exp", "svd_projection"),
    "baseline": ("lstm", "gru", "rnn", "tanh_rnn", "full_capacity"),
}
"""Whose settings a model without published ones takes: the first that has some on the task."""


def _published(task: str, model: str) -> list[Choice]:
    return [
        choice for paper in PAPERS.values() for choice in _choices(paper.trainings, task, model)
    ]


def _choices(trainings: Sequence[Training], task: str, model: str) -> list[Choice]:
    return [
        Choice(length, training.setting, variant, training.seeds)
        for training in trainings
        if training.task == task and model in training.models
        for length in training.lengths
        for variant in training.variants
    ]


def _only(paper: str) -> Callable[[str, str], list[Choice]]:
    """The choices of one paper, and nothing borrowed."""
    trainings = find_paper(paper).trainings
    return lambda task, model: _choices(trainings, task, model)


def _trained(paper: str) -> str:
    """What there is to run, for a message."""
    models: dict[str, list[str]] = {}
    for training in find_paper(paper).trainings:
        models[training.task] = sorted({*models.get(training.task, ()), *training.models})
    if not models:
        return "its file holds published numbers alone, which the reports show; try another paper"
    return "it has " + "; ".join(f"{task} ({', '.join(models[task])})" for task in models)


def _borrow(setting: Setting, model: str, neighbour: str) -> Setting:
    own = _of_field(replace(setting, options=()), model)  # the options are the neighbour's
    size = setting.hidden_size
    if setting.identify and not own.identify:
        size *= 2  # as many real numbers as the neighbour's complex ones
    size = _accepted(model, size)
    return replace(
        own,
        hidden_size=size,
        init=None,
        unitary_optimizer=None if is_baseline(model) else setting.unitary_optimizer,
        identify=own.identify and size == setting.hidden_size,
        penalty=None,
        source=f"no published setting of {model}; with its own start, that of {neighbour}: "
        f"{setting.source}",
    )


PRESETS = {
    "smoke": Preset("every model for a few iterations; under a minute; no result", _smoke),
    "quick": Preset("the difference in under ten minutes on two cores", _quick),
    "paper": Preset("the papers' own sizes, lengths and optimizers; days on a CPU", _paper),
}
USUAL = "quick"
"""The preset of a command that names none."""
