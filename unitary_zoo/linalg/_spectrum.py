"""Eigenvalues and singular values of matrices that may hold anything.

Where a matrix has entries that are not finite, LAPACK ends the process, raises an error, prints a
complaint, or returns arbitrary numbers such as an identity. These functions return NaN there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def eigenvalues(w: Tensor) -> Tensor:
    """The eigenvalues of W, shape (..., n, n) to (..., n), complex; NaN if W is not finite."""
    return _where_finite(torch.linalg.eigvals, w)


def eigenphases(w: Tensor) -> Tensor:
    """The angles of the eigenvalues of W, ascending, in [-pi, pi]; NaN if W is not finite."""
    return eigenvalues(w).angle().sort().values


def singular_values(x: Tensor) -> Tensor:
    """The singular values of X (..., m, n), descending; NaN if X is not finite."""
    return _where_finite(torch.linalg.svdvals, x)


def svd(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, the singular values and V^H of X (..., m, n) = U diag(s) V^H; NaN if X is not finite."""
    finite = x.isfinite().all(-1).all(-1)[..., None, None]
    u, s, vh = torch.linalg.svd(torch.where(finite, x, 0.0))
    nan = torch.where(finite, 0.0, math.nan).to(s.dtype)
    return u + nan, s + nan[..., 0], vh + nan


def _where_finite(values_of: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    finite = x.isfinite().all(-1).all(-1)
    values = values_of(torch.where(finite[..., None, None], x, 0.0))
    return torch.where(finite[..., None], values, math.nan)
