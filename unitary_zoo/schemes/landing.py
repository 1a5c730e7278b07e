r"""W <- W - eta (psi(W) + lambda (W W^H - I)) W: the landing algorithm, without retractions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import (
    Determinant,
    FieldClaims,
    Group,
    Parametrization,
    ProjectedFromBase,
    SchemeInfo,
    Tolerance,
    complex_matrix_dimension,
    real_matrix_dimension,
)
from unitary_zoo.schemes._safe_step import excess, safe_move


def _deviation(safe_step: float) -> str:
    return f"unitary only in the limit: ||W W^H - I||_F <= {safe_step:g} on the way"


@Parametrization.register("landing")
class Landing(ProjectedFromBase):
    r""":math:`W \leftarrow W - \eta \Lambda(W)`, :math:`\Lambda = \psi W + \lambda (W W^H - I) W`.

    :math:`\psi = \tfrac12 (G W^H - W G^H)`, G the gradient. There is no retraction: W is near the
    group, :math:`\|W W^H - I\|_F \le \varepsilon`, and on it in the limit only.

    Before a step of the optimizer Lambda replaces the gradient, so a step of SGD is the update
    above; momentum averages Lambda as a whole, and other optimizers precondition it. A step that
    would end outside the safe region is shortened to where it first leaves it. One that starts at
    the edge of the region and would end outside is replaced by the attraction to the group alone,
    :math:`W \leftarrow W - \tfrac12 (W W^H - I) W`. Weight decay moves the limit off the group, by
    a defect of decay / lambda.

    Learnable: ``weight`` (n, n), or (n, n, 2) with real and imaginary parts. ``assign_`` takes
    every matrix of the safe region, and the polar factor of another one as the nearest.

    Args:
        n: Size of W.
        attraction: lambda, positive.
        safe_step: epsilon, between 0 and 1.
        field: "real" (default) or "complex".
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        ValueError: ``attraction`` or ``safe_step`` is out of range. In ``step_``: the optimizer
            did not use Lambda, because a closure computed the gradient anew, the optimizer
            rewrote it, or ``begin_step_`` was not called; the weight is then as before the step.

    Source: Ablin and Peyre, Fast and accurate optimization on the orthogonal manifold without
    retraction, 2022; the safe step after Ablin, Vary, Gao and Absil, Infeasible deterministic,
    stochastic, and variance-reduction algorithms for optimization under orthogonality
    constraints, 2023. They bound the factor of the step; here it is exact.
    """

    info = SchemeInfo(
        name="landing",
        title="W <- W - eta (skew(G W^H) + lambda (W W^H - I)) W",
        reference="""@inproceedings{ablin2022fast,
  title     = {Fast and Accurate Optimization on the Orthogonal Manifold without Retraction},
  author    = {Ablin, Pierre and Peyr\\'e, Gabriel},
  booktitle = {International Conference on Artificial Intelligence and Statistics},
  year      = {2022}
}""",
        family="projected",
        claims={
            "real": FieldClaims(
                Group.NEAR_ORTHOGONAL, real_matrix_dimension, Determinant.NEAR_SIGN
            ),
            "complex": FieldClaims(
                Group.NEAR_UNITARY, complex_matrix_dimension, Determinant.NEAR_UNIT_CIRCLE
            ),
        },
        field="real",
        retraction_order=1,
        tolerance=Tolerance(8.0, "at the limit: a step leaves the rounding of two products"),
        deviation=_deviation(0.5),
    )

    _unitary_buffers, _wide_buffers = (), ("base",)  # the base is not unitary either
    _direction: Tensor | None = None  # what begin_step_ put in the place of the gradient

    def __init__(
        self, n: int, *, attraction: float = 1.0, safe_step: float = 0.5, **options: Any
    ) -> None:
        if not 0 < attraction < float("inf"):
            raise ValueError(f"landing: attraction={attraction!r}; pass a positive number")
        if not 0 < safe_step < 1:
            raise ValueError(
                f"landing: safe_step={safe_step!r}; pass a number between 0 and 1: from 1 on the "
                "region holds singular matrices"
            )
        super().__init__(n, **options)
        self.attraction, self.safe_step = attraction, safe_step
        self.info = replace(self.info, deviation=_deviation(safe_step))
        self.reset_parameters()

    def _project(self, x: Tensor) -> Tensor:
        return x

    def _is_feasible(self, w: Tensor) -> bool:
        limit = self.safe_step + 4 * self.n**0.5 * linalg.eps(self.weight.dtype)
        return bool(excess(w).norm() <= limit)

    def _violation(self, x: Tensor) -> Tensor:
        return self._displacement(x).norm()

    def _nearest_member(self, x: Tensor) -> Tensor:
        x = linalg.double(x)
        return x if self._is_feasible(x) else linalg.polar(x)

    def _reset_state(self) -> None:
        self._direction = None

    def _transform_gradient(self) -> None:
        """Replace the gradient by Lambda at the present W."""
        grad, before = self.weight.grad, self._direction
        if grad is not None and before is not None and _same(grad, before):
            return  # a step that raised has left Lambda in its place
        self._direction = None
        if grad is not None:
            w = self._base_matrix()
            relative = linalg.from_real_parts(self._promoted(grad), self.field) @ w.mH
            field = (relative - relative.mH) / 2 + self.attraction * excess(w)
            grad.copy_(linalg.view_as_real_parts(field @ w))
            self._direction = grad.clone()

    def _stepped(self) -> Tensor:
        """Take the optimizer's step as far as it stays in the safe region."""
        direction, grad, begun = self._direction, self.weight.grad, self._stepping
        self._direction = None
        w, move = self._base_matrix(), self._displacement(self._stored_matrix())
        used = grad is None if direction is None else grad is not None and _same(grad, direction)
        if not used and bool(move.any()):
            self._store(w)
            cause = (
                "the gradient changed inside the optimizer's step; compute it before "
                "optimizer.step(), not in a closure (so without LBFGS), and where the optimizer "
                "rewrites it (fused under a gradient scaler, Nesterov momentum by foreach), pass "
                "fused=False or foreach=False"
                if begun
                else "step_() without begin_step_(), so the optimizer has used the gradient as it "
                "was; call unitary_zoo.attach(model, optimizer)"
            )
            raise ValueError(f"landing: {cause}. The weight is as before the step")
        return safe_move(w, move, self.safe_step)


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether the entries are equal, or both NaN."""
    return torch.equal(a.nan_to_num(), b.nan_to_num())
