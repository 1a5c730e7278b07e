r"""W = D F_L ... F_1: rotations of units n/2, n/4, ..., 1 apart, the FFT's flow of data."""

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


def _power_of_two(n: int) -> bool:
    return n >= 1 and n & (n - 1) == 0


def _layers(n: int) -> int:
    return n.bit_length() - 1


def _real_dimension(n: int) -> int:
    return _layers(n) * n // 2


def _complex_dimension(n: int) -> int:
    return _layers(n) * n + n


class EUNNFFTMap(LinearMap):
    """The layers, applied one after the other to rows, and the permutation if there is one."""

    def __init__(self, layers: Sequence[linalg.PairLayer], reversal: Tensor | None) -> None:
        self._layers, self._reversal, like = layers, reversal, layers[0].diagonal
        self.n, self.dtype, self.device = like.numel(), like.dtype, like.device

    @property
    def multiplications(self) -> float:
        """Two a unit and layer, of complex numbers four times as many."""
        return len(self._layers) * 2 * self.n * (4 if self.dtype.is_complex else 1)

    def _apply(self, h: Tensor) -> Tensor:
        h = linalg.apply_layers(h, self._layers)
        return h if self._reversal is None else h[..., self._reversal]

    def _adjoint(self, h: Tensor) -> Tensor:
        h = h if self._reversal is None else h[..., self._reversal]  # its own inverse
        return linalg.apply_layers_adjoint(h, self._layers)


@Parametrization.register("eunn_fft")
class EUNNFFT(Static):
    r""":math:`W = D F_L \cdots F_1`, L = log2 n, :math:`D = \mathrm{diag}(e^{i\omega})`.

    :math:`F_k` pairs the units i and :math:`i + n/2^k` by blocks :math:`\begin{pmatrix} \cos\theta
    & -e^{i\phi} \sin\theta \\ \sin\theta & e^{i\phi} \cos\theta \end{pmatrix}`: the flow of data of
    the FFT with its input in order and its output in the order of reversed bits. With
    ``permute=True`` a last factor P puts the output in order, W = P D F_L ... F_1, and
    ``reset_parameters("dft")`` gives exactly the unitary DFT. Real: without phi and omega.
    O(n log n), n a power of two; ``butterfly`` serves any n, with the strides the other way round.

    Learnable: ``theta`` and ``phi``, one number for each block, layer after layer, and ``omega``
    (n): n log2 n + n numbers if complex. ``reset_parameters("eunn_fft")``, the default, draws all
    uniform in (-pi, pi), as the authors' code does. ``assign_`` takes any W of this form, exactly;
    of another with ``nearest=True`` it takes one of this form nearby, not the nearest.

    Args:
        n: Size of W, a power of two.
        permute: Put the output in order; complex only, as P has determinant -1 for some n.
        field: "complex" (default) or "real".
        generator: Source of randomness for the parameters.
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        ValueError: n is not a power of two, or permute=True with field="real".

    Source: Jing, Shen, Dubcek, Peurifoy, Skirlo, LeCun, Tegmark and Soljacic, Tunable efficient
    unitary neural networks (EUNN), 2017, the FFT-style form.
    """

    info = SchemeInfo(
        name="eunn_fft",
        title="W = D F_L ... F_1, rotations n/2, ..., 2, 1 units apart",
        reference="""@inproceedings{jing2017tunable,
  title     = {Tunable Efficient Unitary Neural Networks ({EUNN}) and their Application to
               {RNN}s},
  author    = {Jing, Li and Shen, Yichen and Dubcek, Tena and Peurifoy, John and Skirlo, Scott
               and LeCun, Yann and Tegmark, Max and Solja{\\v{c}}i{\\'c}, Marin},
  booktitle = {International Conference on Machine Learning},
  year      = {2017}
}""",
        family="static",
        claims={
            "complex": FieldClaims(
                "subset of U(n)", _complex_dimension, "unit circle", "O(n log n)"
            ),
            "real": FieldClaims("subset of SO(n)", _real_dimension, "+1", "O(n log n)"),
        },
        field="complex",
        tolerance=Tolerance(
            32.0,
            "blocks of defect 2 eps in L + 1 <= 2.2 sqrt(n) factors; k layers mix 2^k units, so "
            "that rounding by 2 eps makes errors of norm 2^(k/2) * 3 eps, in all 10 sqrt(n) eps, "
            "twice in W^H W",
        ),
        default_init="eunn_fft",
        accepts=_power_of_two,
    )

    def __init__(
        self,
        n: int,
        *,
        permute: bool = False,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(n, **options)
        if permute and self.field == "real":
            raise ValueError(
                f"eunn_fft: permute={permute!r} with field='real' would leave SO(n) for some n; "
                "leave it out, or use field='complex'"
            )
        self.permute = permute
        angles = _real_dimension(n)
        self.theta = nn.Parameter(torch.zeros(angles, **self._factory))
        if self.field == "complex":
            self.phi = nn.Parameter(torch.zeros(angles, **self._factory))
            self.omega = nn.Parameter(torch.zeros(n, **self._factory))
        self.reset_parameters(generator=generator)

    def _strides(self) -> list[int]:
        return linalg.butterfly_strides(self.n)[::-1]

    def _prepare(self) -> LinearMap:
        strides, half = self._strides(), self.n // 2
        thetas = self._full(self.theta).reshape(len(strides), half)
        if self.field == "real":
            return EUNNFFTMap(
                [
                    linalg.rotation_layer(theta, None, self.n, s)
                    for theta, s in zip(thetas.unbind(), strides, strict=True)
                ],
                None,
            )
        phis = self._full(self.phi).reshape(len(strides), half)
        layers = [
            linalg.rotation_layer(theta, phi, self.n, s)
            for theta, phi, s in zip(thetas.unbind(), phis.unbind(), strides, strict=True)
        ]
        reversal = linalg.bit_reversal(self.n, self.device) if self.permute else None
        return EUNNFFTMap(linalg.phased(layers, self._full(self.omega)), reversal)

    def _assign(self, w: Tensor) -> None:
        # Renamed by the reversal of their bits, units n/2 apart become neighbours.
        p = linalg.bit_reversal(self.n, w.device)
        w = w if self.permute else w[p]
        theta, phi, omega = linalg.butterfly_angles(w[:, p])
        # The blocks of a butterfly's layer stand in the order of its first units.
        order = [
            p[linalg.pair_indices(self.n, s, device=w.device)[0]].argsort()
            for s in linalg.butterfly_strides(self.n)
        ]
        self.theta.copy_(torch.cat([x[i] for x, i in zip(theta, order, strict=True)]))
        if self.field == "complex":
            self.phi.copy_(torch.cat([x[i] for x, i in zip(phi, order, strict=True)]))
            self.omega.copy_(omega[p])

    def _initialize(self, init: str, generator: torch.Generator | None) -> None:
        if init != self.info.default_init:
            return super()._initialize(init, generator)  # which refuses what it cannot hold
        device = generator.device if generator is not None else self.device
        for q in self.parameters():
            x = torch.rand(q.shape, generator=generator, device=device)
            q.copy_((2 * x - 1) * math.pi)
