r"""The Halmos dilation: a contraction as the upper left block of an orthogonal matrix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo import linalg

_DTYPES = (torch.float32, torch.float64)


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

    The other blocks are computed in float64 and rounded. W is the upper left block bit by bit;
    where the formula and orthogonality differ in the last digits, orthogonality is kept.

    Args:
        w: Real, float32 or float64, shape (n, n). Singular values count as 1, from either side,
            while the norm of what they miss it by is at most :math:`8 \sqrt n` eps.
        minimal: Whether rows and columns of singular values 1 are left out.

    Returns:
        Shape (2n, 2n), or (n + r, n + r) if ``minimal``; dtype of ``w``.

    Raises:
        ValueError: The norm exceeds 1, or W is of another shape or dtype or not finite.

    Source: Halmos, Normal dilations and extensions of operators, 1950.
    """
    check_non_expansive(w, "W")
    wide = linalg.double(w)
    u, _, vh = torch.linalg.svd(wide)
    v = linalg.newton_schulz_step(vh.mT)
    # An SVD may miss W by 40 eps, so s is measured anew, and K with K^T K = V^T (I - W^T W) V is
    # diag(c) and a correction of first order. Where c is tiny, so is what it would mend.
    image = wide @ v
    s = image.norm(dim=0).clamp(max=1.0)
    c = ((1 - s) * (1 + s)).sqrt()  # 1 - s^2 would lose the digits of s near 1
    total = c.unsqueeze(1) + c
    k = torch.where(total > 1e-4, -(image.mT @ image) / total.clamp(min=1e-4), 0.0)
    k.diagonal().copy_(c)
    if minimal:
        kept = (1 - s).square().cumsum(0).sqrt() > _slack(w)  # s falls, so these come last
        below, others = k[kept] @ v.mT, torch.cat([(u * c)[:, kept], torch.diag(-s[kept])])
    else:
        below, others = v @ k @ v.mT, torch.cat([(u * c) @ u.mT, -wide.mT])
    first = torch.cat([wide, below])
    others = linalg.newton_schulz_step(others - first @ (first.mT @ others))
    return torch.cat([first, others], dim=1).to(w.dtype)


def check_non_expansive(w: Tensor, where: str) -> float:
    """The norm of ``w`` (n, n), if it is 1 at most but for rounding.

    Raises:
        ValueError: It is not, or ``w`` is no such matrix; the message says ``where``.
    """
    if w.dim() != 2 or w.shape[0] != w.shape[1] or not w.numel() or w.dtype not in _DTYPES:
        raise ValueError(
            f"{where} is {w.dtype} of shape {tuple(w.shape)}; pass a matrix (n, n) in float32 or "
            "float64"
        )
    if not bool(w.isfinite().all()):
        raise ValueError(f"{where} has infinite or undefined entries; pass a finite matrix")
    s = torch.linalg.svdvals(linalg.double(w.detach()))
    norm = float(s.max())
    if not float((s - 1).clamp(min=0).norm()) <= _slack(w):
        raise ValueError(
            f"{where} has norm {norm:.9g}, and the limit is 1: only a contraction is part of an "
            "orthogonal matrix; clip its singular values at 1, as scheme='svd_projection' with "
            "contractive=True does after every step"
        )
    return norm
