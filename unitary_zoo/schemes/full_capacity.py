r"""W <- (I + alpha/2 A)^{-1} (I - alpha/2 A) W with A = G W^H - W G^H: full-capacity uRNN."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import (
    UNITARY,
    Parametrization,
    Rebased,
    SchemeInfo,
    Tolerance,
)


@Parametrization.register("full_capacity")
class FullCapacity(Rebased):
    r""":math:`W \leftarrow (I + \tfrac{\alpha}{2} A)^{-1} (I - \tfrac{\alpha}{2} A) W`, complex.

    :math:`A = G W^H - W G^H` with :math:`G = \partial C / \partial \mathrm{Re} W + i\, \partial C
    / \partial \mathrm{Im} W`. (The form often printed, :math:`A = G^H W - W^H G` multiplied from
    the left, does not descend.) Stored as :math:`W = \mathrm{Cay}(X) B`, so that this is a step
    of SGD followed by the rebase.

    Args:
        n: Size of W.
        device: Device.
        dtype: Real dtype of the parameters.

    Source: Wisdom, Powers, Hershey, Le Roux and Atlas, Full-capacity unitary recurrent neural
    networks, 2016; the curve is Tagare's, 2011.
    """

    info = SchemeInfo(
        name="full_capacity",
        title="W <- (I + a/2 A)^{-1} (I - a/2 A) W, A = G W^H - W G^H",
        reference="""@inproceedings{wisdom2016full,
  title     = {Full-Capacity Unitary Recurrent Neural Networks},
  author    = {Wisdom, Scott and Powers, Thomas and Hershey, John and Le Roux, Jonathan and
               Atlas, Les},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2016}
}""",
        family="rebased",
        claims={"complex": UNITARY},
        field="complex",
        retraction_order=2,
        tolerance=Tolerance(
            8.0,
            "the base is restored by a Newton-Schulz step; f(A) and one product add their rounding",
        ),
    )

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self.reset_parameters()

    def _map(self, a: Tensor) -> Tensor:
        return linalg.cayley(-a / 2)
