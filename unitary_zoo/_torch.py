"""What may be watching an operation: tracers, and the transforms of torch.func."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd import forward_ad


def is_traced() -> bool:
    """Whether operations are being recorded, to be replayed on other numbers."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is not None  # make_fx
    )


def is_transformed() -> bool:
    """Whether torch.func or forward-mode differentiation is at work."""
    return bool(torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """No casts to a lower precision on ``device``, where there could be any."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def numbers(x: Tensor) -> list[list[float]]:
    """The entries of ``x``, one list for each index of the first dimension.

    Under ``torch.func.vmap`` they are those of all members of the batch.
    """
    while _functorch.is_functorch_wrapped_tensor(x):
        batched = _functorch.is_batchedtensor(x)
        of = _functorch.maybe_get_bdim(x) if batched else -1
        x = _functorch.get_unwrapped(x)
        x = x.movedim(of, -1) if batched else x
    return x.detach().reshape(len(x), -1).tolist()


def largest(x: Tensor) -> float:
    """The largest entry of ``x``, of all members of the batch under ``torch.func.vmap``."""
    return max(max(row) for row in numbers(x.reshape(1, -1)))
