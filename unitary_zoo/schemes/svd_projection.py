r"""W <- U V^H after every optimizer step: the SVD projection, and its contractive variant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import (
    UNITARY,
    FieldClaims,
    Parametrization,
    Projected,
    SchemeInfo,
    Tolerance,
    real_skew_dimension,
)


def _square(n: int) -> int:
    return n * n


def _twice_square(n: int) -> int:
    return 2 * n * n


@Parametrization.register("svd_projection")
class SVDProjection(Projected):
    r""":math:`W \leftarrow U V^H` for :math:`W = U \Sigma V^H`, after every optimizer step.

    With ``contractive=True``, :math:`W \leftarrow U \min(\Sigma, 1) V^H`: not unitary, but of
    norm at most 1, and its info says so.

    Args:
        n: Size of W.
        contractive: Clip the singular values at 1 instead of setting them to 1.
        field: "real" (default) or "complex".
        special: True or False keeps the determinant at +1 or -1; with None, a step that crosses
            a singular matrix ends in the other component.
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
            "real": FieldClaims("O(n)", real_skew_dimension, "+-1", special=True),
            "complex": UNITARY,
        },
        field="real",
        retraction_order=2,
        tolerance=Tolerance(
            8.0, "the Newton-Schulz step at the end leaves the rounding of two products"
        ),
    )

    def __init__(self, n: int, *, contractive: bool = False, **options: Any) -> None:
        if contractive and options.get("special") is not None:
            raise ValueError(
                f"svd_projection: special={options['special']!r} with contractive=True; a "
                "contraction has any determinant in [-1, 1], so leave one of them out"
            )
        self.contractive = contractive  # first: the base class projects when it draws the start
        super().__init__(n, **options)
        if contractive:
            contraction = {
                "real": FieldClaims("contractions", _square, "any in [-1, 1]"),
                "complex": FieldClaims("contractions", _twice_square, "any in the unit disc"),
            }
            self.info = replace(
                self.info, deviation="a contraction: singular values up to 1", claims=contraction
            )

    def _project(self, x: Tensor) -> Tensor:
        if self.contractive:
            return linalg.contract(x)
        sign = None if self.special is None else self.determinant
        w = linalg.polar_of_sign(x, sign)
        # The step squares what the two singular bases lack in orthogonality.
        return linalg.newton_schulz_step(w)

    def _off_group(self, x: Tensor) -> Tensor:
        if self.contractive:
            # In single precision these would round by as much as is allowed for the weight.
            return (torch.linalg.svdvals(linalg.double(x)) - 1).clamp(min=0).norm()
        return super()._off_group(x)
