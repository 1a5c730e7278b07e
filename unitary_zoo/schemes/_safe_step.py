"""A move cut short so that it stays near the unitary group: the safe step of landing."""

from __future__ import annotations

import torch
from torch import Tensor

from unitary_zoo import linalg

# A shortened step ends this far inside the safe region, so that rounding does not carry it out;
# from _EDGE on W counts as at the edge.
_INSIDE, _EDGE = 1 - 1e-3, 1 - 2e-3


def excess(w: Tensor) -> Tensor:
    """Return W W^H - I."""
    return w @ w.mH - linalg.identity_like(w)


def safe_move(w: Tensor, move: Tensor, limit: float) -> Tensor:
    """Return ``w + s move``, s in (0, 1] the largest that keeps ||W W^H - I||_F <= ``limit``.

    From the edge of that region, where no s would do, it returns a Newton-Schulz step instead.
    """
    if not torch.isfinite(move).all():
        return w + move  # reading it raises, since NaN is within no limit
    start, move = linalg.double(w), linalg.double(move)
    if excess(start + move).norm() <= limit:
        return w + move
    if excess(start).norm() >= limit * _EDGE:
        return linalg.newton_schulz_step(w)
    # ||N0 + t N1 + t^2 N2||^2 along the unit direction is a polynomial of degree 4 in t.
    unit = move / move.abs().amax()  # the squares of larger entries would overflow
    unit = unit / unit.norm()
    cross = start @ unit.mH
    terms = (excess(start), cross + cross.mH, unit @ unit.mH)
    c = [-((limit * _INSIDE) ** 2), 0.0, 0.0, 0.0, 0.0]
    for i, x in enumerate(terms):
        for j, y in enumerate(terms):
            c[i + j] += float((x.conj() * y).real.sum())
    # It is negative at 0 and positive at the end, so at least one root is real and positive.
    companion = torch.diag(torch.ones(3, dtype=torch.float64), -1)
    companion[:, 3] = -torch.tensor(c[:4], dtype=torch.float64) / c[4]
    roots = torch.linalg.eigvals(companion)
    t = float(roots.real[(roots.imag == 0) & (roots.real > 0)].min())
    return (start + t * unit).to(w.dtype)
