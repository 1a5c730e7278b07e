"""Build optimizers from their records; clip gradients and change learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import unitary_zoo
from comparisons.models.sequence_model import NORMALIZE, SequenceModel
from comparisons.records import Optimizer, Point, Setting, TrainingSettings
from unitary_zoo.base import LinearMap, Rebased
from unitary_zoo.linalg import skew_to_coordinates


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
"""Builders ``(parameter groups, record) -> optimizer``, by the kind that an `Optimizer` names."""


Average = Callable[[Tensor], Tensor]
"""The mean of a tensor over the processes that train a model together."""


class NormalizedGradient:
    """A hook before the steps of an optimizer that normalises G, the gradient in W.

    Each entry of G, real and imaginary parts apart, is divided by the root of its running mean
    square before the tangent A = G W^H - W G^H is formed: natGradRMS of Wisdom et al. (2016). The
    gradient in the coordinates is that of A and does not determine G, so a hook on W collects G.
    Between the backward pass and the step, the gradient may be scaled as a whole, but not changed
    otherwise.

    Args:
        scheme: A complex scheme that is rebased after every step.
        decay: Decay of the running mean square.
        eps: Number added to the root.
        average: Average of G over the processes that train the model: the gradient in the
            coordinates is averaged at the end of the backward pass, and a hook on W sees G before.
    """

    def __init__(
        self,
        scheme: Rebased,
        decay: float = 0.9,
        eps: float = 1e-8,
        average: Average = lambda g: g,
    ) -> None:
        self._scheme, self._decay, self._eps = scheme, decay, eps
        self._square_average = torch.zeros_like(torch.view_as_real(scheme.matrix().detach()))
        self._gradient: Tensor | None = None
        self._average = average
        self._prepare = scheme.prepare
        # W is made anew at every reading, so the hook on it has to be set where it is made: by a
        # method in the place of this one scheme's, which mypy does not allow.
        scheme.prepare = self._prepare_and_watch  # type: ignore[method-assign]

    def attach_to(self, optimizer: torch.optim.Optimizer) -> None:
        """Run before the optimizer's steps, and keep the running mean square in its state."""

        def save(_: torch.optim.Optimizer, state: dict[str, Any]) -> None:
            state[NORMALIZE] = self._square_average

        def load(_: torch.optim.Optimizer, state: dict[str, Any]) -> None:
            self._square_average.copy_(state[NORMALIZE])

        optimizer.register_step_pre_hook(self)
        optimizer.register_state_dict_post_hook(save)
        optimizer.register_load_state_dict_pre_hook(load)

    def _prepare_and_watch(self) -> LinearMap:
        linear_map = self._prepare()
        w = linear_map.matrix()
        if w.requires_grad:
            w.register_hook(self._add)
        return linear_map

    def _add(self, g: Tensor) -> None:
        self._gradient = g.detach() if self._gradient is None else self._gradient + g.detach()

    @torch.no_grad()
    def __call__(self, *_: Any) -> None:
        """Replace the gradient of the coordinates by that of the normalised G."""
        grad, g = self._scheme.theta.grad, self._gradient
        if grad is None or g is None:
            return
        g = self._average(g)
        w = self._prepare().matrix()
        raw = _coordinates(g, w)
        x = torch.view_as_real((g * ((grad @ raw) / (raw @ raw))).resolve_conj())
        self._square_average.lerp_(x.square(), 1 - self._decay)
        normalized = torch.view_as_complex(x / (self._square_average.sqrt() + self._eps))
        grad.copy_(_coordinates(normalized, w))
        self._gradient = None


def _coordinates(g: Tensor, w: Tensor) -> Tensor:
    """The coordinates of g W^H - W g^H: the gradient in those of A, given the gradient g in W."""
    return 2 * skew_to_coordinates(g @ w.mH)


def build_optimizers(
    model: SequenceModel, setting: Setting, average: Average = lambda g: g
) -> list[torch.optim.Optimizer]:
    """One optimizer for the free parameters and, in a scheme, one for the unitary weight.

    Args:
        model: The model.
        setting: How it is trained.
        average: Average over the processes, for what DistributedDataParallel does not average.

    Raises:
        ValueError: The option ``rms_normalize`` is set for something that it is not made for.
    """
    settings = setting.training
    unitary = settings.unitary_optimizer or settings.optimizer
    specs = (settings.optimizer, unitary)
    groups = unitary_zoo.parameter_groups(model, lr=specs[0].lr, unitary_lr=unitary.lr)
    # A baseline has one group only; the second specification then finds none.
    optimizers = [
        OPTIMIZERS[spec.kind]([group], spec) for spec, group in zip(specs, groups, strict=False)
    ]
    if dict(setting.model.options).get(NORMALIZE):
        _normalized_gradient(model, settings, average).attach_to(optimizers[-1])
    if any(model.schemes()):
        unitary_zoo.attach(model, *optimizers)
    return optimizers


def _normalized_gradient(
    model: SequenceModel, settings: TrainingSettings, average: Average
) -> NormalizedGradient:
    schemes = [scheme for scheme in model.schemes() if isinstance(scheme, Rebased)]
    fit = [scheme for scheme in schemes if scheme.field == "complex" and scheme.rebase_every == 1]
    if len(fit) != 1 or settings.clip is not None:
        raise ValueError(
            f"the option {NORMALIZE} needs one complex scheme that is rebased after every step and "
            "gradients that are not clipped entry by entry; change the setting or leave it out"
        )
    return NormalizedGradient(fit[0], average=average)


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
