"""Butterflies: strides 1, 2, 4, ..., bit reversal, and the angles of a given matrix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo.schemes._rotations import pair_count, pair_indices


def bit_reversal(n: int, device: torch.device | None = None) -> Tensor:
    """Return the permutation of 0 ... n-1, n a power of two, that reverses the bits."""
    i, reverse = torch.arange(n, device=device), torch.zeros(n, dtype=torch.int64, device=device)
    for _ in range(n.bit_length() - 1):
        reverse, i = 2 * reverse + i % 2, i // 2
    return reverse


def butterfly_strides(n: int) -> list[int]:
    """Return 1, 2, 4, ... below ``n``, at least [1]: the strides of a butterfly of any size."""
    return [2**k for k in range(max(1, (n - 1).bit_length()))]


def butterfly_angles(w: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
    r"""Return angles with which :math:`W = D F_L \cdots F_1`, strides 1, 2, 4, ....

    The matrix is split by halves. With s the largest stride, rows i and i + s of W are combinations
    of row i of the one and row i of the other diagonal block of :math:`F_{L-1} \cdots F_1`, so each
    half of the two rows has rank one. For a matrix that is no such product, the angles are those of
    a product nearby.

    Args:
        w: Shape (n, n), double precision; a real W that is such a product has determinant 1.

    Returns:
        theta and phi of each layer, as :func:`rotation_layer` takes them, and omega (n). For a
        real ``w`` phi and omega are zero.

    Source: the idea of hierarchical factorisation, Zheng, Riccietti and Gribonval, Efficient
    identification of butterfly sparse matrix factorizations, 2023; here in angles, for any n.
    """
    n = w.shape[-1]
    strides = butterfly_strides(n)
    empty = [w.new_zeros(pair_count(n, s), dtype=torch.float64) for s in strides]
    theta, phi = empty, [x.clone() for x in empty]
    omega = w.new_zeros(n, dtype=torch.float64)
    _split(w, 0, theta, phi, omega)
    if not w.is_complex():
        _absorb_signs(omega.cos().sign(), strides, theta)
        omega.zero_()
    return theta, phi, omega


def _split(w: Tensor, at: int, theta: list[Tensor], phi: list[Tensor], omega: Tensor) -> None:
    """Fill in the angles of the diagonal block ``w`` that begins at unit ``at``."""
    m = w.shape[0]
    if m == 1:
        omega[at] = w[0, 0].angle()
        return
    level = (m - 1).bit_length() - 1
    s = 2**level
    k = m - s  # rows of the right block, and pairs
    upper, lower = w[:k], w[s:]
    # Rows are diag(1, e^{i beta}) R(theta) (p, q) with p and q of length 1.
    a, b, c, d = upper[:, :s], upper[:, s:], lower[:, :s], lower[:, s:]
    overlap = (a.conj() * c).sum(-1) - (b.conj() * d).sum(-1)
    beta = overlap.angle()
    cos = torch.hypot(a.norm(dim=-1), d.norm(dim=-1))
    sin = torch.hypot(b.norm(dim=-1), c.norm(dim=-1))
    if not w.is_complex():  # a rotation the other way instead of the phase pi
        sin, beta = torch.where(overlap < 0, -sin, sin), torch.zeros_like(beta)
    angle = torch.atan2(sin, cos)
    back = torch.polar(torch.ones_like(beta), -beta) if w.is_complex() else torch.ones_like(beta)
    x, y = angle.cos().unsqueeze(-1), (angle.sin() * back).unsqueeze(-1)
    z = (angle.cos() * back).unsqueeze(-1)
    p = torch.cat([x * a + y * c, w[k:s, :s]])
    q = z * d - angle.sin().unsqueeze(-1) * b
    _split(p, at, theta, phi, omega)
    _split(q, at + s, theta, phi, omega)
    # The phases that remain on the left of the two blocks move through the rotations.
    pairs = slice(at // 2, at // 2 + k)
    left, right = omega[at : at + k], omega[at + s : at + m]
    if w.is_complex():
        phi[level][pairs] = right - left
        omega[at + s : at + m] = left + beta
    else:
        angle = angle * (right - left).cos().sign()
    theta[level][pairs] = angle


def _absorb_signs(sign: Tensor, strides: list[int], theta: list[Tensor]) -> None:
    """Absorb D = diag(sign) into the rotations, but for its determinant, which stays at unit 0.

    R(theta + pi) changes the signs of a pair. Signs move through a later rotation if that turns
    the other way where they differ.
    """
    pairs = [pair_indices(len(sign), s, device=sign.device) for s in strides]
    for level, stride in enumerate(strides):
        first, second = pairs[level]
        # Each unit but 0 is the second of one pair in the layer of its lowest bit.
        turn = torch.where(second % stride == 0, sign[second], 1.0)
        theta[level].sub_(turn - 1, alpha=math.pi / 2)  # by pi where turn is -1
        flip = torch.ones_like(sign)
        flip[second], flip[first] = turn, turn
        sign = sign * flip
        for angle, (i, j) in zip(theta[level + 1 :], pairs[level + 1 :], strict=True):
            angle.mul_(flip[i] * flip[j])
