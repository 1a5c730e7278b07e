r"""W = (I + A)^{-1} (I - A) D: the Cayley transform scaled by fixed signs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.base import (
    ORTHOGONAL,
    DenseMap,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)
from unitary_zoo.errors import check_int


@Parametrization.register("scaled_cayley")
class ScaledCayley(Static):
    r""":math:`W = (I + A)^{-1} (I - A) D`, A real skew, D diagonal of fixed signs: O(n).

    Learnable: ``theta`` (n(n-1)/2), the entries of A above its diagonal. D is the buffer ``signs``
    (n). Training does not change it, nor the determinant, :math:`(-1)^m` for m entries -1;
    ``assign_`` and the named initialisers, which give W itself, choose D anew so that
    :math:`|a_{ij}| \le 1`. For every orthogonal W there is such a D, eigenvalues -1 or not.

    ``reset_parameters("scaled_cayley")``, the default, starts as the paper does: the last m signs
    are -1, and A has 2 x 2 blocks with entries :math:`\mp\tan(t/2)`, t uniform in (0, pi/2), so
    that without D the blocks would rotate by t.

    Args:
        n: Size of W.
        negative_ones: m, the number of -1 in D at that start. None is n/2, as in the paper's
            copying task (it is a hyperparameter there), rounded to the number of the
            determinant wanted, +1 unless ``determinant=-1``.
        determinant: +1 for SO(n), -1 for the other component, None for all of O(n).
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        ValueError: ``negative_ones`` is not in 0..n, or its parity contradicts ``determinant``.
        TypeError: ``negative_ones`` is not an int.

    Source: Helfrich, Willmott and Ye, Orthogonal recurrent neural networks with scaled Cayley
    transform, 2018.
    """

    info = SchemeInfo(
        name="scaled_cayley",
        title="W = (I + A)^{-1} (I - A) D, A skew, D = diag(+-1)",
        reference="""@inproceedings{helfrich2018orthogonal,
  title     = {Orthogonal Recurrent Neural Networks with Scaled {Cayley} Transform},
  author    = {Helfrich, Kyle and Willmott, Devin and Ye, Qiang},
  booktitle = {International Conference on Machine Learning},
  year      = {2018}
}""",
        family="static",
        claims={"real": ORTHOGONAL},
        field="real",
        tolerance=Tolerance(
            8.0,
            "the inverse of short columns rounds by a few sqrt(n) eps; else a Newton-Schulz step "
            "leaves the rounding of two products; D is exact",
        ),
        default_init="scaled_cayley",
    )

    signs: Tensor
    _own_init = "scaled_cayley"

    def __init__(self, n: int, *, negative_ones: int | None = None, **options: Any) -> None:
        super().__init__(n, **options)
        self.negative_ones = self._count(negative_ones)
        d = linalg.skew_dimension(n, "real")
        self.theta = nn.Parameter(torch.zeros(d, **self._factory))
        self.register_buffer("signs", torch.ones(n, **self._factory))
        self.reset_parameters()

    def _count(self, negative_ones: int | None) -> int:
        half = self.n // 2
        if negative_ones is None:
            return half if (-1) ** half == self.initial_determinant else half + 1
        check_int("scaled_cayley: negative_ones", negative_ones, 0)
        if negative_ones > self.n:
            raise ValueError(
                f"scaled_cayley: negative_ones={negative_ones}; pass a number from 0 to {self.n}"
            )
        sign = (-1) ** negative_ones
        if self.determinant is not None and sign != self.determinant:
            raise ValueError(
                f"scaled_cayley: negative_ones={negative_ones} gives determinant {sign:+d}, but "
                f"determinant={self.determinant:+d} asks for the other; pass a number of the "
                "other parity, or leave one of the two out"
            )
        self.initial_determinant = sign
        return negative_ones

    def _prepare(self) -> LinearMap:
        a = linalg.skew_from_coordinates(self._promoted(self.theta), self.n, "real")
        return DenseMap(linalg.cayley(a) * self._promoted(self.signs))

    def _assign(self, w: Tensor) -> None:
        a, signs = linalg.inverse_scaled_cayley(w)
        self.theta.copy_(linalg.skew_to_coordinates(a))
        self.signs.copy_(signs)

    def _start_own(self, generator: torch.Generator | None) -> None:
        t = torch.rand(self.n // 2, **self._random_source(generator)) * (math.pi / 2)
        a = self._promoted(self.theta).new_zeros(self.n, self.n)
        i = torch.arange(0, self.n - 1, 2, device=self.device)
        a[i, i + 1] = -(t / 2).tan().to(a)
        self.theta.copy_(linalg.skew_to_coordinates(a - a.mT))
        self.signs.fill_(1.0)
        self.signs[self.n - self.negative_ones :] = -1.0
