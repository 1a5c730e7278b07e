"""What may be watching an operation: tracers and transforms that compiled code would escape."""

from __future__ import annotations

import torch
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
