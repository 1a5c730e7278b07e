r"""W = D F_L ... F_1: rotations of units 1, 2, 4, ... apart."""

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
from unitary_zoo.schemes._butterfly import butterfly_angles, butterfly_strides
from unitary_zoo.schemes._rotations import PairProduct, pair_count


def _pairs(n: int) -> int:
    """Return the number of blocks, that of the ones in the binary digits of 0, 1, ..., n - 1."""
    return sum(pair_count(n, stride) for stride in butterfly_strides(n))


def _complex_dimension(n: int) -> int:
    return 2 * _pairs(n) + n


@Parametrization.register("butterfly")
class Butterfly(PairProduct):
    r""":math:`W = D F_L \cdots F_1`, L = ceil(log2 n), :math:`D = \mathrm{diag}(e^{i\omega})`.

    :math:`F_k` pairs the units i and :math:`i + 2^{k-1}` within groups of :math:`2^k`, each pair
    by a block :math:`\begin{pmatrix} \cos\theta & -e^{i\phi} \sin\theta \\ \sin\theta & e^{i\phi}
    \cos\theta \end{pmatrix}`; a unit whose partner would lie beyond the last is left alone, so
    any n will do. Real: without phi and omega. O(n log n).

    General unitary blocks (four angles each) reach nothing more, since their other phases move
    through the later layers into D. ``eunn_fft`` has the same blocks with strides n/2, ..., 2, 1
    and needs n to be a power of two. ``butterfly`` is the form of Dao et al. with unitary blocks
    and reaches the Fourier transform of a bit-reversed input.

    Learnable: ``theta`` and ``phi``, one number for each block, layer after layer, and ``omega``
    (n). ``reset_parameters("butterfly")``, the default, draws all uniform in (-pi, pi).
    ``assign_`` takes any W of this form exactly; for another W, with ``nearest=True``, it takes a
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
            "complex": replace(
                UNITARY, dimension=_complex_dimension, cost="O(n log n)", whole=False
            ),
            "real": replace(SPECIAL_ORTHOGONAL, dimension=_pairs, cost="O(n log n)", whole=False),
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

    _own_init = "butterfly"

    def __init__(self, n: int, *, generator: torch.Generator | None = None, **options: Any) -> None:
        super().__init__(n, **options)
        self._create_angles()
        self.reset_parameters(generator=generator)

    def _layouts(self) -> list[tuple[int, int]]:
        return [(stride, 0) for stride in butterfly_strides(self.n)]

    def _assign(self, w: Tensor) -> None:
        theta, phi, omega = butterfly_angles(w)
        self._set(torch.cat(theta), torch.cat(phi), omega)
