r"""W = Q of X = Q R: the orthogonal factor of a free matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import (
    ORTHOGONAL_CROSSING,
    UNITARY_OR_SPECIAL,
    DenseMap,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)


@Parametrization.register("qr")
class QR(Static):
    r""":math:`W = Q`, :math:`X = Q R` with R upper triangular and :math:`R_{jj} > 0`.

    Learnable: ``x`` (n, n), or (n, n, 2) real and imaginary parts. W is x with its columns made
    orthonormal from left to right, as by Gram and Schmidt. A positive factor of a column, or
    multiples of the columns before it added to it, do not change W.

    A step of X through a singular matrix changes the sign of the determinant. At a singular X,
    where a column depends on those before it up to rounding, W and its derivative do not exist
    and reading it raises; near one the derivative is large, like :math:`1 / R_{jj}` over the length
    of the column. Inside the transforms of ``torch.func``, which read no values, W is some unitary
    matrix at a singular X, and the gradient is huge or not finite.

    Args:
        n: Size of W.
        field: "real" (default) or "complex".
        determinant: +1 or -1 fixes it: the last column is multiplied by the factor that is missing,
            a sign if real, a phase if complex (SU(n), +1 only).
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        unitary_zoo.linalg.SingularMatrixError: W is read at a singular X.

    Source: Golub and Van Loan, Matrix computations, section 5.2; as a map onto the group,
    Absil, Mahony and Sepulchre, Optimization algorithms on matrix manifolds, 2008, section 4.1.
    """

    info = SchemeInfo(
        name="qr",
        title="W = Q of X = Q R, R upper triangular with a positive diagonal",
        reference="""@book{absil2008optimization,
  title     = {Optimization Algorithms on Matrix Manifolds},
  author    = {Absil, Pierre-Antoine and Mahony, Robert and Sepulchre, Rodolphe},
  publisher = {Princeton University Press},
  year      = {2008}
}""",
        family="static",
        claims={
            "real": ORTHOGONAL_CROSSING,
            "complex": UNITARY_OR_SPECIAL,
        },
        field="real",
        tolerance=Tolerance(
            12.0, "Q is a product of n reflections, whose rounding errors add up like sqrt(n) eps"
        ),
    )

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self.x = self._free_matrix()
        self.reset_parameters()

    def _prepare(self) -> LinearMap:
        x = linalg.from_real_parts(self._promoted(self.x), self.field)
        # W does not depend on the lengths of the columns; with order 1 their squares are in range.
        largest = linalg.view_as_real_parts(x.detach()).abs()
        largest = largest.amax((0, 2) if self.field == "complex" else 0)
        w = linalg.gram_schmidt(x / torch.where(largest > 0, largest, 1.0))
        if self.determinant is not None:
            missing = self._missing(w)
            w = torch.cat([w[:, :-1], w[:, -1:] * missing], dim=1)
        return DenseMap(w)

    def _missing(self, w: Tensor) -> Tensor:
        """Return the factor of the last column that gives the determinant asked for."""
        if self.field == "complex":
            return linalg.determinant_phase(w).conj()
        return torch.where(torch.linalg.det(w.detach()) * self.initial_determinant < 0, -1.0, 1.0)

    def _assign(self, w: Tensor) -> None:
        self.x.copy_(linalg.view_as_real_parts(w))
