"""Sizes at which models are compared: of equal state, of equal parameters, or of equal units."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from comparisons.models import SequenceModel
from comparisons.plan.fitting import accepted_size, units_of_state, with_change
from comparisons.records import ModelSettings, Optimizer, Setting, TrainingSettings
from comparisons.tasks import TASKS, Task

Matching = Callable[[Setting, str, int, Task], Setting]


def equal_state(setting: Setting, model: str, size: int, task: Task) -> Setting:
    """The setting with a state of ``size`` real numbers, as the presets have it."""
    return with_change(setting, hidden_size=units_of_state(setting, model, size))


def equal_units(setting: Setting, model: str, size: int, task: Task) -> Setting:
    """The setting with ``size`` units, or the next number of units that the scheme accepts."""
    return with_change(setting, hidden_size=accepted_size(model, size))


def equal_parameters(setting: Setting, model: str, size: int, task: Task) -> Setting:
    """The setting whose whole model has the number of trainable parameters nearest to ``size``.

    The setting's ``source`` says how near that is: some schemes have few sizes.

    Raises:
        ValueError: The smallest model has twice as many, or more.
    """

    def count(n: int) -> int:
        return parameters(setting.changed(hidden_size=n), model, task)

    low = high = accepted_size(model, 1)
    while count(high) < size:
        low, high = high, accepted_size(model, 2 * high)
    while (middle := accepted_size(model, (low + high) // 2)) not in (low, high):
        low, high = (middle, high) if count(middle) < size else (low, middle)
    for n in range(low + 1, high):  # sizes with gaps: no other one may follow the middle of two
        if accepted_size(model, n) == n:
            if count(n) >= size:
                high = n
                break
            low = n
    n = min((low, high), key=lambda n: abs(count(n) - size))
    reached = count(n)
    if reached >= 2 * size:
        raise ValueError(
            f"{model} on {task.name} has {reached:,} parameters at n = {n}, its smallest size, and "
            f"{size:,} are asked for; ask for more"
        )
    setting = with_change(setting, hidden_size=n)
    off = 100 * (reached - size) / size
    deviation = "as asked for" if reached == size else f"{off:+.1f} % off the {size:,} asked for"
    return setting.changed(source=f"{setting.source}; {reached:,} parameters, {deviation}")


def parameters(setting: Setting, model: str, task: Task) -> int:
    """The trainable parameters of the whole model on the task."""
    return _parameters(model, setting.model, task.name, task.length, task.variant)


@functools.cache  # configurations that differ in their training alone have the same
def _parameters(model: str, settings: ModelSettings, task: str, length: int, variant: str) -> int:
    any_training = TrainingSettings(batch_size=1, iterations=1, optimizer=Optimizer("sgd", 0.0))
    with torch.random.fork_rng(devices=[]):
        built = SequenceModel(
            model, Setting(settings, any_training), TASKS.get(task)(length, variant)
        )
    return sum(p.numel() for p in built.parameters() if p.requires_grad)


MATCHING: dict[str, Matching] = {
    "state": equal_state,
    "parameters": equal_parameters,
    "units": equal_units,
}
"""What models of one size have in common, by the names that a grid file gives."""
