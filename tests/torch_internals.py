"""The private names of torch that the tests need, in one place."""

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["TorchDispatchMode", "forward_pre_hooks", "gradient_of_zeros", "tree_leaves", "writes"]


def writes(x: Tensor) -> int:
    """How often ``x`` was written in place."""
    return x._version


def gradient_of_zeros(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """A gradient of zeros that autograd has not written out."""
    return torch._efficientzerotensor(shape, dtype=dtype)


def forward_pre_hooks(module: nn.Module) -> int:
    """How many hooks run before the module's forward pass."""
    return len(module._forward_pre_hooks)
