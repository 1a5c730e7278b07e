r"""W = D F_L ... F_1: rotations of units n/2, n/4, ..., 1 apart, the FFT's flow of data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unitary_zoo.base import (
    SPECIAL_ORTHOGONAL,
    UNITARY,
    Parametrization,
    SchemeInfo,
    Tolerance,
)
from unitary_zoo.schemes._butterfly import bit_reversal, butterfly_angles, butterfly_strides
from unitary_zoo.schemes._rotations import PairProduct, pair_indices


def _power_of_two(n: int) -> bool:
    return n >= 1 and n & (n - 1) == 0


def _layers(n: int) -> int:
    return n.bit_length() - 1


def _real_dimension(n: int) -> int:
    return _layers(n) * n // 2


def _complex_dimension(n: int) -> int:
    return _layers(n) * n + n


@Parametrization.register("eunn_fft")
class EUNNFFT(PairProduct):
    r""":math:`W = D F_L \cdots F_1`, L = log2 n, :math:`D = \mathrm{diag}(e^{i\omega})`.

    :math:`F_k` pairs the units i and :math:`i + n/2^k` by blocks :math:`\begin{pmatrix} \cos\theta
    & -e^{i\phi} \sin\theta \\ \sin\theta & e^{i\phi} \cos\theta \end{pmatrix}`: the flow of data of
    the FFT with its input in order and its output in bit-reversed order. With
    ``permute=True`` a last factor P puts the output in order, W = P D F_L ... F_1, and
    ``reset_parameters("dft")`` gives exactly the unitary DFT. Real: without phi and omega.
    O(n log n), n a power of two; ``butterfly`` serves any n, with the strides the other way round.

    Learnable: ``theta`` and ``phi``, one number for each block, layer after layer, and ``omega``
    (n): n log2 n + n numbers if complex. ``reset_parameters("eunn_fft")``, the default, draws all
    uniform in (-pi, pi), as the authors' code does. ``assign_`` takes any W of this form exactly;
    for another W, with ``nearest=True``, it takes one of this form nearby, not the nearest.

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
            "complex": replace(
                UNITARY, dimension=_complex_dimension, cost="O(n log n)", whole=False
            ),
            "real": replace(
                SPECIAL_ORTHOGONAL, dimension=_real_dimension, cost="O(n log n)", whole=False
            ),
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

    _own_init = "eunn_fft"

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
        self._create_angles()
        self.reset_parameters(generator=generator)

    def _layouts(self) -> list[tuple[int, int]]:
        return [(s, 0) for s in reversed(butterfly_strides(self.n))]

    def _reversal(self) -> Tensor | None:
        return bit_reversal(self.n, self.device) if self.permute else None

    def _assign(self, w: Tensor) -> None:
        # Bit reversal makes units that are n/2 apart neighbours.
        p = bit_reversal(self.n, w.device)
        w = w if self.permute else w[p]
        theta, phi, omega = butterfly_angles(w[:, p])
        # A butterfly stores the blocks of a layer in the order of their first units.
        order = [
            p[pair_indices(self.n, s, device=w.device)[0]].argsort()
            for s in butterfly_strides(self.n)
        ]
        theta, phi = (
            [x[i] for x, i in zip(of_layers, order, strict=True)] for of_layers in (theta, phi)
        )
        self._set(torch.cat(theta), torch.cat(phi), omega[p])
