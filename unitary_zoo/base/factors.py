"""FactoredMap: W as a product of simple factors, whose numbers are one tensor."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unitary_zoo.base.linear_map import LinearMap


class Factor(ABC):
    """One factor of W, without its numbers: what it does with rows h (..., n)."""

    def count(self, n: int) -> int:
        """Return how many numbers the factor has."""
        return 0

    @abstractmethod
    def products(self, n: int) -> float:
        """Return the number of products for a row, in the field of W."""

    @abstractmethod
    def multiply(self, a: Tensor, h: Tensor) -> Tensor:
        """Apply the factor with the numbers ``a`` to each row."""

    @abstractmethod
    def multiply_adjoint(self, a: Tensor, h: Tensor) -> Tensor:
        """Apply the adjoint of the factor to each row."""


@dataclass(frozen=True)
class Diagonal(Factor):
    r""":math:`\mathrm{diag}(a)`."""

    def count(self, n: int) -> int:
        """Return n."""
        return n

    def products(self, n: int) -> float:
        """Return n."""
        return n

    def multiply(self, a: Tensor, h: Tensor) -> Tensor:
        """:math:`a h`."""
        return a * h

    def multiply_adjoint(self, a: Tensor, h: Tensor) -> Tensor:
        r""":math:`\bar a h`."""
        return a.conj() * h


@dataclass(frozen=True)
class Fourier(Factor):
    """The unitary discrete Fourier transform F, or its inverse; complex only."""

    inverse: bool = False

    def products(self, n: int) -> float:
        """Return (n / 2) log2 n."""
        return n / 2 * math.log2(n)

    def multiply(self, a: Tensor, h: Tensor) -> Tensor:
        """Transform each row."""
        return (torch.fft.ifft if self.inverse else torch.fft.fft)(h, norm="ortho")

    def multiply_adjoint(self, a: Tensor, h: Tensor) -> Tensor:
        """Transform each row back."""
        return (torch.fft.fft if self.inverse else torch.fft.ifft)(h, norm="ortho")


@dataclass(frozen=True)
class Permutation(Factor):
    r""":math:`(\Pi h)_i = h_{\pi(i)}`.

    Args:
        index: The permutation, shape (n).
    """

    index: Tensor

    def products(self, n: int) -> float:
        """Return 0."""
        return 0

    def multiply(self, a: Tensor, h: Tensor) -> Tensor:
        """Exchange the units of each row."""
        return h[..., self.index]

    def multiply_adjoint(self, a: Tensor, h: Tensor) -> Tensor:
        """Put the units of each row back."""
        return h[..., self.index.argsort()]


@dataclass(frozen=True)
class Reflection(Factor):
    """:math:`I - 2 a a^H`."""

    def count(self, n: int) -> int:
        """Return n."""
        return n

    def products(self, n: int) -> float:
        """Return 2 n."""
        return 2 * n

    def multiply(self, a: Tensor, h: Tensor) -> Tensor:
        """:math:`h - 2 a (a^H h)`."""
        return h - 2 * (h @ a.conj()).unsqueeze(-1) * a

    def multiply_adjoint(self, a: Tensor, h: Tensor) -> Tensor:
        """Apply the factor itself."""
        return self.multiply(a, h)


@dataclass(frozen=True)
class Pairs(Factor):
    """h -> d h + o (h exchanged), a = (d, o): a direct sum of 2 x 2 blocks on pairs of units.

    The pairs (i, i + stride) are those of the groups of 2 stride units that begin at ``start``; a
    unit whose partner lies outside is left in its place.
    """

    stride: int
    start: int = 0

    def count(self, n: int) -> int:
        """Return 2 n."""
        return 2 * n

    def products(self, n: int) -> float:
        """Return 2 n."""
        return 2 * n

    def multiply(self, a: Tensor, h: Tensor) -> Tensor:
        """Apply each block to its pair."""
        diagonal, off = a.chunk(2)
        return torch.addcmul(diagonal * h, off, exchange_pairs(h, self.stride, self.start))

    def multiply_adjoint(self, a: Tensor, h: Tensor) -> Tensor:
        """Apply the adjoint of each block to its pair."""
        diagonal, off = a.chunk(2)
        # Off its diagonal, the transposed block has the entry that belongs to the other unit.
        across = exchange_pairs(off.conj() * h, self.stride, self.start)
        return torch.addcmul(across, diagonal.conj(), h)


def exchange_pairs(h: Tensor, stride: int, start: int = 0) -> Tensor:
    """Return ``h`` (..., n) with the units of each pair exchanged, without reading an index."""
    n = h.shape[-1]
    groups = max(n - start, 0) // (2 * stride)
    stop = start + groups * 2 * stride
    shape = (*h.shape[:-1], groups, 2, stride)
    body = h[..., start:stop].reshape(shape).flip(-2).reshape(*h.shape[:-1], stop - start)
    if stop - start == n:
        return body
    tail, extra = h[..., stop:], max(n - stop - stride, 0)
    if extra:
        tail = torch.cat([tail[..., stride:], tail[..., extra:stride], tail[..., :extra]], dim=-1)
    return torch.cat([h[..., :start], body, tail], dim=-1)


class FactoredMap(LinearMap):
    """The factors applied to rows one after the other.

    The numbers are one tensor, so that a recurrence in compiled code differentiates it as it does
    a matrix.

    Args:
        n: Size of W.
        factors: The first one is applied first.
        numbers: Their numbers, one after the other, in the dtype of W.
    """

    def __init__(self, n: int, factors: Sequence[Factor], numbers: Tensor) -> None:
        self.n, self.factors, self.numbers = n, tuple(factors), numbers
        self.dtype, self.device = numbers.dtype, numbers.device
        self._parts = numbers.split([factor.count(n) for factor in factors])

    @property
    def multiplications(self) -> float:
        """Those of the factors, times 4 if complex."""
        products = sum([factor.products(self.n) for factor in self.factors])
        return products * (4 if self.dtype.is_complex else 1)

    def _multiply(self, h: Tensor) -> Tensor:
        for factor, a in zip(self.factors, self._parts, strict=True):
            h = factor.multiply(a, h)
        return h

    def _multiply_adjoint(self, h: Tensor) -> Tensor:
        for factor, a in zip(reversed(self.factors), reversed(self._parts), strict=True):
            h = factor.multiply_adjoint(a, h)
        return h
