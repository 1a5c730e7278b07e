"""Detect tracing (compile, export, make_fx), transforms of torch.func and dispatch modes."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd import forward_ad
from torch.jit._trace import TracerWarning
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
