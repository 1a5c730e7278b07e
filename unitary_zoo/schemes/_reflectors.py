"""Products of reflections: applied without being formed, and found for given columns."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import LinearMap


class ReflectionsMap(LinearMap):
    """:math:`(I - U Y) D` by two products with k vectors, D diagonal; W is never formed."""

    def __init__(self, v: Tensor, d: Tensor) -> None:
        self._u, self._y = linalg.compact_reflections(v)
        self._d = d
        self.n, self.dtype, self.device = len(d), v.dtype, v.device

    @property
    def multiplications(self) -> float:
        """Two products of n k, and a diagonal of n."""
        n, k = self._u.shape
        return (2 * n * k + n) * (4 if self.dtype.is_complex else 1)

    def columns(self, k: int) -> Tensor:
        """The first k columns of W, shape (n, k): (I - U Y) D of k columns of I and Y."""
        eye = torch.eye(self.n, k, dtype=self.dtype, device=self.device)
        return (eye - self._u @ self._y[:, :k]) * self._d[:k]

    def _multiply(self, h: Tensor) -> Tensor:
        h = h * self._d
        return h - (h @ self._y.mT) @ self._u.mT

    def _multiply_adjoint(self, h: Tensor) -> Tensor:
        return (h - (h @ self._u.conj()) @ self._y.conj()) * self._d.conj()


def nearest_columns(q: Tensor) -> Tensor:
    """Return the polar factor of tall q, without the square matrices of a complete SVD."""
    u, _, vh = torch.linalg.svd(q, full_matrices=False)
    return u @ vh


def _idle(n: int, count: int, keep: int, like: Tensor) -> Tensor:
    """Return unit columns (n, count) whose reflections keep the first ``keep`` units."""
    generator = torch.Generator().manual_seed(0)
    v = like.new_zeros(n, count)
    v[keep:] = torch.randn(n - keep, count, dtype=like.dtype, generator=generator).to(like)
    return v / torch.linalg.vector_norm(v, dim=0)


def reflectors_of_rank(q: Tensor, k: int) -> Tensor:
    """Return unit columns (n, k) whose reflections have the product ``q``, real, if k suffice.

    H(q e_j - e_j) takes column j to its place and keeps the columns that are in theirs. The rank
    of q - I goes down by one each time, so that rank(q - I) reflections suffice. A tall q holds
    the first columns of a product.
    """
    n, m = q.shape
    one = torch.eye(n, m, dtype=q.dtype, device=q.device)
    columns: list[Tensor] = []
    while len(columns) < k:
        gaps = q - one
        far, j = gaps.square().sum(0).max(0)
        if far.sqrt() <= 8 * n * linalg.eps(q.dtype):
            break
        v = gaps[:, j] / far.sqrt()
        q = q - 2 * torch.outer(v, v @ q)
        columns.append(v)
    # What remains of q is I. If q is square, its determinant was 1, so an even number of
    # reflections remains, and they form pairs that undo each other. If it is tall, they may move
    # the columns that q leaves free.
    left = k - len(columns)
    idle = _idle(n, left // 2, 0, q).repeat_interleave(2, 1) if m == n else _idle(n, left, m, q)
    return torch.cat([*(v.unsqueeze(1) for v in columns), idle], dim=1)


def reflectors_of_columns(q: Tensor, k: int) -> Tensor:
    """Return unit columns (n, k) whose product has the first columns ``q`` (n, m), real, m <= k.

    This is the Householder QR decomposition of q, m < n, with R = I. There is no diagonal that
    could take up signs, so column j goes to e_j and never to -e_j. The subtraction in x - |x| e_j
    does not cancel when it is done as in Parlett, Analysis of algorithms for reflections in
    bisectors, 1971.
    """
    n, m = q.shape
    q, v = q.clone(), _idle(n, k, m, q)
    for j in range(m):
        x = q[:, j].clone()
        x[:j] = 0
        rest, length = torch.linalg.vector_norm(x[j + 1 :]), torch.linalg.vector_norm(x)
        x[j] = -(rest**2) / (x[j] + length) if x[j] > 0 else x[j] - length
        if float(rest) > 0 or float(x[j]) < 0:  # else the column is in its place
            v[:, j] = x / torch.linalg.vector_norm(x)
        q.addr_(v[:, j], v[:, j] @ q, alpha=-2)
    return v


def reflectors_and_phases(w: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return unit columns (n, k) and phases (m) of complex w (n, m), by its QR decomposition.

    k >= m, or k >= n - 1 if w is square.
    """
    n, m = w.shape
    w, v = w.clone(), torch.eye(n, k, dtype=w.dtype, device=w.device)  # e_j for those not needed
    for j in range(min(m, n - 1)):
        x = w[:, j].clone()
        x[:j] = 0
        # The product of x^H and its image has to be real; this sign adds and does not cancel.
        x[j] += torch.where(x[j] == 0, 1.0, torch.sgn(x[j]))
        v[:, j] = x / x.norm()
        w.addr_(v[:, j], v[:, j].conj() @ w, alpha=-2)
    phases = w.diagonal().angle().clone()
    if k == n == m:
        phases[-1] += math.pi
    return v, phases
