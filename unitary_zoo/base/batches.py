"""The matrices of several schemes, computed as one batch where their class can."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unitary_zoo._torch import without_autocast
from unitary_zoo.base.core import SchemeCore
from unitary_zoo.base.sharding import has_sharded_parameters

# Above it the products take nearly all of the time, and a batch leaves the caches of a core.
_LARGEST = 192


def matrices(schemes: Sequence[SchemeCore]) -> Tensor:
    """Return W of each scheme, in float32 or better; to rounding, what each by itself gives.

    Small matrices cost calls of PyTorch, and a batch needs as many as one matrix. Schemes whose
    class has no ``_batched``, or that differ in more than the values of their tensors, are read one
    after the other.

    Args:
        schemes: Schemes of one size.

    Returns:
        Shape (N, n, n).
    """
    first = schemes[0]
    if len(schemes) < 2 or any(_kind(scheme) != _kind(first) for scheme in schemes):
        return torch.stack([scheme.prepare().matrix() for scheme in schemes])
    for scheme in schemes:
        scheme._check_read()
    with without_autocast(first.device):
        tensors = ([getattr(scheme, name) for scheme in schemes] for name in first._batched)
        return first._matrix_of(*(first._promoted(torch.stack(each)) for each in tensors))


def _kind(scheme: SchemeCore) -> object:
    """What schemes that make one batch have in common; equal to nothing if this one makes none."""
    # A subclass may compute another W, so each class says for itself that it takes batches.
    names = vars(type(scheme)).get("_batched", ())
    if not names or scheme.n > _LARGEST or has_sharded_parameters(scheme):
        return object()
    tensors = [getattr(scheme, name) for name in names]
    options = scheme.field, scheme.determinant, *scheme._batch_options()
    return (type(scheme), options, [(x.shape, x.dtype, x.device) for x in tensors])
