r"""The Halmos dilation: an orthogonal matrix with a contraction as its upper left block."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo import linalg

_DTYPES = (torch.float32, torch.float64)


def _slack(w: Tensor) -> float:
    # Limit on the norm of the distances from 1 of singular values that count as 1: 8 eps each.
    # Exact schemes stay within it at any n; projected ones admit twice as much.
    return 8 * math.sqrt(len(w)) * linalg.eps(w.dtype)


@torch.no_grad()
def halmos_dilation(w: Tensor, minimal: bool = False) -> Tensor:
    r""":math:`\begin{pmatrix} W & (I - WW^T)^{1/2} \\ (I - W^TW)^{1/2} & -W^T \end{pmatrix}`.

    The matrix is orthogonal for :math:`\|W\|_2 \le 1`. Let :math:`W = U \mathrm{diag}(s) V^T`,
    :math:`c_i = \sqrt{(1 - s_i)(1 + s_i)}` and J the set of i with :math:`s_i < 1`. ``minimal``
    writes the new rows and columns in the coordinates U and V and leaves out the decoupled ones:
    :math:`\begin{pmatrix} W & U_J c_J \\ c_J V_J^T & -s_J \end{pmatrix}`, of the size
    :math:`n + \mathrm{rank}(I - W^TW)`. No orthogonal matrix with the block W is smaller.

    W is the upper left block bit by bit. The other blocks are computed in float64 and rounded;
    if the formula and orthogonality differ in the last digits, orthogonality is kept.

    Args:
        w: Real, float32 or float64, shape (n, n). Singular values near 1, on either side, count as
            1 as long as the norm of their distances from 1 is at most :math:`8 \sqrt n` eps.
        minimal: Whether to leave out the rows and columns of singular values 1.

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
    # An SVD may be off by 40 eps. So s is measured again, and K, with K^T K = V^T (I - W^T W) V,
    # is diag(c) plus a first-order correction, which is negligible where c is tiny.
    image = wide @ v
    s = image.norm(dim=0).clamp(max=1.0)
    c = ((1 - s) * (1 + s)).sqrt()  # 1 - s^2 would lose the digits of s near 1
    total = c.unsqueeze(1) + c
    k = torch.where(total > 1e-4, -(image.mT @ image) / total.clamp(min=1e-4), 0.0)
    k.diagonal().copy_(c)
    if minimal:
        kept = (1 - s).square().cumsum(0).sqrt() > _slack(w)  # s is in descending order
        below, others = k[kept] @ v.mT, torch.cat([(u * c)[:, kept], torch.diag(-s[kept])])
    else:
        below, others = v @ k @ v.mT, torch.cat([(u * c) @ u.mT, -wide.mT])
    first = torch.cat([wide, below])
    others = linalg.newton_schulz_step(others - first @ (first.mT @ others))
    return torch.cat([first, others], dim=1).to(w.dtype)


def check_non_expansive(w: Tensor, where: str) -> float:
    """Return the norm of ``w`` (n, n), which must be at most 1 up to rounding.

    Raises:
        ValueError: The norm is larger, or ``w`` is not a finite real matrix (n, n); the message
            begins with ``where``.
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
