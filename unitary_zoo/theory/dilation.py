r"""The Halmos dilation: a contraction as the upper left block of an orthogonal matrix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo import linalg


def _slack(w: Tensor) -> float:
    # The norm of all that singular values may miss 1 by and count as 1: 8 eps each. That is what
    # the exact schemes leave, at any n, and half of what projected ones admit.
    return 8 * math.sqrt(len(w)) * linalg.eps(w.dtype)


@torch.no_grad()
def halmos_dilation(w: Tensor, minimal: bool = False) -> Tensor:
    r""":math:`\begin{pmatrix} W & (I - WW^T)^{1/2} \\ (I - W^TW)^{1/2} & -W^T \end{pmatrix}`.

    Orthogonal for :math:`\|W\|_2 \le 1`. With :math:`W = U \mathrm{diag}(s) V^T`,
    :math:`c_i = \sqrt{(1 - s_i)(1 + s_i)}` and J the i of :math:`s_i < 1`, ``minimal`` gives the
    same matrix without what is decoupled, in the coordinates U and V of the new rows and columns:
    :math:`\begin{pmatrix} W & U_J c_J \\ c_J V_J^T & -s_J \end{pmatrix}`, of the size
    :math:`n + \mathrm{rank}(I - W^TW)`; no orthogonal matrix with the block W is smaller.

    The other blocks are computed in float64 and rounded; W is the upper left block bit by bit.

    Args:
        w: Real, float32 or float64, shape (n, n). Singular values count as 1, from either side,
            while the norm of what they miss it by is at most :math:`8 \sqrt n` eps.
        minimal: Whether rows and columns of singular values 1 are left out.

    Returns:
        Shape (2n, 2n), or (n + r, n + r) if ``minimal``; dtype of ``w``.

    Raises:
        ValueError: The norm exceeds 1.

    Source: Halmos, Normal dilations and extensions of operators, 1950.
    """
    check_non_expansive(w, "W")
    u, s, vh = torch.linalg.svd(linalg.double(w))
    s = s.clamp(max=1.0)
    c = ((1 - s) * (1 + s)).sqrt()  # 1 - s^2 would lose the digits of s near 1
    v = vh.mT
    if minimal:
        kept = (1 - s).square().cumsum(0).sqrt() > _slack(w)  # s falls, so these come last
        u, s, c, v = u[:, kept], s[kept], c[kept], v[:, kept]
        right, below, corner = u * c, (v * c).mT, torch.diag(-s)
    else:
        right, below, corner = (u * c) @ u.mT, (v * c) @ v.mT, -linalg.double(w).mT
    upper, lower = torch.cat([linalg.double(w), right], 1), torch.cat([below, corner], 1)
    return torch.cat([upper, lower]).to(w.dtype)


def check_non_expansive(w: Tensor, where: str) -> float:
    """The norm of ``w`` (n, n), if it is 1 at most but for rounding.

    Raises:
        ValueError: It is not; the message says ``where`` and names the norm, the limit and the
            remedy.
    """
    s = torch.linalg.svdvals(linalg.double(w.detach()))
    norm = float(s.max())
    if not float((s - 1).clamp(min=0).norm()) <= _slack(w):
        raise ValueError(
            f"{where} has norm {norm:.9g}, and the limit is 1: only a contraction is part of an "
            "orthogonal matrix; clip its singular values at 1, as scheme='svd_projection' with "
            "contractive=True does after every step"
        )
    return norm
