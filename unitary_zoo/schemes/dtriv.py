r"""W = f(A) B, and every K steps B <- W, A <- 0: dynamic trivialization."""

from __future__ import annotations

import math
from dataclasses import replace
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

_ORDERS = {"expm": math.inf, "cayley": 2.0}


@Parametrization.register("dtriv")
class DTriv(Rebased):
    r""":math:`W = f(A) B`; every K steps :math:`B \leftarrow W`, :math:`A \leftarrow 0`.

    Learnable: ``theta``, the n(n-1)/2 (real) or n^2 (complex) coordinates of the skew A, see
    :func:`unitary_zoo.linalg.skew_from_coordinates`. The frozen parameter ``base`` is B. f is the
    exponential or the Cayley map :math:`(I - A/2)^{-1} (I + A/2)`; both have :math:`f'(0) = I`. K =
    1 is Riemannian gradient descent, along geodesics if f is the exponential; K infinite is the
    static scheme around its start. (The paper has the base on the left, B f(A): the same family,
    with the coordinates in another frame.)

    At a rebase the coordinates change, and the averages of an attached optimizer refer to the old
    ones: :func:`unitary_zoo.attach` transports its first moments and keeps the second moments; see
    :meth:`transport`. Between rebases a checkpoint needs A, those averages and the count of steps,
    the buffer ``steps``.

    Args:
        n: Size of W.
        rebase_every: K; None or infinity is never.
        map: f, "expm" or "cayley".
        field: "real" (default) or "complex".
        determinant: +1 for SO(n) or SU(n), -1 for determinant -1 (real), None for the whole group.
            (The Cayley map of a traceless A is not in SU(n); a common phase brings it there.)
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        ValueError: ``map`` or ``rebase_every`` is not one of these.

    Source: Lezcano-Casado, Trivializations for gradient-based optimization on manifolds, 2019.
    """

    info = SchemeInfo(
        name="dtriv",
        title="W = f(A) B; B <- W, A <- 0 every K steps",
        reference="""@inproceedings{lezcano2019trivializations,
  title     = {Trivializations for Gradient-Based Optimization on Manifolds},
  author    = {Lezcano-Casado, Mario},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019}
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

    def __init__(
        self, n: int, *, map: str = "expm", rebase_every: float | None = 100, **options: Any
    ) -> None:
        if map not in _ORDERS:
            raise ValueError(f"dtriv: map={map!r}; pass one of {sorted(_ORDERS)}")
        super().__init__(n, rebase_every=rebase_every, **options)
        self.map = map
        if map != "expm":
            self.info = replace(self.info, retraction_order=_ORDERS[map])
        self.reset_parameters()

    def _batch_options(self) -> tuple[object, ...]:
        return (self.map,)

    def _map(self, a: Tensor) -> Tensor:
        if self.map == "expm":
            return linalg.expm_skew(a)
        w = linalg.cayley(-a / 2)
        return linalg.with_unit_determinant(w) if self._is_special_unitary else w
