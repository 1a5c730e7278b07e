"""Sums of matrices and products in one pass over memory."""

from __future__ import annotations

import torch
from torch import Tensor


def add_identity_(x: Tensor, c: float) -> Tensor:
    """Write X + c I over X, without an identity matrix in memory."""
    x.diagonal(dim1=-2, dim2=-1).add_(c)
    return x


def add_product(c: Tensor, x: Tensor, y: Tensor, alpha: float = 1.0, beta: float = 1.0) -> Tensor:
    r""":math:`\beta C + \alpha X Y`, in one pass unless C has more than three dimensions."""
    if c.ndim == 2:
        return torch.addmm(c, x, y, alpha=alpha, beta=beta)
    if c.ndim == 3:
        return torch.baddbmm(c, x, y, alpha=alpha, beta=beta)
    return beta * c + alpha * (x @ y)


def add_product_(c: Tensor, x: Tensor, y: Tensor, alpha: float = 1.0) -> Tensor:
    """Write C + alpha X Y over C."""
    if c.ndim == 2:
        return c.addmm_(x, y, alpha=alpha)
    if c.ndim == 3:
        return c.baddbmm_(x, y, alpha=alpha)
    return c.add_(x @ y, alpha=alpha)
