"""attach, retract_ and parameter_groups: the only code that retracts or rebases schemes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from unitary_zoo.base import Parametrization, Rebased
from unitary_zoo.errors import AttachError


class AttachHandle:
    """What :func:`attach` returns; :meth:`remove` undoes the call."""

    def __init__(
        self,
        hooks: list[RemovableHandle],
        model: nn.Module,
        optimizers: tuple[Optimizer, ...],
    ) -> None:
        self._hooks, self._model, self._optimizers = hooks, model, optimizers

    def remove(self) -> None:
        """Take the hooks off the optimizers; a second call does nothing."""
        for hook in self._hooks:
            hook.remove()
        if self._hooks:
            for optimizer in self._optimizers:
                _attached[optimizer].discard(self._model)
            for _, scheme in _schemes(self._model):
                scheme.cancel_step_()  # a step that raised has never ended
        self._hooks = []


# The models attached to each optimizer, so that no scheme takes a step twice.
_attached: WeakKeyDictionary[Optimizer, WeakSet[nn.Module]] = WeakKeyDictionary()


def _schemes(model: nn.Module) -> Iterator[tuple[str, Parametrization]]:
    for name, module in model.named_modules():
        if isinstance(module, Parametrization):
            yield name, module


def _held(optimizer: Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _can_move(p: nn.Parameter) -> bool:
    # An optimizer also steps on a gradient from before the parameter was frozen.
    return p.requires_grad or p.grad is not None


# Averages of past gradients or steps in the states of optimizers. Second moments stay as they are,
# because they scale each coordinate by itself, which cannot be transported. The mean gradient of
# the centered RMSprop stays too, because its square is subtracted from a second moment.
_FIRST_MOMENTS = ("exp_avg", "momentum_buffer", "prev")


def _transport_moments(scheme: Rebased, optimizer: Optimizer) -> None:
    """Transport the first moments of the coordinates of a scheme that is about to rebase."""
    state = optimizer.state.get(scheme.theta, {})
    for name in _FIRST_MOMENTS:
        moment = state.get(name)
        if isinstance(moment, Tensor) and moment.shape == scheme.theta.shape:
            moment.copy_(scheme.transport(moment))


def attach(model: nn.Module, *optimizers: Optimizer) -> AttachHandle:
    """Retract or rebase schemes after each step of the optimizers that train them.

    The step hooks of the optimizers do it, so closures, ``GradScaler`` and parameter groups added
    later need nothing more. A scheme whose parameters are spread over several optimizers is
    retracted or rebased after the step of each.

    If a scheme rebases every K > 1 steps, a rebase changes the coordinates, and the scheme's
    ``transport`` moves the first moments of the optimizer (momentum, mean gradient) to the new
    ones; second moments stay. With K = 1 the coordinates are always 0 when a gradient is taken, and
    the moments stay, as in the plain multiplicative update.

    Args:
        model: A module that is or contains :class:`Parametrization` modules.
        optimizers: The optimizers that, together, hold the parameters of all of them.

    Returns:
        A handle whose ``remove()`` undoes the call.

    Raises:
        AttachError: The model contains no scheme, a scheme has trainable parameters in none of the
            optimizers, or a scheme is attached to one of them already.
        TypeError: An argument is not a ``torch.optim.Optimizer``.
    """
    for optimizer in optimizers:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{optimizer!r} is not a torch.optim.Optimizer")
    if len(set(map(id, optimizers))) < len(optimizers):
        raise AttachError("an optimizer is given twice; name each once")
    if not optimizers:
        raise AttachError("no optimizer given; call attach(model, optimizer)")
    schemes = dict(_schemes(model))
    if not schemes:
        raise AttachError(
            f"{type(model).__name__} contains no Parametrization, so there is nothing to retract; "
            "attach the model that holds the unitary layers"
        )
    held = set().union(*map(_held, optimizers))
    for name, scheme in schemes.items():
        for optimizer in optimizers:
            if any(scheme in model.modules() for model in _attached.get(optimizer, ())):
                raise AttachError(
                    f"{scheme.info.name!r} at {name or 'the model itself'!r} is attached to this "
                    f"{type(optimizer).__name__} already; call remove() on that handle first"
                )
        trainable = [p for p in scheme.parameters() if p.requires_grad]
        missing = [p for p in trainable if id(p) not in held]
        if missing:
            raise AttachError(
                f"{len(missing)} of {len(trainable)} parameters of {scheme.info.name!r} at "
                f"{name or 'the model itself'!r} are in none of the {len(optimizers)} optimizers "
                "given; add them to one, pass the optimizer that holds them as well, or freeze "
                "them with requires_grad_(False)"
            )

    def served(optimizer: Optimizer) -> Iterator[Parametrization]:
        # Computed at every step, to include parameter groups and modules added later.
        ids = _held(optimizer)
        for _, scheme in _schemes(model):
            # Frozen schemes are left out, because each projection would move them by a rounding.
            if any(id(p) in ids and _can_move(p) for p in scheme.parameters()):
                yield scheme

    def before(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for scheme in served(optimizer):
            scheme.begin_step_()

    def after(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for scheme in served(optimizer):
            if isinstance(scheme, Rebased) and scheme.rebase_every != 1 and scheme.rebase_is_due():
                _transport_moments(scheme, optimizer)
            scheme.step_()

    hooks: list[RemovableHandle] = []
    for optimizer in optimizers:
        hooks += [
            optimizer.register_step_pre_hook(before),
            optimizer.register_step_post_hook(after),
        ]
        _attached.setdefault(optimizer, WeakSet()).add(model)
    return AttachHandle(hooks, model, optimizers)


def retract_(model: nn.Module) -> None:
    """Return every scheme of ``model`` to its group after a change that was not an optimizer step.

    A moving average (``torch.optim.swa_utils.AveragedModel``), a perturbation or an assignment to
    parameters can leave the group. Static schemes stay on it for any parameters, and rebased ones
    correct their base when they are read; projected ones refuse to be read until this is called.

    Args:
        model: A module that is or contains :class:`Parametrization` modules.
    """
    for _, scheme in _schemes(model):
        scheme.retract_()


def parameter_groups(
    model: nn.Module, lr: float, unitary_lr: float | None = None, **options: Any
) -> list[dict[str, Any]]:
    """Parameter groups for any ``torch.optim`` optimizer: free parameters, and those of schemes.

    The group of the schemes has no weight decay, which would pull W towards an arbitrary matrix.

    Args:
        model: The model.
        lr: Learning rate of the free parameters.
        unitary_lr: Learning rate of the parameters of schemes; None means ``lr``. Most papers use
            ``lr / 10``.
        options: More options of both groups, such as ``momentum``; a ``weight_decay`` applies to
            the free parameters only.

    Returns:
        One or two groups; an empty one is left out.
    """
    constrained = {id(p): p for _, scheme in _schemes(model) for p in scheme.parameters()}
    free = [p for p in model.parameters() if id(p) not in constrained]
    unitary = {
        **options,
        "params": list(constrained.values()),
        "lr": lr if unitary_lr is None else unitary_lr,
        "weight_decay": 0.0,
    }
    groups = [{"params": free, "lr": lr, **options}, unitary]
    return [group for group in groups if group["params"]]
