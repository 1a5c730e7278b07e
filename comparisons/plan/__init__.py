"""Plan a comparison: turn flags, presets and papers into a list of runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from comparisons.models import check_model, model_names
from comparisons.papers import Training, find_paper
from comparisons.plan.costs import cheapest_first
from comparisons.plan.fitting import accepted_size, fitted, with_change
from comparisons.plan.grid import Grid
from comparisons.plan.papers import describe_trainings, trainings_of
from comparisons.plan.presets import DEFAULT_PRESET, PRESETS, Preset
from comparisons.records import Run
from comparisons.tasks import TASKS, Task

__all__ = ["DEFAULT_PRESET", "PRESETS", "PlanError", "Preset", "fitted", "plan"]


class PlanError(ValueError):
    """The flags ask for something that does not exist; the message is one line with the remedy."""


def plan(
    preset: str = DEFAULT_PRESET,
    tasks: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    *,
    paper: str | None = None,
    grid: Grid | None = None,
    lengths: Sequence[int] | None = None,
    variants: Sequence[str] | None = None,
    real_data: bool = False,
    seeds: Sequence[int] | None = None,
    device: str = "cpu",
    iterations: int | None = None,
    hidden_size: int | None = None,
) -> list[Run]:
    """The runs of a command, each once, seed by seed: an interrupted command leaves whole seeds.

    Within a seed cheaper tasks come first, so that the first figures are soon complete.

    Args:
        preset: A name in :data:`PRESETS`.
        tasks: Names of tasks; None is all.
        models: Names of schemes and baselines; None is all.
        paper: Name of a paper: exactly what it trained, in place of a preset.
        grid: A grid file, in place of both; the other arguments change what it asks for.
        lengths: Lengths instead of the preset's; one that the preset lacks takes the settings of
            the nearest.
        variants: Variants of the tasks instead of the preset's.
        real_data: Whether a folder of real data is given; else the embedded data are the default.
        seeds: Seeds, a run for each; None takes the preset's.
        device: Where to train.
        iterations: Number of iterations instead of the preset's.
        hidden_size: The preset's settings of that size, or, without any, all of them at that size;
            a scheme takes the next size that it accepts.

    Raises:
        PlanError: A task, variant, model, preset or paper is unknown, a length is too short for a
            task, or there is nothing to run.
    """
    runs: list[Run] = []
    if grid is not None:
        tasks, models = tasks or grid.tasks, models or grid.models
        lengths, variants = lengths or grid.lengths, variants or grid.variants
        seeds = grid.seeds if seeds is None else seeds
    try:
        find: Callable[[str, str], list[Training]]
        if grid is not None:
            find = grid.trainings
        elif paper is not None:
            find = partial(trainings_of, find_paper(paper))
        else:
            find = PRESETS.get(preset).trainings
        for task in map(TASKS.get, tasks or TASKS.names()):
            for model in map(check_model, models or model_names()):
                trainings = find(task.name, model)
                if hidden_size is not None:
                    trainings = with_size(accepted_size(model, hidden_size), trainings)
                if lengths is not None:
                    trainings = with_lengths(lengths, trainings)
                for training in trainings:
                    if seeds is not None:
                        training = replace(training, seeds=tuple(seeds))
                    if iterations is not None:
                        setting = with_change(training.setting, iterations=iterations)
                        training = replace(training, setting=setting)
                    # The default variant is that of real data, where they are given.
                    usual = [v or (task.real if real_data else "") for v in training.variants]
                    chosen = tuple(map(task.check_variant, variants or usual))
                    training = replace(training, variants=chosen)
                    runs += _runs(training, task, device, lengths_given=lengths is not None)
    except (LookupError, ValueError) as error:
        raise PlanError(str(error)) from None
    if not runs and grid is not None:
        raise PlanError(f"{grid.path} asks for nothing that its base has; change tasks or models")
    if not runs and paper is not None:
        raise PlanError(f"{paper} trained nothing of that; {describe_trainings(paper)}")
    if not runs:
        raise PlanError(f"preset {preset!r} has no settings for these tasks; try another preset")
    return cheapest_first(list({run.id: run for run in runs}.values()))


def with_size(n: int, trainings: list[Training]) -> list[Training]:
    """The trainings of that size or, without any, all of them changed to it."""
    found = [t for t in trainings if t.setting.model.hidden_size == n]
    return found or [replace(t, setting=with_change(t.setting, hidden_size=n)) for t in trainings]


def with_lengths(lengths: Sequence[int], trainings: list[Training]) -> list[Training]:
    """The trainings at these lengths, each with the settings for it or for the nearest length."""
    known = [length for training in trainings for length in training.lengths]
    found = []
    for length in lengths if known else ():
        nearest = min(known, key=lambda other: abs(math.log(other / length)))
        for training in (t for t in trainings if nearest in t.lengths):
            setting = training.setting
            if nearest != length:
                source = f"{setting.source} (settings made for T = {nearest})"
                setting = setting.changed(source=source)
            found.append(replace(training, lengths=(length,), setting=setting))
    return found


def _runs(training: Training, task: type[Task], device: str, lengths_given: bool) -> Iterator[Run]:
    """The runs of a training of one model, each checked."""
    (model,) = training.models
    for length in training.lengths:
        for variant in training.variants:
            # Data may fix the length. It replaces the preset's, but not one that was asked for.
            steps = length if lengths_given else task.fixed_lengths.get(variant, length)
            task.check_length(steps, variant)
            for seed in training.seeds:
                yield Run(
                    task.name, model, steps, seed, training.setting, device, variant, training.paper
                )
