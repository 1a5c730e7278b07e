r"""W <- polar(W + X_k) after every optimizer step X, X_k a rank-k sketch of X: projUNN-D."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import (
    ORTHOGONAL_CROSSING,
    UNITARY,
    Parametrization,
    SchemeInfo,
)
from unitary_zoo.schemes._low_rank import REFERENCE, TOLERANCE, LowRank


@Parametrization.register("projunn_d")
class ProjUNND(LowRank):
    r""":math:`W \leftarrow \mathrm{polar}(W + X_k)`, O(k n^2), X what the optimizer adds to W.

    :math:`X_k = a b^H` is a sketch of X of rank k. The paper takes the inverse root of the Gram
    matrix of :math:`W + X_k` in the subspace of :math:`[b, W^H a]`; here the polar factor of
    :math:`I + W^H X_k` is taken there, the same matrix without the loss of digits where
    :math:`W + X_k` is near a singular one.

    With SGD or RMSprop, X is the paper's. A sketch of a gradient is not its steepest tangent, so
    a single step need not lower the loss. Learnable: ``weight`` (n, n), or (n, n, 2) with real
    and imaginary parts; W at the last step is kept beside it. Inside a step (a closure evaluated
    several times) W reads as polar(W + X), with X whole.

    Args:
        n: Size of W.
        rank: k; with k >= n, X is taken whole, and the step is that of ``svd_projection``.
        sampler: "lsi", the rows of a random projection, or "column", columns by their norms.
        field: "real" (default) or "complex".
        determinant: +1 or -1 keeps W in that component; with None, a step through a singular
            matrix ends in the other one.
        device: Device.
        dtype: Real dtype of the parameters.

    Source: Kiani, Balestriero, LeCun and Lloyd, projUNN: efficient method for training deep
    networks with unitary matrices, 2022. Its LSI orthonormalises the sketch with a regularised
    root; here by QR.
    """

    info = SchemeInfo(
        name="projunn_d",
        title="W <- polar(W + a b^H) after each step",
        reference=REFERENCE,
        family="projected",
        claims={
            "real": ORTHOGONAL_CROSSING,
            "complex": UNITARY,
        },
        field="real",
        retraction_order=0,  # what the sketch leaves out is of first order
        tolerance=TOLERANCE,
    )
    _whole_order = 2

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self.reset_parameters()

    def _retraction(self, m: Tensor) -> Tensor:
        x = linalg.identity_like(m) + m
        # W has the right sign already, so f(M) must have determinant 1.
        w = linalg.polar_with_determinant(x, None if self.determinant is None else 1)
        return linalg.newton_schulz_step(w)
