"""The polar factor and other functions of singular values."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unitary_zoo._torch import has_values, max_entry, without_autocast
from unitary_zoo.linalg._dtypes import eps
from unitary_zoo.linalg._inplace import add_identity_, add_product
from unitary_zoo.linalg._map import MatrixMap, functional


def newton_schulz_step(w: Tensor) -> Tensor:
    r""":math:`W \mapsto W (3 I - W^H W) / 2`: squares a small unitarity defect.

    Repeated steps converge to the polar factor if all singular values are below :math:`\sqrt 3`.
    """
    return add_product(w, w, w.mH @ w, alpha=-0.5, beta=1.5)


def polar(x: Tensor) -> Tensor:
    r"""The polar factor :math:`U V^H` of :math:`X = U \Sigma V^H`: the nearest unitary matrix.

    Near the group it is computed by a series and Newton-Schulz steps, elsewhere by an SVD. Its
    gradients are finite even at unitary X, where those of an SVD are NaN. It can be differentiated
    once.

    Args:
        x: Shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n), unitary.
    """
    return _POLAR(x)


# The limit of the 2-norm of X^H X - I up to which X counts as near the group: the products for W
# and for its derivative cost less than an SVD.
_NEAR = 0.2


def _factors(x: Tensor) -> tuple[Any, ...]:
    """W, then a bound of the norm of X^H X - I, and X and W near the group, else the SVD of X."""
    defect = add_identity_(x.detach().mH @ x.detach(), -1.0)
    square = defect @ defect
    # ||D||_2^2 <= ||D^2||_1, which is closer than the Frobenius norm of D
    norm = max_entry(square.abs().sum(-2)) ** 0.5 if x.numel() else 0.0
    if norm <= _NEAR:
        w = _near_polar(x, defect, square, norm)
        return w, norm, x, w
    w, *usv = _svd_factors(x)
    return w, norm, *usv


def _adjoint(grad: Tensor, norm: float, *kept: Tensor) -> Tensor:
    return _near_adjoint(grad, norm, *kept) if norm <= _NEAR else _svd_adjoint(grad, *kept)


def _near_polar(x: Tensor, defect: Tensor, square: Tensor, norm: float) -> Tensor:
    """The polar factor of X near the group, from :math:`D = X^H X - I`, its square and its norm."""
    # X (I + D)^(-1/2) by its series up to D^2 or D^4. The first term left out, 5 D^3/16 or
    # 63 D^5/256, is half the new defect, which Newton-Schulz steps square.
    series, left = defect.mul(-0.5).add_(square, alpha=0.375), norm**3
    if left > eps(x.dtype) / 2:
        higher = defect.mul(-0.3125).add_(square, alpha=35 / 128)
        series, left = add_product(series, square, higher), norm**5
    w = add_product(x, x, series)
    while left > eps(x.dtype) / 2:
        w = newton_schulz_step(w)
        left = left**2
    return w


def _near_adjoint(grad: Tensor, norm: float, x: Tensor, w: Tensor) -> Tensor:
    # With X = W H, dW = W Omega, where Omega is skew and H Omega + Omega H = W^H dX - dX^H W.
    m = w.mH @ grad
    k = (m - m.mH) / 2
    excess = add_identity_(w.mH @ x, -1.0)  # E = H - I
    # The map Y -> K - (E Y + Y E) / 2 contracts by the norm of E and has real eigenvalues, so each
    # Chebyshev step gains twice the digits of a plain iteration. Y E = -(E Y)^H.
    radius = max(1 - math.sqrt(1 - norm), eps(x.dtype))
    before, y, weight, error = k, k, 1.0, radius
    while error > eps(x.dtype) / 4:
        half = excess @ y
        after = torch.sub(k, half - half.mH, alpha=0.5)
        if weight > 1.0:
            after = torch.lerp(before, after, weight)
        before, y = y, after
        weight = 1 / (1 - radius**2 * weight / (2 if weight == 1.0 else 4))
        error *= radius / 2
    return w @ y


def _svd_factors(x: Tensor) -> tuple[Tensor, ...]:
    """W, then U, the singular values and V^H."""
    u, s, vh = torch.linalg.svd(x)
    return u @ vh, u, s, vh


def _svd_adjoint(grad: Tensor, u: Tensor, s: Tensor, vh: Tensor) -> Tensor:
    return _singular_value_adjoint(grad, u, s, vh, torch.ones_like(s))


_POLAR = MatrixMap("polar", _factors, _adjoint, transformed=functional(_svd_factors, _svd_adjoint))


def polar_with_determinant(x: Tensor, determinant: int | None) -> Tensor:
    r"""The orthogonal matrix nearest to X with the given determinant; the polar factor if None.

    If the polar factor has the other determinant, the direction of the least singular value is
    reversed. That gives the nearest matrix (Kabsch, 1976), but it jumps where the two least
    singular values meet.

    Args:
        x: Shape (n, n), float32 or float64, real unless ``determinant`` is None.
        determinant: 1, -1 or None.

    Returns:
        Shape (n, n), orthogonal.
    """
    w = polar(x)
    if determinant is None:
        return w
    wrong = torch.linalg.det(w.detach()) * determinant < 0
    # Without values to decide by, the formula below serves both cases.
    if has_values(x) and not max_entry(wrong):
        return w
    # With v the right singular vector, it is W (I - 2 v v^T). Like the determinant of W, v takes no
    # part in derivatives.
    v = torch.linalg.svd(x.detach()).Vh[-1]
    return w - 2 * wrong * torch.outer(w @ v, v)


def contract(x: Tensor) -> Tensor:
    r""":math:`U \min(\Sigma, 1) V^H`: the nearest matrix with :math:`\|W\|_2 \le 1`.

    Args:
        x: Shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n).
    """
    w: Tensor = _Contraction.apply(x)
    return w


class _Contraction(torch.autograd.Function):
    # This is no MatrixMap: tracers record the operations of its SVD, and torch.func refuses it.

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        u, s, vh = torch.linalg.svd(x)
        f = s.clamp(max=1.0)
        # The defects of the bases, several eps, would make norms exceed 1. A Newton-Schulz step
        # removes them here; it cannot be made on W, as it can on a polar factor.
        u, vh = newton_schulz_step(u), newton_schulz_step(vh)
        ctx.save_for_backward(u, s, vh, f)
        return (u * f.unsqueeze(-2)) @ vh

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        with without_autocast(grad.device):
            return _singular_value_adjoint(grad, *ctx.saved_tensors)


def _singular_value_adjoint(grad: Tensor, u: Tensor, s: Tensor, vh: Tensor, f: Tensor) -> Tensor:
    r"""Gradient of :math:`U f(\Sigma) V^H` for f = 1 (polar factor) or f = min(., 1) (contraction).

    It is :math:`U (D \circ \mathrm{sym}\,M + P \circ \mathrm{skew}\,M) V^H` with
    :math:`M = U^H G V`, :math:`D_{ij} = (f_i - f_j)/(s_i - s_j)` and
    :math:`P_{ij} = (f_i + f_j)/(s_i + s_j)`. Unlike the gradient of an SVD it has no pole where
    singular values meet.
    """
    m = u.mH @ grad @ vh.mH
    ds = s.unsqueeze(-1) - s.unsqueeze(-2)
    df = f.unsqueeze(-1) - f.unsqueeze(-2)
    # At equal singular values the quotient is f': 1 below 1, and 0 from 1 on.
    slope = (f < 1.0).to(s.dtype).unsqueeze(-1).expand_as(ds)
    d = torch.where(ds == 0, slope, df / torch.where(ds == 0, 1.0, ds))
    total = s.unsqueeze(-1) + s.unsqueeze(-2)
    # A singular matrix has no unique polar factor; the clamp keeps its gradient finite.
    p = (f.unsqueeze(-1) + f.unsqueeze(-2)) / total.clamp(min=eps(s.dtype))
    return u @ (d * (m + m.mH) / 2 + p * (m - m.mH) / 2) @ vh
