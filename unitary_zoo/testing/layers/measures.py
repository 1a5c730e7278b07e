"""What the checks of a layer measure: differences, defects, gradients, memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.testing.checks.registry import holds
from unitary_zoo.testing.layers.subject import LayerSubject
from unitary_zoo.testing.subject import Measure, distance

SAME = 1e-6
"""Limit for what a copy, a file or a cache returns: the same numbers, computed once more."""
ASSIGNED = 1e-4
"""Limit for what went through coordinates: the inverse maps have conditions of 10 to 100."""


class MemoryMeasure(Measure):
    """A number of tensor entries and its limit; the weight can be right where it does not hold."""


def same(a: Tensor, b: Tensor, where: str, limit: float = SAME) -> Measure:
    """The largest difference of two entries."""
    return Measure(distance(a, b), limit, where)


def on_group(subject: LayerSubject, w: Tensor, where: str) -> Measure:
    """The defect of a weight, which must be small to the precision of its entries."""
    if not torch.isfinite(w).all():
        return holds(False, f"{where}: the weight is not finite")
    # A scheme that is not unitary by design need not keep the defect small.
    if float(w.detach().abs().max()) <= 0.01:
        return holds(False, f"{where}: the weight is zero")
    if not subject.exact:
        return holds(True, where)
    n = max(w.shape)
    limit = subject.tolerance(n, torch.complex64 if w.is_complex() else torch.float32)
    if linalg.is_low_precision(w.dtype):
        # Rounding the entries to half an eps each moves W^H W by sqrt(n) eps.
        limit += 2 * math.sqrt(n) * torch.finfo(w.dtype).eps
    return Measure(weight_defect(w), limit, f"{where}: defect")


def finite_gradients(module: nn.Module, where: str) -> Measure:
    """Some parameter has a gradient, and no gradient has an entry that is not finite."""
    found = [p.grad for p in module.parameters() if p.grad is not None]
    if not found:
        return holds(False, f"{where}: no gradient")
    finite = all(bool(torch.isfinite(grad).all()) for grad in found)
    return holds(finite, f"{where}: the gradients are finite")


def weight_defect(w: Tensor) -> float:
    """Spectral norm of W^H W - I, or of W W^H - I for a wide W, in double precision."""
    w = linalg.double(w.detach())
    w = w if w.shape[0] >= w.shape[1] else w.mH
    off = w.mH @ w - torch.eye(w.shape[1], dtype=w.dtype)
    # The norm of a matrix that is not finite raises on some platforms and is a number on others.
    return float(torch.linalg.matrix_norm(off, 2)) if torch.isfinite(off).all() else math.nan


def nearest_orthogonal(w: Tensor) -> Tensor:
    """The polar factor of ``w``, in its dtype."""
    u, _, vh = torch.linalg.svd(linalg.double(w.detach()), full_matrices=False)
    return (u @ vh).to(w.dtype)
