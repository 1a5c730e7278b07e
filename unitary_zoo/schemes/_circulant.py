"""Circulant matrices: applied by FFT, and taken to the Fourier basis."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo.base import LinearMap


def in_fourier_basis(w: Tensor) -> Tensor:
    r"""Return :math:`F W F^H` for W (n, n), F the unitary DFT: diagonal if W is circulant."""
    return torch.fft.fft(torch.fft.ifft(w, dim=1), dim=0)


class CirculantMap(LinearMap):
    r""":math:`W = F^H \Lambda F` applied by two FFTs, F the unitary DFT."""

    def __init__(self, eigenvalues: Tensor) -> None:
        self._eigenvalues = eigenvalues
        self.n, self.dtype = eigenvalues.numel(), eigenvalues.dtype
        self.device = eigenvalues.device

    @property
    def multiplications(self) -> float:
        """Two transforms of 2 n log2 n, and a diagonal of 4 n."""
        return 4 * self.n * math.log2(self.n) + 4 * self.n

    def _multiply(self, h: Tensor) -> Tensor:
        return torch.fft.ifft(self._eigenvalues * torch.fft.fft(h))

    def _multiply_adjoint(self, h: Tensor) -> Tensor:
        return torch.fft.ifft(self._eigenvalues.conj() * torch.fft.fft(h))
