"""Products of Householder reflections."""

from __future__ import annotations

import torch
from torch import Tensor

from unitary_zoo.linalg._inplace import add_identity_, add_product_
from unitary_zoo.linalg._map import MatrixMap


def householder(v: Tensor) -> Tensor:
    r""":math:`W = H_1 H_2 \cdots H_k` with :math:`H_i = I - 2 v_i v_i^H / \|v_i\|^2`.

    W is computed in the compact form :math:`W = I - V S^{-1} V^H`, where S is the upper triangle of
    :math:`V^H V` with half its diagonal; it takes three products with matrices in place of k
    products with vectors. The length of a column does not matter. A column of zeros stands for the
    identity, and its gradient is zero.

    Args:
        v: The :math:`v_i` as columns, shape (..., n, k), any k, float32 or float64, real or
            complex.

    Returns:
        Shape (..., n, n), unitary, with determinant :math:`(-1)^k` if no column is zero.

    Source: Joffrain, Low, Quintana-Orti, van de Geijn and Van Zee, Accumulating Householder
    transformations, revisited, 2006.
    """
    return _HOUSEHOLDER(v)


def _factors(v: Tensor) -> tuple[Tensor, ...]:
    """W, then the four parts of its compact form."""
    scale, u, s, y = _compact_form(v)
    return add_identity_((u @ y).neg_(), 1.0), scale, u, s, y


def _adjoint(grad: Tensor, scale: Tensor, u: Tensor, s: Tensor, y: Tensor) -> Tensor:
    # dW = -dV Y - Z dV^H + Z dS Y, where Y = S^-1 V^H and Z = V S^-1
    z = torch.linalg.solve_triangular(s, u, upper=True, left=False)
    gy = grad @ y.mH
    ds = (z.mH @ gy).triu_()
    ds.diagonal(dim1=-2, dim2=-1).mul_(0.5)
    du = add_product_(add_product_(gy, grad.mH, z), u, ds + ds.mH, alpha=-1)
    return du.neg_().div_(scale)


_HOUSEHOLDER = MatrixMap(
    "householder", _factors, _adjoint, shape=lambda v: (*v.shape[:-1], v.shape[-2])
)


def _compact_form(v: Tensor) -> tuple[Tensor, ...]:
    """The largest entry of each column of V; U, the columns divided by it; S; and S^-1 U^H."""
    # W does not depend on the lengths of the columns, so they take no part in derivatives.
    scale = v.detach().abs().amax(-2, keepdim=True)
    zero = scale == 0
    scale = scale.masked_fill_(zero, 1.0)
    u = v / scale
    s = u.mH @ u  # only its upper triangle is read
    diagonal = s.diagonal(dim1=-2, dim2=-1)
    diagonal.mul_(0.5).masked_fill_(zero.squeeze(-2), 1.0)  # a zero column would make S singular
    return scale, u, s, torch.linalg.solve_triangular(s, u.mH, upper=True)


def compact_reflections(v: Tensor) -> tuple[Tensor, Tensor]:
    r"""U and Y with :math:`H_1 H_2 \cdots H_k = I - U Y`, the factors of :func:`householder`.

    Args:
        v: The reflectors as columns, shape (..., n, k), float32 or float64, real or complex.

    Returns:
        Shapes (..., n, k) and (..., k, n).
    """
    _, u, _, y = _compact_form(v)
    return u, y
