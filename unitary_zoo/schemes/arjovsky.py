r"""W = D3 R2 F^{-1} D2 P R1 F D1: the structured product of the first unitary RNN."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo.base import (
    UNITARY,
    Diagonal,
    FactoredMap,
    Fourier,
    LinearMap,
    Parametrization,
    Permutation,
    Reflection,
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


def _unit(v: Tensor) -> Tensor:
    """Scale rows to unit length; a zero row stays zero, and its reflection is the identity."""
    largest = v.detach().abs().amax(-1, keepdim=True)
    v = v / torch.where(largest > 0, largest, 1.0)  # squares neither underflow nor overflow
    squared = (v.real.square() + v.imag.square()).sum(-1, keepdim=True)
    return v / torch.where(squared > 0, squared, 1.0).sqrt()


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
        phases = self._promoted(self.phases)
        d1, d2, d3 = torch.polar(torch.ones_like(phases), phases).unbind()
        v1, v2 = _unit(from_real_parts(self._promoted(self.reflectors), "complex")).unbind()
        factors = (
            Diagonal(), Fourier(), Reflection(), Permutation(self.permutation),
            Diagonal(), Fourier(inverse=True), Reflection(), Diagonal(),
        )  # fmt: skip
        return FactoredMap(self.n, factors, torch.cat([d1, v1, d2, v2, d3]))

    def _start_own(self, generator: torch.Generator | None) -> None:
        source = self._random_source(generator)
        self.permutation.copy_(torch.randperm(self.n, **source))
        self.phases.copy_((2 * torch.rand(self.phases.shape, **source) - 1) * math.pi)
        self.reflectors.copy_(2 * torch.rand(self.reflectors.shape, **source) - 1)
