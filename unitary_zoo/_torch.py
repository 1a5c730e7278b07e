"""Detect tracing (compile, export, make_fx) and torch.func or forward-mode transforms.

This is the only file of the library that uses private names of torch.
"""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch.autograd import forward_ad
from torch.jit._trace import TracerWarning
from torch.nn.utils import parametrize
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode

# torch.jit.trace warns wherever Python looks at the shape of a tensor. The library does so to check
# arguments and to choose an algorithm, so torch's own code has a filter of this kind, too.
warnings.filterwarnings("ignore", category=TracerWarning, module=r"unitary_zoo\.")


def is_traced() -> bool:
    """Whether torch.compile, torch.export, torch.jit.trace or make_fx records the operations."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is not None  # make_fx
    )


def has_values(x: Tensor) -> bool:
    """Whether the entries of ``x`` may be read: it is not on the meta device, and not traced."""
    return not (is_traced() or x.is_meta)


def has_functional_transforms() -> bool:
    """Whether a transform of torch.func (vmap, grad, jvp, ...) is active."""
    return bool(torch._C._are_functorch_transforms_active())


def is_transformed() -> bool:
    """Whether a transform of torch.func or a level of forward-mode differentiation is active."""
    return has_functional_transforms() or in_forward_mode()


def in_forward_mode() -> bool:
    """Whether a level of forward-mode differentiation is active."""
    return bool(forward_ad._current_level >= 0)


def is_watched() -> bool:
    """Whether a dispatch mode sees the operators that are called: a FLOP counter, a logger."""
    return bool(torch._C._len_torch_dispatch_stack() > 0)


def is_batched(grad: Tensor) -> bool:
    """Whether a gradient may stand for several: inside ``torch.vmap``, or of batched gradients.

    ``torch.autograd.grad(is_grads_batched=True)`` has a kind of batched tensors of its own.
    """
    return _functorch.is_legacy_batchedtensor(grad) or has_functional_transforms()


def has_tangent(x: Tensor) -> bool:
    """Whether forward-mode differentiation carries a tangent along with ``x``."""
    return forward_ad.unpack_dual(x).tangent is not None


def is_nested_forward_mode() -> bool:
    """Whether one torch.func.jvp (or jacfwd) is active inside another."""
    stack = _functorch.get_interpreter_stack() or []
    return sum(level.key() == _functorch.TransformType.Jvp for level in stack) > 1


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which autocast is off on ``device``, if that device has autocast."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def to_lists(x: Tensor) -> list[list[float]]:
    """The entries of ``x`` as one list for each index of its first dimension.

    Under ``torch.func.vmap`` each list has the entries of all members of the batch.
    """
    while _functorch.is_functorch_wrapped_tensor(x):
        batched = _functorch.is_batchedtensor(x)
        dim = _functorch.maybe_get_bdim(x) if batched else -1
        x = _functorch.get_unwrapped(x)
        x = x.movedim(dim, -1) if batched else x
    return x.detach().reshape(len(x), -1).tolist()


def max_entry(x: Tensor) -> float:
    """The largest entry of ``x``; under ``torch.func.vmap``, of all members of the batch."""
    return max(max(row) for row in to_lists(x.reshape(1, -1)))


def traceable_check(name: str, schema: str, check: Callable[..., None]) -> Callable[..., Tensor]:
    """Return a function ``f(x, *arguments)`` that calls ``check(*arguments)`` and returns ``x``.

    Traced code calls the check again whenever it runs, as the custom operator
    ``unitary_zoo::name``. Nothing is checked on the meta device. Gradients pass through to ``x``.

    Args:
        name: Name of the operator.
        schema: Its signature, such as ``"(Tensor x, Tensor distance, float limit) -> Tensor"``.
        check: Raises an error if the arguments are bad.
    """

    def operate(x: Tensor, *arguments: Any) -> Tensor:
        check(*arguments)
        return x.clone()

    operator = torch.library.custom_op(
        f"unitary_zoo::{name}", operate, mutates_args=(), schema=schema
    )
    others = (None,) * schema.count(",")
    operator.register_fake(lambda x, *arguments: torch.empty_like(x))
    operator.register_autograd(lambda ctx, grad: (grad, *others))

    def checked(x: Tensor, *arguments: Any) -> Tensor:
        if x.is_meta:
            return x
        if is_traced():
            return operator(x, *arguments)
        check(*arguments)
        return x

    return checked


# -------------------------------------------------------------------------------------- optimizers


def runs_step_hooks(optimizer: object) -> bool:
    """Whether ``optimizer`` is one of torch whose ``step`` runs its step hooks.

    The constructor of ``torch.optim.Optimizer`` sees to it; some wrappers do not call it.
    """
    if not isinstance(optimizer, Optimizer) or not hasattr(optimizer, "_optimizer_step_pre_hooks"):
        return False
    return getattr(type(optimizer).step, "hooked", False)


def step_hooks(optimizer: Optimizer) -> list[Callable[..., object]]:
    """The hooks that run before and after a step of ``optimizer``."""
    before, after = optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks
    return [*before.values(), *after.values()]


def remove_step_hooks(optimizer: Optimizer, condition: Callable[[object], bool]) -> None:
    """Take the step hooks for which ``condition`` holds off ``optimizer``."""
    for hooks in (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks):
        for key in [key for key, hook in hooks.items() if condition(hook)]:
            del hooks[key]


def reduced_with_hooks(optimizer: Optimizer, condition: Callable[[object], bool]) -> Any:
    """What ``optimizer.__reduce_ex__(2)`` returns, with the step hooks for which a condition holds.

    torch drops all hooks of an optimizer when it is copied or pickled.
    """
    made = optimizer.__reduce_ex__(2)
    if not (isinstance(made, tuple) and len(made) > 2 and isinstance(made[2], dict)):
        return made  # a class with a state of its own kind
    state = dict(made[2])
    for name in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
        kept = filter(condition, getattr(optimizer, name, {}).values())
        # Keys of another type than torch's, so that no later hook takes the place of one.
        state[name] = OrderedDict((f"kept {i}", hook) for i, hook in enumerate(kept))
    return (*made[:2], state, *made[3:])


# ------------------------------------------------------------------------------- base and weights


Convert = Callable[[Tensor], Tensor]
"""What ``to()``, ``half()`` and the like do to one tensor."""


class CustomConversion(nn.Module, ABC):
    """A module that decides how ``to()``, ``half()`` and the like convert its tensors."""

    @abstractmethod
    def _convert(self, convert: Convert, convert_tensors: Callable[[Convert], None]) -> None:
        """Convert the module.

        Args:
            convert: What was asked for.
            convert_tensors: Takes a conversion and applies it to all parameters and buffers.
        """

    def _apply(self, fn: Convert, recurse: bool = True) -> Any:
        apply = super()._apply
        self._convert(fn, lambda convert: apply(convert, recurse))
        return self


class LoadingHook(nn.Module, ABC):
    """A module that refuses what ``load_state_dict`` is to read, or repairs what it has read."""

    @abstractmethod
    def _before_loading(
        self, state: MutableMapping[str, Any], prefix: str, errors: list[str]
    ) -> None:
        """Refuse the state before anything is read, or replace its entries.

        Args:
            state: What is to be loaded; this module's entries are those with ``prefix``.
            prefix: The module's place in the state.
            errors: Messages that ``load_state_dict`` will raise; append one to refuse.
        """

    @abstractmethod
    def _after_loading(self, state: Mapping[str, Any], prefix: str, errors: list[str]) -> None:
        """Repair or refuse what ``load_state_dict`` has read.

        Args:
            state: What was loaded; this module's entries are those with ``prefix``.
            prefix: The module's place in the state.
            errors: Messages that ``load_state_dict`` will raise; append one to refuse.
        """

    def _load_from_state_dict(
        self, state_dict: MutableMapping[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        errors = args[-1]
        known = len(errors)
        self._before_loading(state_dict, prefix, errors)
        if len(errors) == known:
            super()._load_from_state_dict(state_dict, prefix, *args, **options)
            self._after_loading(state_dict, prefix, errors)


class LoadingPreparation(nn.Module, ABC):
    """A module that may rewrite a state before ``load_state_dict`` reads it."""

    @abstractmethod
    def _before_loading(self, state: dict[str, Any], prefix: str, errors: list[str]) -> None:
        """Rewrite the ``state`` that this module and then its children load.

        Args:
            state: What is loaded; this module's entries are those with ``prefix``.
            prefix: The module's place in the state.
            errors: Messages that ``load_state_dict`` will raise; append one to refuse.
        """

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        self._before_loading(state_dict, prefix, args[-1])
        super()._load_from_state_dict(state_dict, prefix, *args, **options)


# ---------------------------------------------------------------------------------------- weights


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """The parameters registered on ``module`` itself, by name; the dictionary is the module's."""
    return module._parameters


