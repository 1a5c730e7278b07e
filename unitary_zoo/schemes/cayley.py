r"""W = (I + A)^{-1} (I - A): the Cayley transform of a skew matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.base import (
    SPECIAL_ORTHOGONAL,
    UNITARY,
    DenseMap,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)


@Parametrization.register("cayley")
class Cayley(Static):
    r""":math:`W = (I + A)^{-1} (I - A)`, A skew: SO(n) or U(n) without the eigenvalue -1.

    Learnable: ``theta``, the n(n-1)/2 (real) or n^2 (complex) coordinates of A, see
    :func:`unitary_zoo.linalg.skew_from_coordinates`. An eigenvalue :math:`ia` of A becomes the
    angle :math:`-2 \arctan a` of W. A matrix with an eigenvalue -1 is a limit, not a value:
    ``assign_(w, nearest=True)`` stops just short of it.

    The default start is ``henaff``, angles in (-pi, pi), by measurement (docs/choosing.md). That of
    the paper, ``reset_parameters("cayley")``, has angles in (0, pi/2) alone and learns more slowly.

    Args:
        n: Size of W.
        field: "real" (default) or "complex".
        device: Device.
        dtype: Real dtype of the parameters.

    Source: Helfrich, Willmott and Ye, Orthogonal recurrent neural networks with scaled Cayley
    transform, 2018 (here with D = I).
    """

    info = SchemeInfo(
        name="cayley",
        title="W = (I + A)^{-1} (I - A), A skew",
        reference="""@inproceedings{helfrich2018orthogonal,
  title     = {Orthogonal Recurrent Neural Networks with Scaled {Cayley} Transform},
  author    = {Helfrich, Kyle and Willmott, Devin and Ye, Qiang},
  booktitle = {International Conference on Machine Learning},
  year      = {2018}
}""",
        family="static",
        claims={"real": SPECIAL_ORTHOGONAL, "complex": UNITARY},
        field="real",
        tolerance=Tolerance(
            8.0,
            "the inverse of short columns rounds by a few sqrt(n) eps; else a Newton-Schulz step "
            "leaves the rounding of two products",
        ),
        default_init="henaff",
    )

    _batched = ("theta",)

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        d = linalg.skew_dimension(n, self.field)
        self.theta = nn.Parameter(torch.zeros(d, **self._factory))
        self.reset_parameters()

    def _prepare(self) -> LinearMap:
        return DenseMap(self._matrix_of(self._promoted(self.theta)))

    def _matrix_of(self, *tensors: Tensor) -> Tensor:
        (theta,) = tensors
        return linalg.cayley_of_coordinates(theta, self.n, self.field)

    def _assign(self, w: Tensor) -> None:
        # At this margin the largest coordinate, 2 / sqrt(eps), leaves half the digits to others.
        w = linalg.away_from_minus_one(w, linalg.eps(self.theta.dtype) ** 0.5)
        self.theta.copy_(linalg.skew_to_coordinates(linalg.inverse_cayley(w)))
