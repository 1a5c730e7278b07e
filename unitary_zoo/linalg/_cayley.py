"""The Cayley map, its scaled form, and their inverses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unitary_zoo._torch import has_functional_transforms, max_entry, without_autocast
from unitary_zoo.linalg._dtypes import eps, identity_like
from unitary_zoo.linalg._inplace import add_identity_, add_product
from unitary_zoo.linalg._map import MatrixMap
from unitary_zoo.linalg._polar import newton_schulz_step, polar


def cayley(a: Tensor) -> Tensor:
    r""":math:`W = (I + A)^{-1}(I - A)` for skew A: eigenvalue ia becomes angle -2 arctan a.

    W never has the eigenvalue -1 at finite A. The inverse loses up to as many digits as the norm of
    A has: its defect at 1050 random A of norm 1e4 was 3 eps in the median and 12000 eps at most. If
    a column of A is longer than 2, a Newton-Schulz step restores the digits. If the norm is above
    eps^(-1/2), where that step may not converge, W is first replaced by its polar factor.

    Args:
        a: Skew, shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n), unitary.
    """
    return _CAYLEY(a)


def cayley_of_coordinates(theta: Tensor, n: int, field: str) -> Tensor:
    r""":func:`cayley` of the A that :func:`skew_from_coordinates` gives, in one backward node.

    Args:
        theta: Shape (..., d), float32 or float64.
        n: Size of A.
        field: "real" or "complex".

    Returns:
        Shape (..., n, n), unitary.
    """
    return _CAYLEY.of_skew(theta, n, field)


def _factors(a: Tensor) -> tuple[Tensor, Tensor]:
    r"""W and :math:`R = (I + A)^{-1}`."""
    # The rows of a skew matrix are as long as its columns, and lie in one piece in memory.
    longest = max_entry(torch.linalg.vector_norm(a.detach(), dim=-1)) if a.numel() else 0.0
    r = _inverse_of_one_plus(a, longest)
    w = add_identity_(2 * r, -1.0)
    # The defect is a few times norm * eps. The norm is at most sqrt(n) times the longest column, so
    # with short columns the defect is no larger than the rounding of any product.
    if longest <= 2.0:
        return w, r
    if not longest * math.sqrt(a.shape[-1]) <= eps(a.dtype) ** -0.5:
        w = polar(w) + (a - a)  # NaN where A is not finite: the inverse of an infinite A is 0
    return newton_schulz_step(w), r


def _adjoint(grad: Tensor, r: Tensor) -> Tensor:
    # W = 2 R - I and dW = -2 R dA R. The conjugate transpose of the gradient needs no R^H.
    return (r @ (grad.mH @ r)).mul_(-2).mH


_CAYLEY = MatrixMap("cayley", _factors, _adjoint)


def _inverse_of_one_plus(a: Tensor, longest: float) -> Tensor:
    """(I + A)^-1 for skew A, given the length of its longest column."""
    one_plus = add_identity_(a.clone(), 1.0)
    m = a.shape[-1] // 2
    # Block elimination by halves, without a search for pivots, costs three quarters of a product in
    # place of the larger part of a factorisation. I + A is accretive, hence so is the Schur
    # complement, and the norms of their inverses are at most 1. But the product in the complement
    # rounds by eps times the square of the longest column, so that square must be at most 10.
    # Small matrices are faster in one piece.
    if m < 48 or not longest**2 <= 10:
        return _inverse(one_plus)
    p, q = one_plus[..., :m, :m], one_plus[..., :m, m:]
    p = _inverse(p)
    pq = p @ q
    s = _inverse(add_product(one_plus[..., m:, m:], q.mH, pq))
    qp = q.mH @ p
    upper = pq @ s
    top = torch.cat([add_product(p, upper, qp, alpha=-1), -upper], dim=-1)
    return torch.cat([top, torch.cat([s @ qp, s], dim=-1)], dim=-2)


def _one_by_one(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function that uses LU factorisation to each matrix of a batch on its own."""
    # torch 2.13 with MKL and two or more threads factorises batches of n >= 256 wrongly, with or
    # without an error; it factorises single matrices correctly.
    if x.shape[:-2].numel() < 2 or x.device.type != "cpu":
        return function(x)
    return torch.stack([function(y) for y in x.flatten(0, -3).unbind()]).reshape(x.shape)


