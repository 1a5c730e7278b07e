"""Attachment: what the step hooks of an optimizer do to the schemes of a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unitary_zoo._torch import is_traced, step_hooks
from unitary_zoo.base import Parametrization, Rebased
from unitary_zoo.base.sharding import changed_whole, shard_again, whole, write_whole_
from unitary_zoo.errors import AttachError
from unitary_zoo.optim._moments import check_positions, transported_moments
from unitary_zoo.optim._nesting import RunningSteps


def schemes_of(model: nn.Module) -> Iterator[tuple[str, Parametrization]]:
    """Yield the schemes of ``model``, each once, with its name."""
    for name, module in model.named_modules():
        if isinstance(module, Parametrization):
            yield name, module


def parameters_of(optimizer: Optimizer) -> set[int]:
    """Return the identities of the parameters in the groups of ``optimizer``."""
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _can_move(p: nn.Parameter) -> bool:
    # An optimizer also steps on a gradient from before the parameter was frozen.
    return p.requires_grad or p.grad is not None


class Attachment:
    """The schemes of a model, which take one step around each step of an optimizer.

    The optimizer may be several: a wrapper and those inside it, whose steps run inside the
    wrapper's. Then the schemes step around the outermost.

    Args:
        model: The model.
        copied: Whether the attachment came with a copy of the optimizer.
    """

    def __init__(self, model: nn.Module, copied: bool = False) -> None:
        self.model, self.copied = model, copied
        self._running = RunningSteps()
        self._begun: dict[int, Parametrization] = {}
        self._stepped: list[Optimizer] = []
        self._left: dict[int, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the optimizer alone brings a copy of the schemes, and not of the whole model.
        return {"schemes": [scheme for _, scheme in schemes_of(self.model)]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Attachment.__init__(self, nn.ModuleList(state["schemes"]), copied=True)

    def serves(self, scheme: Parametrization) -> bool:
        """Whether ``scheme`` is one of the model's."""
        return any(scheme is own for _, own in schemes_of(self.model))

    def _moved_by(self, optimizer: Optimizer) -> Iterator[Parametrization]:
        # Computed at every step, to include parameter groups and modules added later.
        held = parameters_of(optimizer)
        for _, scheme in schemes_of(self.model):
            # Frozen schemes are left out, because each projection would move them by a rounding.
            if any(id(p) in held and _can_move(p) for p in scheme.learnable_parameters()):
                yield scheme

    def before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Prepare the schemes for a step; the hook that runs before it."""
        if _skips(optimizer):
            return
        if self._running.enter(_frame_of_step()):
            self._begun, self._stepped, self._left = {}, [], {}
            shard_again(self.model)
        moved = list(self._moved_by(optimizer))
        if not _has_closure(args, kwargs):  # a closure computes the gradients anew
            for scheme in moved:
                with changed_whole(scheme):
                    scheme.check_gradients()
        for scheme in moved:
            if id(scheme) not in self._begun:
                self._begun[id(scheme)] = scheme
                with changed_whole(scheme):
                    scheme.begin_step_()

    def after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Retract or rebase the schemes, if the step is the outermost; the hook that runs after."""
        if _skips(optimizer):
            return
        if all(optimizer is not other for other in self._stepped):
            self._stepped.append(optimizer)
        if not self._running.leave(_frame_of_step()):
            self._note_coordinates()
            return
        moved = {**self._begun, **{id(scheme): scheme for scheme in self._moved_by(optimizer)}}
        errors = []
        for scheme in moved.values():
            try:
                self._step(scheme, optimizer)
            except Exception as error:  # the other schemes have moved all the same
                errors.append(error)
        self._begun, self._stepped, self._left = {}, [], {}
        if errors:
            raise errors[0]

    def _step(self, scheme: Parametrization, outermost: Optimizer) -> None:
        with changed_whole(scheme) as stored:
            try:
                moments = list(self._moments(scheme, outermost, stored))
                scheme.step_()  # it may refuse what the optimizer has stored; the moments then stay
            except BaseException:
                scheme.cancel_step_()
                raise
        for moment, value in moments:
            write_whole_(moment, value)

    def _moments(
        self,
        scheme: Parametrization,
        outermost: Optimizer,
        stored: Callable[[nn.Parameter], nn.Parameter],
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the first moments that a step of the scheme changes, and their new values."""
        if not isinstance(scheme, Rebased) or scheme.rebase_every is None:
            return
        self._check_coordinates(scheme, outermost)
        states = [x.state.get(stored(scheme.theta), {}) for x in self._stepped]
        for state in {id(state): state for state in states}.values():
            check_positions(scheme, state)
            # Coordinates that are not finite have no transport; the step will refuse them.
            due = scheme.rebase_every != 1 and scheme.rebase_is_due()
            if due and bool(scheme.theta.isfinite().all()):
                yield from transported_moments(scheme, state)

    def _note_coordinates(self) -> None:
        """Note the coordinates after an inner step: an outer one may replace them by others."""
        self._left = {
            id(scheme): whole(scheme.theta.detach()).clone()
            for scheme in self._begun.values()
            if isinstance(scheme, Rebased) and scheme.rebase_every is not None
        }

    def _check_coordinates(self, scheme: Rebased, outermost: Optimizer) -> None:
        """Refuse a wrapper that mixes coordinates of before a rebase into those of now."""
        inner = [type(x).__name__ for x in self._stepped if x is not outermost]
        left = self._left.get(id(scheme))
        # With none, the step is that of a subclass, which may add to the step of its base class.
        if inner and left is not None and not torch.equal(scheme.theta, left):
            raise AttachError(
                f"{type(outermost).__name__} changes the coordinates of {scheme.info.name!r} after "
                f"the step of {inner[0]}. The copies of parameters that it keeps, such as slow "
                "weights, lose their meaning when the scheme rebases; pass rebase_every=None to "
                "the scheme, or take a static one such as expm"
            )


def _skips(optimizer: Optimizer) -> bool:
    """Whether a gradient scaler has told a fused optimizer to leave all parameters as they are."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def _has_closure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(callable(x) for x in (*args[1:], *kwargs.values()))  # args[0] is the optimizer


def _frame_of_step() -> FrameType | None:
    """Return the frame that runs the hook by which this function is called."""
    # A hook that kept its own frame in a variable would be a cycle, and keep the optimizer alive.
    frame = None if is_traced() else inspect.currentframe()
    for _ in range(2):
        frame = frame and frame.f_back
    return frame


def attachments_of(optimizer: Optimizer) -> list[Attachment]:
    """Return the attachments whose hooks ``optimizer`` runs."""
    owners = [attachment_of(hook) for hook in step_hooks(optimizer)]
    return list({id(owner): owner for owner in owners if owner is not None}.values())


def attachment_of(hook: object) -> Attachment | None:
    """Return the attachment of which ``hook`` is a method, if any."""
    owner = getattr(hook, "__self__", None)
    return owner if isinstance(owner, Attachment) else None


def retract_(model: nn.Module) -> None:
    """Return every scheme of ``model`` to its group after a change that was not an optimizer step.

    A moving average (``torch.optim.swa_utils.AveragedModel``), a perturbation or an assignment to
    parameters can leave the group. Static schemes stay on it for any parameters, and rebased ones
    correct their base when they are read; projected ones refuse to be read until this is called.

    Args:
        model: A module that is or contains :class:`Parametrization` modules.
    """
    for _, scheme in schemes_of(model):
        with changed_whole(scheme):
            scheme.retract_()
