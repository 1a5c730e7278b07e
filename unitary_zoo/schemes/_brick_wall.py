"""Layers of rotations of neighbours whose product is a given matrix."""

from __future__ import annotations

import cmath
import math

import torch
from torch import Tensor


def angle_count(n: int, capacity: int) -> int:
    """Return the number of pairs in ``capacity`` layers."""
    return capacity // 2 * (n - 1) + capacity % 2 * (n // 2)


def brick_wall(w: Tensor, capacity: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return theta, phi and omega of the layers whose product is ``w`` (n, n), double precision.

    The lower triangle is annihilated along its diagonals, alternately from the right, by blocks of
    the first layers, and from the left, by blocks of the last; a diagonal matrix remains. The
    angles of other blocks are zero.
    """
    n, w = w.shape[0], w.to("cpu", copy=True)  # n^2/2 small steps, one after the other
    theta = w.new_zeros(angle_count(n, capacity), dtype=torch.float64)
    phi, later = theta.clone(), []

    def place(layer: int, unit: int) -> int:
        return layer // 2 * (n - 1) + layer % 2 * (n // 2) + unit // 2

    def angles(small: complex, large: complex) -> tuple[float, float]:
        # Signs of a real W are chosen such that the diagonal ends as 1, ..., 1, det W.
        if not w.is_complex():
            return math.atan2(small.real, large.real), 0.0
        return math.atan2(abs(small), abs(large)), cmath.phase(large) - cmath.phase(small)

    for i in range(1, n):
        for j in range(i):
            if i % 2:
                m, row = i - 1 - j, n - 1 - j
                angle, turn = angles(*w[row, m : m + 2].tolist())
                _turn_rows(w.mT, m, angle, turn)
                k = place(j, m)
                phi[k] = turn
            else:
                m = n + j - i - 1
                angle, turn = angles(*w[m : m + 2, j].flip(0).tolist())
                turn = -turn
                _turn_rows(w, m, -angle, turn)
                k = place(n - 1 - j, m)
                later.append((k, m, turn))
            theta[k] = angle
    omega = w.diagonal().angle()
    # diag(1, e^{i turn}) R(angle) D = D' R(angle) diag(1, e^{i phi}), from the inside outwards.
    for k, m, turn in reversed(later):
        phi[k] = omega[m + 1] - omega[m]
        omega[m + 1] = omega[m] + turn
    return theta, phi, omega


def _turn_rows(w: Tensor, m: int, angle: float, turn: float) -> None:
    """Replace rows x and y by c x - s e^{-i turn} y and s x + c e^{-i turn} y."""
    # A product of matrices would start threads for two rows.
    x, y = w[m], w[m + 1] * cmath.exp(-1j * turn) if w.is_complex() else w[m + 1]
    c, s = math.cos(angle), math.sin(angle)
    w[m], w[m + 1] = x * c - y * s, x * s + y * c