def own_tensors(module: nn.Module) -> dict[str, Tensor | None]:
    """The parameters and buffers registered on ``module`` itself, by name."""
    return {**module._buffers, **module._parameters}


def parametrizations_are_cached() -> bool:
    """Whether a ``torch.nn.utils.parametrize.cached()`` block is active."""
    return bool(parametrize._cache_enabled)


class WriteCounter:
    """The number of writes to a tensor; it outlives the tensor and holds none of its memory.

    Writes through ``.data`` are not counted, because torch does not count them.
    """

    def __init__(self, x: Tensor) -> None:
        # An alias shares the version counter of ``x``, and keeps it when it gets other data.
        self._alias = x.detach()
        self._alias.data = x.new_empty(0)
        self._start = x._version

    def count(self) -> int:
        """The number of writes since the construction."""
        return self._alias._version - self._start


def is_swapped_in() -> bool:
    """Whether ``torch.func.functional_call`` is the caller that sets a tensor of a module."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == _SWAPPING:
            return True
        frame = frame.f_back
    return False


_SWAPPING = "torch.nn.utils._named_member_accessor"  # the module in which functional_call does so


def before_loading(
    base: type[nn.Module], prepare: Callable[[nn.Module, dict[str, Any], str, list[str]], None]
) -> dict[str, Any]:
    """Members of a subclass of ``base`` that calls ``prepare`` before it loads its own tensors.

    Args:
        base: The class whose loading is extended.
        prepare: Takes the module, the ``state_dict`` to load, which it may change, the prefix of
            the module's keys, and the list that takes messages about errors.
    """

    def _load_from_state_dict(
        self: nn.Module,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        prepare(self, state_dict, prefix, errors)
        base._load_from_state_dict(
            self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors
        )

    return {"_load_from_state_dict": _load_from_state_dict}


def rnn_members(base: Any) -> dict[str, Any]:
    """Members of a subclass of the recurrent layer ``base`` whose weights may be computed.

    A recurrent layer keeps a list of its weights for the forward pass. The subclass fills the list
    with the weights as they are now, each computed once, and fills it again after unpickling.
    """

    def _update_flat_weights(self: Any) -> None:
        self._flat_weights = [getattr(self, name) for name in self._flat_weights_names]

    def __setstate__(self: Any, state: dict[str, Any]) -> None:
        base.__setstate__(self, state)
        self._init_flat_weights()

    return {"_update_flat_weights": _update_flat_weights, "__setstate__": __setstate__}


def without_computed_weights(
    rnn: nn.RNNBase, state: dict[str, Any], computed: Collection[str]
) -> dict[str, Any]:
    """The ``state`` of a recurrent layer whose list of weights has None for the computed ones."""
    weights = [
        None if name in computed else weight
        for name, weight in zip(rnn._flat_weights_names, rnn._flat_weights, strict=True)
    ]
    return {**state, "_flat_weights": weights}


def reset_compiler() -> None:
    """Forget what ``torch.compile`` compiled; it compiles only a few modules of one class."""
    torch._dynamo.reset()


# ------------------------------------------------------------------------------------------- scan

_aten = torch.ops.aten


def in_memory(x: Tensor) -> Tensor:
    """Return ``x``, or a copy if it is a gradient of zeros that autograd has not written out."""
    return x.clone() if torch._is_zerotensor(x) else x


def relu_gradient(grad: Tensor, h: Tensor, out: Tensor) -> Tensor:
    """Write the gradient of z, from that of h = relu(z), into ``out``."""
    return _aten.threshold_backward.grad_input(grad, h, 0, grad_input=out)


def leaky_relu_gradient(grad: Tensor, h: Tensor, slope: float, out: Tensor) -> Tensor:
    """Write the gradient of z, from that of h = leaky_relu(z), into ``out``."""
    return _aten.leaky_relu_backward.grad_input(grad, h, slope, True, grad_input=out)


def tanh_gradient(grad: Tensor, h: Tensor, out: Tensor) -> Tensor:
    """Write the gradient of z, from that of h = tanh(z), into ``out``."""
    return _aten.tanh_backward.grad_input(grad, h, grad_input=out)


def sigmoid_gradient(grad: Tensor, h: Tensor, out: Tensor) -> Tensor:
    """Write the gradient of z, from that of h = sigmoid(z), into ``out``."""
    return _aten.sigmoid_backward.grad_input(grad, h, grad_input=out)


# ------------------------------------------------------------------------------------ comparisons

COMPILER = "torch._dynamo"
"""The name of a module that every optimizer imports, and that is slow to import."""


def onednn_product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T`` by oneDNN, in float32 on a CPU.

    The compiler calls this operation. The public way to oneDNN's product warns of being deprecated.
    """
    out: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    return out
