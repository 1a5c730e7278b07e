r"""W <- exp(-alpha g) W with g = G W^H - W G^H: the exponential Lie update."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import (
    ORTHOGONAL,
    UNITARY_OR_SPECIAL,
    Parametrization,
    Rebased,
    SchemeInfo,
    Tolerance,
)


@Parametrization.register("lie_exp")
class LieExp(Rebased):
    r""":math:`W \leftarrow \exp(-\alpha g) W`, :math:`g = G W^H - W G^H`, G the gradient.

    Stored as :math:`W = \exp(A) B`: the gradient in the coordinates of A is that of g, so a step
    of SGD with rate alpha and the rebase after it are exactly the update above, and any other
    optimizer takes the same step along its preconditioned direction.

    Args:
        n: Size of W.
        field: "real" (default) or "complex".
        determinant: +1 for SO(n) or SU(n), -1 for determinant -1 (real), None for the whole group.
        rebase_every: Steps between rebases; 1 is the update above.
        device: Device.
        dtype: Real dtype of the parameters.

    Source: Plumbley, Lie group methods for optimization with orthogonality constraints, 2004;
    used for recurrent networks by Lin and Wang, CS224N report, 2019.
    """

    info = SchemeInfo(
        name="lie_exp",
        title="W <- exp(-alpha (G W^H - W G^H)) W",
        reference="""@inproceedings{plumbley2004lie,
  title     = {Lie Group Methods for Optimization with Orthogonality Constraints},
  author    = {Plumbley, Mark D.},
  booktitle = {Independent Component Analysis and Blind Signal Separation},
  year      = {2004}
}""",
        family="rebased",
        claims={"real": ORTHOGONAL, "complex": UNITARY_OR_SPECIAL},
        field="real",
        retraction_order=math.inf,
        tolerance=Tolerance(
            8.0,
            "the base is restored by a Newton-Schulz step; f(A) and one product add their rounding",
        ),
        default_init="henaff",
    )

    _batched = ("theta", "base")

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self.reset_parameters()

    def _map(self, a: Tensor) -> Tensor:
        return linalg.expm_skew(a)
