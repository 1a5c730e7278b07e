r"""W <- U V^H after every optimizer step: the SVD projection, and its contractive variant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import (
    ORTHOGONAL_CROSSING,
    UNITARY,
    Determinant,
    FieldClaims,
    Group,
    Parametrization,
    Projected,
    SchemeInfo,
    Tolerance,
    complex_matrix_dimension,
    real_matrix_dimension,
)


@Parametrization.register("svd_projection")
class SVDProjection(Projected):
    r""":math:`W \leftarrow U V^H` for :math:`W = U \Sigma V^H`, after every optimizer step.

    With ``contractive=True``, :math:`W \leftarrow U \min(\Sigma, 1) V^H`: not unitary, but of
    norm at most 1, and its info says so.

    Args:
        n: Size of W.
        contractive: Clip the singular values at 1 instead of setting them to 1.
        field: "real" (default) or "complex".
        determinant: +1 or -1 keeps W in that component; with None, a step through a singular
            matrix ends in the other one.
        device: Device.
        dtype: Real dtype of the parameters.

    Source: Emami, Sahraee-Ardakan, Rangan and Fletcher, Input-output equivalence of unitary and
    contractive RNNs, 2019.
    """

    info = SchemeInfo(
        name="svd_projection",
        title="W <- U V^H, the polar factor, after each step",
        reference="""@inproceedings{emami2019input,
  title     = {Input-Output Equivalence of Unitary and Contractive {RNN}s},
  author    = {Emami, Melikasadat and Sahraee-Ardakan, Mojtaba and Rangan, Sundeep and
               Fletcher, Alyson K.},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019}
}""",
        family="projected",
        claims={
            "real": ORTHOGONAL_CROSSING,
            "complex": UNITARY,
        },
        field="real",
        retraction_order=2,
        tolerance=Tolerance(
            8.0, "the Newton-Schulz step at the end leaves the rounding of two products"
        ),
    )

    def __init__(self, n: int, *, contractive: bool = False, **options: Any) -> None:
        if contractive and options.get("determinant") is not None:
            raise ValueError(
                f"svd_projection: determinant={options['determinant']!r} with contractive=True; a "
                "contraction has any determinant in [-1, 1], so leave one of them out"
            )
        super().__init__(n, **options)
        self.contractive = contractive
        if contractive:
            contraction = {
                "real": FieldClaims(
                    Group.CONTRACTIONS, real_matrix_dimension, Determinant.INTERVAL
                ),
                "complex": FieldClaims(
                    Group.CONTRACTIONS, complex_matrix_dimension, Determinant.UNIT_DISC
                ),
            }
            self.info = replace(
                self.info, deviation="a contraction: singular values up to 1", claims=contraction
            )
        self.reset_parameters()

    def _project(self, x: Tensor) -> Tensor:
        if self.contractive:
            return linalg.contract(x)
        w = linalg.polar_with_determinant(x, self.determinant)
        # The step squares what the two singular bases lack in orthogonality.
        return linalg.newton_schulz_step(w)

    def _violation(self, x: Tensor) -> Tensor:
        if self.contractive:
            # In single precision these would round by as much as is allowed for the weight.
            return (linalg.singular_values(linalg.double(x)) - 1).clamp(min=0).norm()
        return super()._violation(x)
