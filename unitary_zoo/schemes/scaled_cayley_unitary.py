r"""W = (I + A)^{-1} (I - A) D: the Cayley transform scaled by learned phases."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.base import (
    UNITARY,
    DenseMap,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)


@Parametrization.register("scaled_cayley_unitary")
class ScaledCayleyUnitary(Static):
    r""":math:`W = (I + A)^{-1} (I - A) D`, :math:`A^H = -A`, :math:`D = \mathrm{diag}(e^{i\phi})`.

    Complex. Learnable: ``theta`` (n^2), the coordinates of A, see
    :func:`unitary_zoo.linalg.skew_from_coordinates`, and ``phases`` (n), the phi. These are n more
    numbers than U(n) has dimensions; every unitary W is reached by many. ``assign_`` takes phases
    for which the entries of A are at most 1 in size, so eigenvalues -1 of W do no harm.

    ``reset_parameters("scaled_cayley")``, the default, starts as the paper does: A real with 2 x 2
    blocks of entries :math:`\mp\tan(t/2)`, t uniform in (0, pi/2), and phases uniform in
    (0, 2 pi).

    Args:
        n: Size of W.
        device: Device.
        dtype: Real dtype of the parameters.

    Source: Maduranga, Helfrich and Ye, Complex unitary recurrent neural networks using scaled
    Cayley transform, 2019.
    """

    info = SchemeInfo(
        name="scaled_cayley_unitary",
        title="W = (I + A)^{-1} (I - A) D, A skew-Hermitian, D = diag(exp(i phi))",
        reference="""@inproceedings{maduranga2019complex,
  title     = {Complex Unitary Recurrent Neural Networks Using Scaled {Cayley} Transform},
  author    = {Maduranga, Kehelwala D. G. and Helfrich, Kyle E. and Ye, Qiang},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year      = {2019}
}""",
        family="static",
        claims={"complex": UNITARY},
        field="complex",
        tolerance=Tolerance(
            12.0,
            "8 for the Cayley transform, as for real matrices, and 4 for the moduli of D, which "
            "are right to an eps or two each",
        ),
        default_init="scaled_cayley",
    )

    _own_init = "scaled_cayley"

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self.theta = nn.Parameter(torch.zeros(n * n, **self._factory))
        self.phases = nn.Parameter(torch.zeros(n, **self._factory))
        self.reset_parameters()

    def _prepare(self) -> LinearMap:
        a = linalg.skew_from_coordinates(self._promoted(self.theta), self.n, "complex")
        phases = self._promoted(self.phases)
        return DenseMap(linalg.cayley(a) * torch.polar(torch.ones_like(phases), phases))

    def _assign(self, w: Tensor) -> None:
        a, d = linalg.inverse_scaled_cayley(w)
        self.theta.copy_(linalg.skew_to_coordinates(a))
        self.phases.copy_(d.angle())

    def _start_own(self, generator: torch.Generator | None) -> None:
        m = self.n // 2
        drawn = torch.rand(m + self.n, **self._random_source(generator)).to(self.device)
        a = self._promoted(self.theta).new_zeros(self.n, self.n)
        i = torch.arange(0, self.n - 1, 2, device=self.device)
        a[i, i + 1] = -(drawn[:m] * (math.pi / 4)).tan().to(a)
        self.theta.copy_(linalg.skew_to_coordinates((a - a.mT).to(linalg.complex_dtype(a.dtype))))
        self.phases.copy_(drawn[m:] * (2 * math.pi))
