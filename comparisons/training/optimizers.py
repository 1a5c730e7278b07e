"""Records to optimizers, and what changes gradients and learning rates during a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

import unitary_zoo
from comparisons.models import SequenceModel
from comparisons.records import Optimizer, Point, TrainingSettings


def _theano_rmsprop(groups: list[dict[str, Any]], spec: Optimizer) -> torch.optim.Optimizer:
    """RMSprop of Arjovsky's Theano code: accumulators start at 1e-3, and there is no epsilon."""
    # The tiny epsilon only keeps an entry whose gradient is always zero from becoming 0 / 0.
    optimizer = torch.optim.RMSprop(groups, lr=spec.lr, alpha=spec.alpha or 0.9, eps=1e-16)
    for group in optimizer.param_groups:
        for p in group["params"]:
            square_avg = torch.full_like(p, 1e-3)
            optimizer.state[p] = {"step": torch.tensor(0.0), "square_avg": square_avg}
    return optimizer


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], Optimizer], torch.optim.Optimizer]] = {
    "adam": lambda groups, spec: torch.optim.Adam(groups, lr=spec.lr),
    "rmsprop": lambda groups, spec: torch.optim.RMSprop(
        groups, lr=spec.lr, alpha=spec.alpha or 0.99
    ),
    "rmsprop_theano": _theano_rmsprop,
    "sgd": lambda groups, spec: torch.optim.SGD(groups, lr=spec.lr),
}
"""What an `Optimizer` record names: builders from parameter groups and the record."""


def build_optimizers(
    model: SequenceModel, settings: TrainingSettings
) -> list[torch.optim.Optimizer]:
    """One optimizer for the free parameters and, in a scheme, one for the unitary weight."""
    unitary = settings.unitary_optimizer or settings.optimizer
    specs = (settings.optimizer, unitary)
    groups = unitary_zoo.parameter_groups(model, lr=specs[0].lr, unitary_lr=unitary.lr)
    # A baseline has one group only; the second specification then finds none.
    optimizers = [
        OPTIMIZERS[spec.kind]([group], spec) for spec, group in zip(specs, groups, strict=False)
    ]
    if any(model.schemes()):
        unitary_zoo.attach(model, *optimizers)
    return optimizers


def clip_gradients(model: SequenceModel, settings: TrainingSettings) -> None:
    """Bound the entries of the gradient, then the norm of the whole, as the settings ask."""
    if settings.clip is not None:
        torch.nn.utils.clip_grad_value_(model.parameters(), settings.clip)
    if settings.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)


def decay_rates(
    optimizers: Sequence[torch.optim.Optimizer], settings: TrainingSettings, iteration: int
) -> None:
    """Multiply the learning rates by ``lr_decay`` every ``decay_every`` iterations."""
    if settings.lr_decay is not None and iteration % settings.decay_every == 0:
        _scale_rates(optimizers, settings.lr_decay)


def lower_rates_on_plateau(
    optimizers: Sequence[torch.optim.Optimizer],
    settings: TrainingSettings,
    past: Sequence[Point],
    point: Point,
) -> None:
    """Divide the learning rates where the settings ask for it and validation did not improve."""
    if settings.plateau_divisor is None or point.valid_loss is None:
        return
    if point.valid_loss >= min(before.valid_loss or math.inf for before in past):
        _scale_rates(optimizers, 1 / settings.plateau_divisor)


def _scale_rates(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] *= factor
