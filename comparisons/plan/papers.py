"""Trainings of the papers, and settings borrowed from them for other models."""

from __future__ import annotations

from dataclasses import replace

from comparisons.papers import PAPERS, Paper, Training
from comparisons.plan.fitting import accepted_size, field_of, for_field, has_unitary_weight
from comparisons.records import Setting

NEIGHBOURS = {
    "real": ("expm", "scaled_cayley", "lie_exp", "svd_projection", "full_capacity"),
    "complex": ("arjovsky", "full_capacity", "expm", "lie_exp", "svd_projection"),
    "baseline": ("lstm", "gru", "rnn", "tanh_rnn", "full_capacity"),
}
"""Models by field, of which the first with settings on a task lends them to one without any."""


def trainings_of(paper: Paper, task: str, model: str) -> list[Training]:
    """The paper's trainings of the model on the task."""
    return [
        replace(training, models=(model,))
        for training in paper.trainings
        if training.task == task and model in training.models
    ]


def own_or_borrowed(task: str, model: str) -> list[Training]:
    """The papers' trainings of the model on the task or, without any, those of a neighbour."""
    own = _trainings(task, model)
    if own:
        return own
    for neighbour in NEIGHBOURS[field_of(model)]:
        found = [
            replace(
                training,
                models=(model,),
                setting=borrowed(training.setting, model, neighbour),
                seeds=(0,),
                paper="",
            )
            for training in _trainings(task, neighbour)
            if training.setting.model.layer == "rnn"
        ]
        if found:
            return found
    return []


def _trainings(task: str, model: str) -> list[Training]:
    return [t for paper in PAPERS.values() for t in trainings_of(paper, task, model)]


def borrowed(setting: Setting, model: str, neighbour: str) -> Setting:
    """The neighbour's setting for the model, without what only the neighbour uses."""
    own = for_field(setting.changed(options=()), model)
    size, alone = setting.model.hidden_size, own.model.only_recurrent_weight
    if setting.model.only_recurrent_weight and not alone:
        size *= 2  # as many real numbers as the neighbour's complex ones
    size = accepted_size(model, size)
    return own.changed(
        hidden_size=size,
        init=None,
        unitary_optimizer=setting.training.unitary_optimizer if has_unitary_weight(model) else None,
        only_recurrent_weight=alone and size == setting.model.hidden_size,
        penalty=None,
        source=f"no published setting of {model}; with its own start, that of {neighbour}: "
        f"{setting.source}",
    )


def describe_trainings(paper: str) -> str:
    """The tasks and models that a paper trained, as a phrase for an error message."""
    models: dict[str, list[str]] = {}
    for training in PAPERS[paper].trainings:
        models[training.task] = sorted({*models.get(training.task, ()), *training.models})
    if not models:
        return "its file holds published numbers alone, which the reports show; try another paper"
    return "it has " + "; ".join(f"{task} ({', '.join(models[task])})" for task in models)
