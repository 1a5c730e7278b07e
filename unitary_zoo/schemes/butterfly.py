r"""W = D F_L ... F_1: rotations of units 1, 2, 4, ... apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.base import (
    FieldClaims,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)


def _pairs(n: int) -> int:
    """Number of blocks: of the ones in the binary digits of 0, 1, ..., n - 1."""
    return sum(linalg.pair_count(n, stride) for stride in linalg.butterfly_strides(n))


def _complex_dimension(n: int) -> int:
    return 2 * _pairs(n) + n


class ButterflyMap(LinearMap):
    """The layers, applied one after the other to rows."""

    def __init__(self, layers: Sequence[linalg.PairLayer]) -> None:
        self._layers, like = layers, layers[0].diagonal
        self.n, self.dtype, self.device = like.numel(), like.dtype, like.device

    @property
    def multiplications(self) -> float:
        """Two a unit and layer, of complex numbers four times as many."""
        return len(self._layers) * 2 * self.n * (4 if self.dtype.is_complex else 1)

    def _apply(self, h: Tensor) -> Tensor:
        return linalg.apply_layers(h, self._layers)

    def _adjoint(self, h: Tensor) -> Tensor:
        return linalg.apply_layers_adjoint(h, self._layers)


@Parametrization.register("butterfly")
class Butterfly(Static):
    r""":math:`W = D F_L \cdots F_1`, L = ceil(log2 n), :math:`D = \mathrm{diag}(e^{i\omega})`.

    :math:`F_k` pairs the units i and :math:`i + 2^{k-1}` within groups of :math:`2^k`, each pair
    by a block :math:`\begin{pmatrix} \cos\theta & -e^{i\phi} \sin\theta \\ \sin\theta & e^{i\phi}
    \cos\theta \end{pmatrix}`; a unit whose partner would lie beyond the last is left alone, so
    any n will do. Real: without phi and omega. O(n log n).

    General unitary blocks (four angles each) reach nothing more: their other phases go through
    the later layers into D. ``eunn_fft`` has the same blocks with strides n/2, ..., 2, 1 and only
    powers of two; ``butterfly`` is the form of Dao et al., with unitary twiddles, and reaches the
    Fourier transform of a bit-reversed input.

    Learnable: ``theta`` and ``phi``, one number for each block, layer after layer, and ``omega``
    (n). ``reset_parameters("butterfly")``, the default, draws all uniform in (-pi, pi).
    ``assign_`` takes any W of this form, exactly; of another with ``nearest=True`` it takes a
    butterfly matrix nearby, not the nearest.

    Args:
        n: Size of W.
        field: "complex" (default) or "real".
        generator: Source of randomness for the parameters.
        device: Device.
        dtype: Real dtype of the parameters.

    Source: Dao, Gu, Eichhorn, Rudra and Re, Learning fast algorithms for linear transforms using
    butterfly factorizations, 2019.
    """

    info = SchemeInfo(
        name="butterfly",
        title="W = D F_L ... F_1, rotations 1, 2, 4, ... units apart",
        reference="""@inproceedings{dao2019learning,
  title     = {Learning Fast Algorithms for Linear Transforms Using Butterfly Factorizations},
  author    = {Dao, Tri and Gu, Albert and Eichhorn, Matthew and Rudra, Atri and R{\\'e},
               Christopher},
  booktitle = {International Conference on Machine Learning},
  year      = {2019}
}""",
        family="static",
        claims={
            "complex": FieldClaims(
                "subset of U(n)", _complex_dimension, "unit circle", "O(n log n)"
            ),
            "real": FieldClaims("subset of SO(n)", _pairs, "+1", "O(n log n)"),
        },
        field="complex",
        tolerance=Tolerance(
            32.0,
            "blocks of defect 2 eps in L + 1 <= 2.4 sqrt(n) factors; k layers mix 2^k units, so "
            "that rounding by 2 eps makes errors of norm 2^(k/2) * 3 eps, in all 10 sqrt(n) eps, "
            "twice in W^H W",
        ),
        default_init="butterfly",
    )

    def __init__(self, n: int, *, generator: torch.Generator | None = None, **options: Any) -> None:
        super().__init__(n, **options)
        self.theta = nn.Parameter(torch.zeros(_pairs(n), **self._factory))
        if self.field == "complex":
            self.phi = nn.Parameter(torch.zeros(_pairs(n), **self._factory))
            self.omega = nn.Parameter(torch.zeros(n, **self._factory))
        self.reset_parameters(generator=generator)

    def _prepare(self) -> LinearMap:
        strides = linalg.butterfly_strides(self.n)
        sizes = [linalg.pair_count(self.n, s) for s in strides]
        thetas = self._full(self.theta).split(sizes)
        if self.field == "real":
            return ButterflyMap(
                [
                    linalg.rotation_layer(theta, None, self.n, s)
                    for theta, s in zip(thetas, strides, strict=True)
                ]
            )
        phis = self._full(self.phi).split(sizes)
        layers = [
            linalg.rotation_layer(theta, phi, self.n, s)
            for theta, phi, s in zip(thetas, phis, strides, strict=True)
        ]
        return ButterflyMap(linalg.phased(layers, self._full(self.omega)))

    def _assign(self, w: Tensor) -> None:
        theta, phi, omega = linalg.butterfly_angles(w)
        self.theta.copy_(torch.cat(theta))
        if self.field == "complex":
            self.phi.copy_(torch.cat(phi))
            self.omega.copy_(omega)

    def _initialize(self, init: str, generator: torch.Generator | None) -> None:
        if init != self.info.default_init:
            return super()._initialize(init, generator)  # which refuses what it cannot hold
        device = generator.device if generator is not None else self.device
        for q in self.parameters():
            x = torch.rand(q.shape, generator=generator, device=device)
            q.copy_((2 * x - 1) * math.pi)
