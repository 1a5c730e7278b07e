"""From the flags of a command to the list of its runs: presets and papers are expanded here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from comparisons.models import check_model, is_baseline, model_names
from comparisons.papers import PAPERS, Training, find_paper
from comparisons.plan.presets import Choice, accepted_size, field_of, of_field, quick, smoke
from comparisons.records import Run, Setting
from comparisons.tasks import TASKS


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
    """Every run of a command, each once, seed by seed: cut short, it leaves whole repetitions.

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
                    choices = _of_size(accepted_size(model, hidden_size), choices)
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
                            Run(
                                task.name,
                                model,
                                length,
                                seed,
                                setting,
                                device,
                                variant,
                                choice.paper,
                            )
                            for seed in (choice.seeds if seeds is None else seeds)
                        ]
    except (LookupError, ValueError) as error:
        raise GridError(str(error)) from None
    if not runs and paper is not None:
        raise GridError(f"{paper} trained nothing of that; {_trained(paper)}")
    if not runs:
        raise GridError(f"preset {preset!r} has no settings for these tasks; try another preset")
    return sorted({run.id: run for run in runs}.values(), key=lambda run: run.seed)


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


def _paper(task: str, model: str) -> list[Choice]:
    """Every published setting for the model on the task, or else its neighbour's."""
    own = _published(task, model)
    if own:
        return own
    for neighbour in NEIGHBOURS[field_of(model)]:
        borrowed = [
            choice for choice in _published(task, neighbour) if choice.setting.layer == "rnn"
        ]
        if borrowed:
            return [
                choice._replace(
                    setting=_borrow(choice.setting, model, neighbour), seeds=(0,), paper=""
                )
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
        choice
        for name, paper in PAPERS.items()
        for choice in _choices(name, paper.trainings, task, model)
    ]


def _choices(paper: str, trainings: Sequence[Training], task: str, model: str) -> list[Choice]:
    return [
        Choice(length, training.setting, variant, training.seeds, paper)
        for training in trainings
        if training.task == task and model in training.models
        for length in training.lengths
        for variant in training.variants
    ]


def _only(paper: str) -> Callable[[str, str], list[Choice]]:
    """The choices of one paper, and nothing borrowed."""
    trainings = find_paper(paper).trainings
    return lambda task, model: _choices(paper, trainings, task, model)


def _trained(paper: str) -> str:
    """What there is to run, for a message."""
    models: dict[str, list[str]] = {}
    for training in find_paper(paper).trainings:
        models[training.task] = sorted({*models.get(training.task, ()), *training.models})
    if not models:
        return "its file holds published numbers alone, which the reports show; try another paper"
    return "it has " + "; ".join(f"{task} ({', '.join(models[task])})" for task in models)


def _borrow(setting: Setting, model: str, neighbour: str) -> Setting:
    own = of_field(replace(setting, options=()), model)  # the options are the neighbour's
    size = setting.hidden_size
    if setting.identify and not own.identify:
        size *= 2  # as many real numbers as the neighbour's complex ones
    size = accepted_size(model, size)
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
    "smoke": Preset("every model for a few iterations, within 90 seconds; no result", smoke),
    "quick": Preset("the difference in under fifteen minutes on two cores", quick),
    "paper": Preset("the papers' own sizes, lengths and optimizers; days on a CPU", _paper),
}
USUAL = "quick"
"""The preset of a command that names none."""
