r"""W = exp(A): the exponential of a skew matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.base import (
    SPECIAL_ORTHOGONAL,
    UNITARY_OR_SPECIAL,
    DenseMap,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)


@Parametrization.register("expm")
class Expm(Static):
    r""":math:`W = \exp(A)`, A skew: onto SO(n), or onto U(n) with ``field="complex"``.

    Learnable: ``theta``, the n(n-1)/2 (real) or n^2 (complex) coordinates of A, see
    :func:`unitary_zoo.linalg.skew_from_coordinates`. Assignment takes the principal logarithm.

    Args:
        n: Size of W.
        field: "real" (default) or "complex".
        determinant: +1 for SU(n), with ``field="complex"``: the trace of A is left out.
        device: Device.
        dtype: Real dtype of the parameters.

    Source: Lezcano-Casado and Martinez-Rubio, Cheap orthogonal constraints in neural networks,
    2019.
    """

    info = SchemeInfo(
        name="expm",
        title="W = exp(A), A skew",
        reference="""@inproceedings{lezcano2019cheap,
  title     = {Cheap Orthogonal Constraints in Neural Networks: A Simple Parametrization of the
               Orthogonal and Unitary Group},
  author    = {Lezcano-Casado, Mario and Mart{\\'i}nez-Rubio, David},
  booktitle = {International Conference on Machine Learning},
  year      = {2019}
}""",
        family="static",
        claims={"real": SPECIAL_ORTHOGONAL, "complex": UNITARY_OR_SPECIAL},
        field="real",
        tolerance=Tolerance(
            8.0, "the Newton-Schulz step at the end leaves the rounding of two products"
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
        if self._is_special_unitary:
            a = linalg.traceless(linalg.skew_from_coordinates(theta, self.n, self.field))
            return linalg.expm_skew(a)
        return linalg.expm_of_coordinates(theta, self.n, self.field)

    def _assign(self, w: Tensor) -> None:
        self.theta.copy_(
            linalg.skew_to_coordinates(linalg.log_unitary(w, traceless=self._is_special_unitary))
        )
