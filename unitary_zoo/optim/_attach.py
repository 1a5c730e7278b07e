"""attach: register the steps of a model's schemes with its optimizers, or refuse."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from unitary_zoo._torch import remove_step_hooks
from unitary_zoo.base import Parametrization, Rebased, Static
from unitary_zoo.errors import AttachError
from unitary_zoo.optim._copies import keep_in_copies
from unitary_zoo.optim._stepping import (
    Attachment,
    attachment_of,
    attachments_of,
    parameters_of,
    schemes_of,
)
from unitary_zoo.optim._wrappers import exchanges_parameters, hooked_optimizers


class AttachHandle:
    """What :func:`attach` returns; :meth:`remove` undoes the call."""

    def __init__(self, model: nn.Module, hooks: list[RemovableHandle]) -> None:
        self._model, self._hooks = model, hooks

    def remove(self) -> None:
        """Take the hooks off the optimizers; a second call does nothing."""
        for hook in self._hooks:
            hook.remove()
        if self._hooks:
            for _, scheme in schemes_of(self._model):
                scheme.expect_steps_(False)
                scheme.cancel_step_()  # a step that raised has never ended
        self._hooks = []


def attach(model: nn.Module, *optimizers: Optimizer) -> AttachHandle:
    """Retract or rebase schemes after each step of the optimizers that train them.

    The step hooks of the optimizers do it, so closures, ``GradScaler`` and parameter groups added
    later need nothing more. A scheme whose parameters are spread over several optimizers is
    retracted or rebased after the step of each.

    An optimizer is also found inside an object that wraps it, such as that of accelerate, and a
    scheme takes one step for each outermost step. Copies of an optimizer, by ``copy`` or
    ``pickle``, stay attached to the copies of the schemes.

    If a scheme rebases every K > 1 steps, a rebase changes the coordinates, and the scheme's
    ``transport`` moves the first moments of the optimizer (momentum, mean gradient) to the new
    ones; second moments stay. With K = 1 the coordinates are always 0 when a gradient is taken, and
    the moments stay, as in the plain multiplicative update.

    Parameters that ``torch.distributed.fsdp.fully_shard`` has spread over processes are gathered
    for these steps. Call ``fully_shard`` first, then create the optimizer, then attach.

    Args:
        model: A module that is or contains :class:`Parametrization` modules.
        optimizers: The optimizers that, together, hold the parameters of all of them, or objects
            that wrap such optimizers.

    Returns:
        A handle whose ``remove()`` undoes the call.

    Raises:
        AttachError: The model contains no scheme, a scheme has trainable parameters in none of the
            optimizers, or a scheme is attached to one of them already. An optimizer runs no step
            hooks. A projected or rebased scheme is trained by a schedule-free optimizer, which
            keeps copies of parameters that would not follow, or within the older
            ``FullyShardedDataParallel``.
        TypeError: An argument neither is a ``torch.optim.Optimizer`` nor wraps one.
    """
    if not optimizers:
        raise AttachError("no optimizer given; call attach(model, optimizer)")
    # The steps of a wrapper and of what is inside it are nested; those of two arguments are not.
    families = [hooked_optimizers(given) for given in optimizers]
    hooked = [optimizer for family in families for optimizer in family]
    if len(set(map(id, hooked))) < len(hooked):
        raise AttachError("an optimizer is given twice; name each once")
    schemes = dict(schemes_of(model))
    if not schemes:
        raise AttachError(
            f"{type(model).__name__} contains no Parametrization, so there is nothing to retract; "
            "attach the model that holds the unitary layers"
        )
    for name, scheme in schemes.items():
        where = f"{scheme.info.name!r} at {name or 'the model itself'!r}"
        _check_unattached(scheme, where, hooked)
        _check_held(scheme, where, hooked, len(optimizers))
        if _changes_in_steps(scheme):
            _check_copies(scheme, where, optimizers)
            _check_unflattened(model, where)

    hooks: list[RemovableHandle] = []
    for family in families:
        attachment = Attachment(model)
        for optimizer in family:
            _remove_copied(optimizer, schemes.values())
            keep_in_copies(optimizer)
            hooks += [
                optimizer.register_step_pre_hook(attachment.before_step),
                optimizer.register_step_post_hook(attachment.after_step),
            ]
    for name, scheme in schemes.items():
        scheme.expect_steps_(True, name)
    return AttachHandle(model, hooks)


def _check_unattached(scheme: Parametrization, where: str, optimizers: list[Optimizer]) -> None:
    for optimizer in optimizers:
        # What came with a copy of the optimizer has no handle, and gives way.
        if any(x.serves(scheme) and not x.copied for x in attachments_of(optimizer)):
            raise AttachError(
                f"{where} is attached to this {type(optimizer).__name__} already; call remove() "
                "on that handle first"
            )


def _remove_copied(optimizer: Optimizer, schemes: Iterable[Parametrization]) -> None:
    """Remove from ``optimizer`` the attachments of these schemes that came with a copy of it."""
    given = list(schemes)

    def condition(hook: object) -> bool:
        attachment = attachment_of(hook)
        return attachment is not None and any(map(attachment.serves, given))

    remove_step_hooks(optimizer, condition)


def _check_held(
    scheme: Parametrization, where: str, optimizers: list[Optimizer], given: int
) -> None:
    held = set().union(*map(parameters_of, optimizers))
    trainable = [p for p in scheme.learnable_parameters() if p.requires_grad]
    missing = [p for p in trainable if id(p) not in held]
    if missing:
        raise AttachError(
            f"{len(missing)} of {len(trainable)} parameters of {where} are in none of the {given} "
            "optimizers given; add them to one, pass the optimizer that holds them as well, or "
            "freeze them with requires_grad_(False)"
        )


def _changes_in_steps(scheme: Parametrization) -> bool:
    """Whether a step of the scheme gives its parameters another meaning or other values."""
    if isinstance(scheme, Rebased):
        return scheme.rebase_every is not None
    return not isinstance(scheme, Static)


def _check_copies(scheme: Parametrization, where: str, optimizers: Iterable[Any]) -> None:
    for optimizer in optimizers:
        if exchanges_parameters(optimizer):
            raise AttachError(
                f"{where} is {scheme.info.family}, but {type(optimizer).__name__} exchanges the "
                "parameters by averages in train() and eval(), and these averages do not follow "
                "the steps of the scheme; take a static scheme such as expm, or "
                "dtriv with rebase_every=None"
            )


def _check_unflattened(model: nn.Module, where: str) -> None:
    # Importing it takes long; before someone has, no module is one.
    fsdp = sys.modules.get("torch.distributed.fsdp")
    if fsdp and any(isinstance(m, fsdp.FullyShardedDataParallel) for m in model.modules()):
        raise AttachError(
            f"{where} has to see its own parameters after a step, which FullyShardedDataParallel "
            "flattens; use torch.distributed.fsdp.fully_shard, or leave the scheme out of it by "
            "ignored_modules"
        )
