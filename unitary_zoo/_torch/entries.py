"""Read the entries of a tensor, also under ``torch.func.vmap``."""

from __future__ import annotations

from torch import Tensor
from torch._C import _functorch


def to_lists(x: Tensor) -> list[list[float]]:
    """The entries of ``x`` as one list for each index of its first dimension.

    Under ``torch.func.vmap`` each list has the entries of all members of the batch.
    """
    while _functorch.is_functorch_wrapped_tensor(x):
        batched = _functorch.is_batchedtensor(x)
        dim = _functorch.maybe_get_bdim(x) if batched else -1
        x = _functorch.get_unwrapped(x)
        x = x.movedim(dim, -1) if batched else x
    return x.reshape(len(x), -1).tolist()


def max_entry(x: Tensor) -> float:
    """The largest entry of ``x``; under ``torch.func.vmap``, of all members of the batch."""
    return max(to_lists(x.amax().reshape(1, 1))[0])
