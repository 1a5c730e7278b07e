"""LinearMap: W with its factors computed once, to be applied many times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo._torch import without_autocast


class LinearMap(ABC):
    r""":math:`h \mapsto W h` with the factors of W computed once.

    Rows are batches: ``map(h)`` is ``h @ W.T`` for h of shape (..., n). The map computes in the
    precision of W, float32 or better, whatever the autocast state. A real result for h in half
    precision is in half precision.

    A subclass sets ``n``, ``dtype`` and ``device`` and defines ``_multiply`` and
    ``_multiply_adjoint``.
    """

    n: int
    dtype: torch.dtype
    device: torch.device

    @property
    def multiplications(self) -> float:
        """Real multiplications per row; the scan compares it with the dense product."""
        return self.n**2 * (4 if self.dtype.is_complex else 1)

    def __call__(self, h: Tensor) -> Tensor:
        """:math:`W h` for each row: ``h @ W.T``, shape (..., n)."""
        return self._run(self._multiply, h)

    def adjoint(self, h: Tensor) -> Tensor:
        """:math:`W^H h` for each row: ``h @ W.conj()``, shape (..., n)."""
        return self._run(self._multiply_adjoint, h)

    def _run(self, function: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
        if h.shape[-1:] != (self.n,):
            raise ValueError(
                f"last dimension of h is {tuple(h.shape[-1:])}, but W is {self.n} x {self.n}; "
                f"pass h of shape (..., {self.n})"
            )
        if not (h.is_floating_point() or h.is_complex()):
            raise TypeError(f"h has dtype {h.dtype}; pass floating-point or complex numbers")
        if h.is_complex() and not self.dtype.is_complex:
            return torch.complex(self._run(function, h.real), self._run(function, h.imag))
        with without_autocast(self.device):
            out = function(h.to(self.dtype))
        low = linalg.is_low_precision(h.dtype) and not out.is_complex()
        return out.to(h.dtype) if low else out

    def matrix(self) -> Tensor:
        """Return W, shape (n, n)."""
        return self.columns(self.n)

    def columns(self, k: int) -> Tensor:
        """Return the first k columns of W, shape (n, k), by k applications."""
        return self._multiply(torch.eye(k, self.n, dtype=self.dtype, device=self.device)).mT

    @abstractmethod
    def _multiply(self, h: Tensor) -> Tensor:
        """``h @ W.T`` for h of shape (..., n) in the dtype of W."""

    @abstractmethod
    def _multiply_adjoint(self, h: Tensor) -> Tensor:
        """``h @ W.conj()`` for h of shape (..., n) in the dtype of W."""


class DenseMap(LinearMap):
    """The map of a matrix W (n, n) that is given."""

    def __init__(self, w: Tensor) -> None:
        self._w = w
        self.n, self.dtype, self.device = w.shape[-1], w.dtype, w.device

    def columns(self, k: int) -> Tensor:
        """Return the first k columns of W, shape (n, k)."""
        return self._w if k == self.n else self._w[:, :k]

    def _multiply(self, h: Tensor) -> Tensor:
        return h @ self._w.mT

    def _multiply_adjoint(self, h: Tensor) -> Tensor:
        return h @ self._w.conj()
