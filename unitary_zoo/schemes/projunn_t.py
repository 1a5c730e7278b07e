r"""W <- W exp(W^H Pi(X_k)) after every optimizer step X, X_k a rank-k sketch of X: projUNN-T."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import (
    ORTHOGONAL,
    UNITARY,
    Parametrization,
    SchemeInfo,
)
from unitary_zoo.schemes._low_rank import REFERENCE, TOLERANCE, LowRank


@Parametrization.register("projunn_t")
class ProjUNNT(LowRank):
    r""":math:`W \leftarrow W \exp(W^H \Pi(X_k))`, :math:`\Pi(X) = \tfrac12 (X - W X^H W)`.

    O(k n^2). X is what the optimizer adds to W, :math:`X_k = a b^H` a sketch of it of rank k, and
    Pi the projection on the tangent space at W. The exponential is taken in the subspace of
    :math:`[b, W^H a]`, of dimension 2k.

    With SGD or RMSprop, X is the paper's. A sketch of a gradient is not its steepest tangent, so
    a single step need not lower the loss. Learnable: ``weight`` (n, n), or (n, n, 2) with real
    and imaginary parts; W at the last step is kept beside it. Inside a step (a closure evaluated
    several times) W reads as :math:`W \exp(W^H \Pi(X))`, with X whole.

    Args:
        n: Size of W.
        rank: k; with k >= n, X is taken whole, and the step is the geodesic.
        sampler: "lsi", the rows of a random projection, or "column", columns by their norms.
        field: "real" (default) or "complex".
        determinant: +1 for SO(n), -1 for the other component, real only; a step keeps the sign.
        device: Device.
        dtype: Real dtype of the parameters.

    Source: Kiani, Balestriero, LeCun and Lloyd, projUNN: efficient method for training deep
    networks with unitary matrices, 2022. Its LSI orthonormalises the sketch with a regularised
    root; here by QR.
    """

    info = SchemeInfo(
        name="projunn_t",
        title="W <- W exp(W^H Pi(a b^H)) after each step",
        reference=REFERENCE,
        family="projected",
        claims={"real": ORTHOGONAL, "complex": UNITARY},
        field="real",
        retraction_order=0,  # what the sketch leaves out is of first order
        tolerance=TOLERANCE,
    )
    _whole_order = math.inf

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self.reset_parameters()

    def _retraction(self, m: Tensor) -> Tensor:
        return linalg.expm_skew((m - m.mH) / 2)
