r"""Coordinates of skew matrices.

"Skew" means skew-Hermitian, :math:`A^H = -A`, which for real matrices is skew-symmetric.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo.linalg._constants import kept_on_cpu
from unitary_zoo.linalg._dtypes import identity_like


def skew_dimension(n: int, field: str) -> int:
    """Number of real coordinates of a skew matrix: n(n-1)/2 real, n^2 complex."""
    return n * n if field == "complex" else n * (n - 1) // 2


def skew_from_coordinates(theta: Tensor, n: int, field: str) -> Tensor:
    r""":math:`A = \sum_k \theta_k E_k` with orthogonal basis matrices of norm :math:`\sqrt 2`.

    The coordinates of a real matrix are the entries above its diagonal. Those of a complex matrix
    are the real parts above the diagonal, the imaginary parts above the diagonal, and the
    :math:`\theta_k` of the diagonal :math:`i\sqrt 2\,\theta_k`. All basis matrices have the same
    norm, so a gradient step on the coordinates is a step of steepest descent in the tangent space.

    Args:
        theta: Shape (..., d), d = :func:`skew_dimension`.
        n: Size of the matrix.
        field: "real" or "complex".

    Returns:
        Shape (..., n, n).
    """
    above, _ = _places(n, theta.device)
    shape = (*theta.shape[:-1], n, n)

    def upper(values: Tensor) -> Tensor:
        flat = values.new_zeros(*theta.shape[:-1], n * n)
        return flat.index_copy(-1, above, values).reshape(shape)

    if field == "real":
        a = upper(theta)
        return a - a.mT
    m = above.numel()
    re, im = upper(theta[..., :m]), upper(theta[..., m : 2 * m])
    diagonal = torch.diag_embed(theta[..., 2 * m :] * math.sqrt(2))
    return torch.complex(re - re.mT, im + im.mT + diagonal)


def skew_to_coordinates(a: Tensor) -> Tensor:
    """Coordinates of the skew part of ``a``; inverse of :func:`skew_from_coordinates`."""
    return skew_coordinates_gradient(a) * 0.5


def skew_coordinates_gradient(grad: Tensor) -> Tensor:
    """The adjoint of :func:`skew_from_coordinates`: twice the coordinates of the skew part.

    Args:
        grad: The gradient in A, shape (..., n, n).

    Returns:
        The gradient in the coordinates, shape (..., d).
    """
    if not grad.is_contiguous() and grad.mT.is_contiguous():
        # The skew part of G^H is minus that of G, and G^H lies in memory row by row.
        return -skew_coordinates_gradient(grad.mH)
    above, below = _places(grad.shape[-1], grad.device)
    flat = grad.reshape(*grad.shape[:-2], -1)
    upper, lower = flat.index_select(-1, above), flat.index_select(-1, below)
    if not grad.is_complex():
        return upper - lower
    diagonal = grad.diagonal(dim1=-2, dim2=-1).imag * math.sqrt(2)
    return torch.cat([upper.real - lower.real, upper.imag + lower.imag, diagonal], dim=-1)


def _places(n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The places of the entries above the diagonal in the flattened matrix, and of their mirrors.

    Those of large matrices, where the products take far longer, are not kept.
    """
    return (_kept_places if n <= 512 else _new_places)(n, device)


def _new_places(n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    row, column = torch.triu_indices(n, n, 1, device=device)
    return row * n + column, column * n + row


_kept_places = kept_on_cpu(_new_places)


def traceless(a: Tensor) -> Tensor:
    r""":math:`A - \mathrm{tr}(A)/n\, I`, the part of a skew A whose exponential is in SU(n)."""
    mean = a.diagonal(dim1=-2, dim2=-1).mean(-1)
    return a - mean[..., None, None] * identity_like(a)
