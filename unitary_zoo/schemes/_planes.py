"""Real Schur forms: blocks of planes, and the invariant planes of an orthogonal matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from unitary_zoo import linalg


def schur_form(angles: Tensor, gains: Tensor, transients: Tensor) -> Tensor:
    r"""Return :math:`\Lambda + T`, rotations times gains with entries below their blocks.

    Args:
        angles: One for each 2 x 2 block, shape (floor(n/2)).
        gains: One for each block, and the last eigenvalue of an odd n, shape (ceil(n/2)).
        transients: Entries of T below the blocks, block after block and row by row, then the last
            row of an odd n.

    Returns:
        Shape (n, n).
    """
    k = len(angles)
    c, s = gains[:k] * angles.cos(), gains[:k] * angles.sin()
    rotations = torch.stack([c, -s, s, c], dim=-1)
    row, column = torch.tril_indices(k, k, -1, device=c.device)
    below = transients[: 4 * len(row)].reshape(-1, 4)
    diagonal = torch.arange(k, device=c.device) * (k + 1)
    where = torch.cat([row * k + column, diagonal])
    blocks = c.new_zeros(k * k, 4).index_copy(0, where, torch.cat([below, rotations]))
    form = blocks.reshape(k, k, 2, 2).transpose(1, 2).reshape(2 * k, 2 * k)
    if len(gains) == k:
        return form
    last = torch.cat([transients[4 * len(row) :], gains[k:]])
    return torch.cat([torch.cat([form, form.new_zeros(2 * k, 1)], dim=1), last[None]])


def is_block_diagonal(w: Tensor) -> bool:
    """Whether ``w`` (n, n) is zero outside its 2 x 2 blocks."""
    n = w.shape[-1]
    block = torch.arange(n, device=w.device) // 2
    return not w[block[:, None] != block].any()


def real_planes(w: Tensor) -> Tensor:
    """Return P in SO(n) such that P^T W P is made of 2 x 2 rotations and, for odd n, a last +-1."""
    n = w.shape[-1]
    if n % 2 and torch.linalg.det(w) < 0:
        w = -w
    a = linalg.log_unitary(w)
    v = torch.linalg.eigh(-1j * a).eigenvectors
    x = v[:, (n + 1) // 2 :]  # those of positive eigenvalues
    planes = torch.stack([x.real, -x.imag], dim=-1).reshape(n, -1) * 2**0.5
    if n % 2:
        middle = v[:, n // 2]
        middle = middle * middle[middle.abs().argmax()].conj()
        planes = torch.cat([planes, (middle.real / middle.real.norm())[:, None]], dim=1)
    # In the null space of A the two vectors of a pair are not determined, and v and its conjugate
    # need not be orthogonal. Any basis of that space will do; the polar factor gives one.
    p = linalg.polar(planes)
    return p if torch.linalg.det(p) > 0 else _swap(p)


def _swap(p: Tensor) -> Tensor:
    """Exchange the two vectors of the first plane, which reverses the orientation."""
    return torch.cat([p[:, [1, 0]], p[:, 2:]], dim=1)
