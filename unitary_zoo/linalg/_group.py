"""Distances from the unitary group, and ways to return to it or to SU(n)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo._torch import max_entry
from unitary_zoo.linalg._dtypes import double, eps, identity_like, view_as_real_parts
from unitary_zoo.linalg._map import MatrixMap
from unitary_zoo.linalg._polar import polar


def unitarity_defect(w: Tensor) -> Tensor:
    r""":math:`\|W^H W - I\|_2`, evaluated in double precision.

    Args:
        w: Shape (..., m, n), m >= n.

    Returns:
        Real tensor of shape (...), float64; infinite where ``w`` is not finite.
    """
    w = double(w.detach())
    gram = w.mH @ w
    finite = gram.isfinite().all(-1).all(-1)  # matrix_norm refuses other matrices
    excess = torch.where(finite[..., None, None], gram - identity_like(gram), 0.0)
    return torch.where(finite, torch.linalg.matrix_norm(excess, 2), math.inf)


def determinant_phase(w: Tensor) -> Tensor:
    r""":math:`\det W / |\det W|`, shape (..., n, n) to (...)."""
    # torch 2.13 gives wrong second derivatives of det, NaN among them, under torch.func.
    return torch.linalg.slogdet(w).sign


def with_unit_determinant(w: Tensor) -> Tensor:
    r""":math:`W \det(W)^{-1/n}`, with the root nearest to 1; it is in SU(n) if W is unitary."""
    angle = -determinant_phase(w).angle() / w.shape[-1]
    return w * torch.polar(torch.ones_like(angle), angle)[..., None, None]


def completed(q: Tensor, determinant: int | None = None) -> Tensor:
    """A square matrix whose first k columns are ``q``, with orthonormal columns added to them.

    Args:
        q: Shape (n, k), k < n, of rank k, real or complex.
        determinant: The sign of the determinant, 1 or -1, for real ``q``; None leaves it open.

    Returns:
        Shape (n, n), unitary if the columns of ``q`` are orthonormal.
    """
    w = torch.linalg.qr(q, mode="complete").Q
    w[:, : q.shape[-1]] = q
    if determinant is not None and not q.is_complex() and torch.linalg.det(w) * determinant < 0:
        w[:, -1].neg_()
    return w


def reunitarized(w: Tensor) -> Tensor:
    r"""W itself if it is unitary, else its polar factor: for a stored matrix that may have changed.

    A mean of distinct unitary matrices, as in a moving average of a model, has
    :math:`\|W\|_F^2 < n`. So :func:`frobenius_gap` decides, which takes n^2 operations.

    Args:
        w: Shape (n, n) or (N, n, n), float32 or float64, real or complex; takes no part in
            derivatives.

    Returns:
        The shape of ``w``.
    """
    return _REUNITARIZED(w.detach())


def _reunitarized(w: Tensor) -> Tensor:
    # Rounding a unitary W changes the entries of W^H W - I by about eps, up or down.
    n = w.shape[-1]
    limit = 4 * (math.sqrt(n) * eps(w.dtype) + n * eps(torch.float64))
    gap = max_entry(frobenius_gap(w))
    if gap <= limit:
        return w
    if w.ndim > 2:
        return torch.stack([_reunitarized(x) for x in w])
    # Numbers that are not finite have no polar factor, and show in W as they are.
    return polar(w) if gap < math.inf else w


# The operator keeps the name by which exported programs refer to it.
_REUNITARIZED = MatrixMap(
    "restored", lambda w: (_reunitarized(w).clone(),), torch.zeros_like, eager=_reunitarized
)


def frobenius_gap(w: Tensor) -> Tensor:
    r""":math:`|\|W\|_F^2 - n|`, summed in double precision: 0 but for rounding if W is unitary.

    No singular value of a mean of unitary matrices exceeds 1, so the unitarity defect of a mean
    is at most this.
    """
    # The norm of complex entries takes many times as long as that of their parts.
    x = view_as_real_parts(w.resolve_conj()).flatten(w.ndim - 2)
    squared = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float64).square()
    return (squared - w.shape[-1]).abs()
