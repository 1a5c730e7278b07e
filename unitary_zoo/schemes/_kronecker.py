"""Kronecker products of small matrices: applied factor by factor, and taken apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import LinearMap

# Neighbouring factors are multiplied out up to this size: few products with matrices of 32 x 32
# are faster than many with 2 x 2, and the work is still n times a constant for each.
WIDTH = 32


def prime_factors(n: int) -> tuple[int, ...]:
    """Return the prime factors of ``n`` in ascending order; (1,) for 1."""
    factors, p = [], 2
    while p * p <= n:
        while n % p == 0:
            factors.append(p)
            n //= p
        p += 1
    return (*factors, n) if n > 1 or not factors else tuple(factors)


class KroneckerMap(LinearMap):
    """The factors, each applied along its own axis of the rows."""

    def __init__(self, factors: Sequence[Tensor]) -> None:
        like = factors[0]
        self._factors: list[Tensor] = []
        for w in factors:
            if self._factors and self._factors[-1].shape[0] * w.shape[0] <= WIDTH:
                self._factors[-1] = torch.kron(self._factors[-1], w)
            else:
                self._factors.append(w)
        self.n = math.prod([w.shape[0] for w in factors])
        self.dtype, self.device = like.dtype, like.device

    @property
    def multiplications(self) -> float:
        """The size n times the sum of the sizes of the factors, times 4 if complex."""
        width = sum([w.shape[0] for w in self._factors])
        return self.n * width * (4 if self.dtype.is_complex else 1)

    def _multiply(self, h: Tensor) -> Tensor:
        return self._along([w.mT for w in self._factors], h)

    def _multiply_adjoint(self, h: Tensor) -> Tensor:
        return self._along([w.conj() for w in self._factors], h)

    def _along(self, factors: Sequence[Tensor], h: Tensor) -> Tensor:
        shape = h.shape
        for w in reversed(factors):
            # The last axis is multiplied and goes to the front; after all factors the order is
            # restored.
            h = h.reshape(*shape[:-1], -1, w.shape[0]) @ w
            h = h.mT
        return h.reshape(shape)


def nearest_product(w: Tensor, p: int) -> tuple[Tensor, Tensor]:
    """Return unitary A (p, p) and B with A (x) B = W, or near W where there are none.

    The blocks of W, each as a row, make the matrix vec(A) vec(B)^T of rank one. Real A and B have
    determinant 1 if W is a product of factors with determinant 1.
    """
    q = w.shape[0] // p
    blocks = w.reshape(p, q, p, q).transpose(1, 2).reshape(p * p, q * q)
    u, _, vh = torch.linalg.svd(blocks, full_matrices=False)
    a, b = linalg.polar(u[:, 0].reshape(p, p)), linalg.polar(vh[0].reshape(q, q))
    # The free phase or sign makes the trace of A positive, so that I is split into identities.
    if w.is_complex():
        angle = a.trace().angle()
        turn = torch.polar(torch.ones_like(angle), angle)
        return a * turn.conj(), b * turn
    # A common sign changes the determinant of a factor of odd size only.
    deciding = torch.linalg.det(a) if p % 2 else torch.linalg.det(b) if q % 2 else a.trace()
    sign = torch.where(deciding < 0, -1.0, 1.0).to(w.dtype)
    return linalg.polar_with_determinant(a * sign, 1), b * sign