def _inverse(x: Tensor) -> Tensor:
    if has_functional_transforms():
        r: Tensor = _TransformedInverse.apply(x)
        return r
    # I + A is never singular, so inv_ex saves the check and, on a GPU, the wait for it.
    return _one_by_one(lambda y: torch.linalg.inv_ex(y)[0], x)


class _TransformedInverse(torch.autograd.Function):
    """The inverse under transforms of torch.func, where vmap makes a batch of the LU as well."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _one_by_one(lambda y: torch.linalg.inv_ex(y)[0], x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (r,) = ctx.saved_tensors
        with without_autocast(grad.device):
            return -(r.mH @ grad @ r.mH)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor) -> Tensor:
        (r,) = ctx.saved_tensors
        return -(r @ dx @ r)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], x: Tensor) -> tuple[Tensor, int]:
        return _TransformedInverse.apply(x.movedim(in_dims[0], 0)), 0


def cayley_transform(x: Tensor) -> Tensor:
    """(I + X)^-1 (I - X) for a general matrix X."""
    one = identity_like(x)
    return _one_by_one(lambda y: torch.linalg.solve(one + y, one - y), x)


def inverse_cayley(w: Tensor) -> Tensor:
    r""":math:`A = (I + W)^{-1}(I - W)`; the Cayley map is its own inverse.

    Args:
        w: Unitary without the eigenvalue -1, shape (..., n, n).

    Returns:
        Skew, shape (..., n, n).
    """
    a = cayley_transform(w)
    return (a - a.mH) / 2


def inverse_scaled_cayley(w: Tensor) -> tuple[Tensor, Tensor]:
    r"""A and d with :math:`W = (I + A)^{-1} (I - A) \mathrm{diag}(d)`, for any W.

    A is skew with entries of modulus at most 1 (1.01 if complex), and :math:`|d_j| = 1`; if W is
    real, the :math:`d_j` are signs. The search changes one or two :math:`d_j` at a time, and ends
    because each change increases :math:`|\det(I + W \mathrm{diag}(d)^H)|`: an entry
    :math:`a_{jj} = ix` lets it turn :math:`d_j` by :math:`2 \arctan x`, for a factor of
    :math:`(1 + x^2)^{1/2}`; a large :math:`a_{ij}` lets it change the signs of :math:`d_i` and
    :math:`d_j`, for a factor of :math:`|a_{ij}|^2 + a_{ii} a_{jj}`.

    Args:
        w: One unitary matrix, shape (n, n), double precision.

    Returns:
        Shapes (n, n) and (n,).

    Source: O'Dorney, Minimizing the Cayley transform of an orthogonal matrix by multiplying by
    signature matrices, 2014, which treats the pairs of real matrices.
    """
    # Gaussian elimination of W + diag(d), with each d chosen so that its pivot is at least 1. Hence
    # the search starts with a regular matrix.
    rest, phases = w.clone(), []
    for j in range(w.shape[-1]):
        pivot = rest[j, j].clone()
        phases.append(torch.where(pivot == 0, 1.0, torch.sgn(pivot)))
        column = rest[j + 1 :, j] / (pivot + phases[-1])
        rest[j + 1 :, j + 1 :] -= torch.outer(column, rest[j, j + 1 :])
    d = torch.stack(phases)
    a = inverse_cayley(w * d.conj())
    one = identity_like(a)
    # Changes below these limits could be undone by rounding. In a complex matrix a change of a
    # phase gains at least 0.5 % and one of a pair 1 %.
    limit = 1.01 if w.is_complex() else 1 + 1e-6
    while True:
        size = a.diagonal().abs()
        if float(size.max()) > 0.1:
            j = int(size.argmax())
            x = a[j, j].imag
            rotation = torch.polar(torch.ones_like(x), 2 * x.arctan())
            # R = I + A is 2 (I + Z)^-1; column j of Z = W diag(d)^H gets the factor ``rotation``.
            share = (rotation - 1) / (2 + (rotation - 1) * (1 - a[j, j]))
            a = a - share * torch.outer((one - a)[:, j], (one + a)[j])
            d[j] = d[j] * rotation.conj()
        else:
            size = a.abs()
            if not float(size.max()) > limit:
                break
            pair = list(divmod(int(size.argmax()), len(d)))
            a = a + (one - a)[:, pair] @ torch.linalg.solve(a[pair][:, pair], (one + a)[pair])
            d[pair] = -d[pair]
        a = (a - a.mH) / 2
    return inverse_cayley(w * d.conj()), d
