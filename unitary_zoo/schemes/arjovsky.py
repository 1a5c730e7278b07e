r"""W = D3 R2 F^{-1} D2 P R1 F D1: the structured product of the first unitary RNN."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo.base import (
    UNITARY,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)
from unitary_zoo.linalg import from_real_parts


def _dimension(n: int) -> int:
    # Seven of the 7n parameters move nothing: a complex factor of each reflector (4), the means of
    # two of the three phase vectors (2), and a common rotation of the two reflectors in their
    # plane, which keeps the product of the reflections (1). So U(n) is covered up to n = 5 only.
    return min(n * n, 7 * n - 7) if n > 1 else 1


class ArjovskyMap(LinearMap):
    """The eight factors, applied one after the other to rows."""

    def __init__(self, phases: Tensor, reflectors: Tensor, permutation: Tensor) -> None:
        diagonals = torch.polar(torch.ones_like(phases), phases)
        self._d1, self._d2, self._d3 = diagonals.unbind()
        self._v1, self._v2 = _unit(from_real_parts(reflectors, "complex")).unbind()
        self._permutation, self._inverse = permutation, permutation.argsort()
        self.n, self.dtype = self._d1.numel(), self._d1.dtype
        self.device = self._d1.device

    @property
    def multiplications(self) -> float:
        """Two transforms of 2 n log2 n, three diagonals of 4 n, two reflections of 8 n."""
        return 4 * self.n * math.log2(self.n) + 28 * self.n

    def _multiply(self, h: Tensor) -> Tensor:
        h = _reflect(torch.fft.fft(h * self._d1, norm="ortho"), self._v1)
        h = torch.fft.ifft(h[..., self._permutation] * self._d2, norm="ortho")
        return _reflect(h, self._v2) * self._d3

    def _multiply_adjoint(self, h: Tensor) -> Tensor:
        h = torch.fft.fft(_reflect(h * self._d3.conj(), self._v2), norm="ortho")
        h = _reflect((h * self._d2.conj())[..., self._inverse], self._v1)
        return torch.fft.ifft(h, norm="ortho") * self._d1.conj()


def _unit(v: Tensor) -> Tensor:
    """Scale rows to unit length; a zero row stays zero, and its reflection is the identity."""
    largest = v.detach().abs().amax(-1, keepdim=True)
    v = v / torch.where(largest > 0, largest, 1.0)  # squares neither underflow nor overflow
    squared = (v.real.square() + v.imag.square()).sum(-1, keepdim=True)
    return v / torch.where(squared > 0, squared, 1.0).sqrt()


def _reflect(h: Tensor, v: Tensor) -> Tensor:
    """``h - 2 v <v, h>`` for each row."""
    return h - 2 * (h @ v.conj()).unsqueeze(-1) * v


@Parametrization.register("arjovsky")
class Arjovsky(Static):
    r""":math:`W = D_3 R_2 F^{-1} D_2 \Pi R_1 F D_1`, complex, O(n log n).

    :math:`D_k = \mathrm{diag}(e^{i \omega_k})`, :math:`R_k = I - 2 v_k v_k^H / \|v_k\|^2`, F the
    unitary DFT, :math:`(\Pi x)_i = x_{\pi(i)}` a permutation drawn once. Learnable: ``phases``
    (3, n) and ``reflectors`` (2, n, 2), real and imaginary parts: 7n numbers.

    ``reset_parameters("arjovsky")``, the default, draws phases uniform in (-pi, pi) and reflector
    entries uniform in (-1, 1), as in the paper, and the permutation anew.

    Args:
        n: Size of W.
        generator: Source of randomness for permutation and parameters.
        device: Device.
        dtype: Real dtype of the parameters.

    Source: Arjovsky, Shah and Bengio, Unitary evolution recurrent neural networks, 2016.
    """

    info = SchemeInfo(
        name="arjovsky",
        title="W = D3 R2 F^{-1} D2 P R1 F D1",
        reference="""@inproceedings{arjovsky2016unitary,
  title     = {Unitary Evolution Recurrent Neural Networks},
  author    = {Arjovsky, Martin and Shah, Amar and Bengio, Yoshua},
  booktitle = {International Conference on Machine Learning},
  year      = {2016}
}""",
        family="static",
        claims={
            "complex": replace(UNITARY, dimension=_dimension, cost="O(n log n)", whole=False),
        },
        field="complex",
        tolerance=Tolerance(
            32.0,
            "at n = 1, where they weigh most, 12 eps for the length of each reflector and 2 for "
            "each of three phases",
        ),
        assignable=False,
        default_init="arjovsky",
    )

    permutation: Tensor
    _own_init = "arjovsky"

    def __init__(self, n: int, *, generator: torch.Generator | None = None, **options: Any) -> None:
        super().__init__(n, **options)
        self.phases = nn.Parameter(torch.zeros(3, n, **self._factory))
        self.reflectors = nn.Parameter(torch.zeros(2, n, 2, **self._factory))
        self.register_buffer("permutation", torch.arange(n, device=self.device))
        self.reset_parameters(generator=generator)

    def _prepare(self) -> LinearMap:
        return ArjovskyMap(
            self._promoted(self.phases), self._promoted(self.reflectors), self.permutation
        )

    def _start_own(self, generator: torch.Generator | None) -> None:
        source = self._random_source(generator)
        self.permutation.copy_(torch.randperm(self.n, **source))
        self.phases.copy_((2 * torch.rand(self.phases.shape, **source) - 1) * math.pi)
        self.reflectors.copy_(2 * torch.rand(self.reflectors.shape, **source) - 1)
