r"""W <- (I + alpha/2 A)^{-1} (I - alpha/2 A) W with A = G W^H - W G^H: full-capacity uRNN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo._torch import current_backward_pass
from unitary_zoo.base import (
    UNITARY,
    DenseMap,
    LinearMap,
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
        rms_normalize: Divide G entrywise by the root of its running mean square before A is
            formed (real and imaginary parts apart). Needs ``attach``; the gradient may be scaled
            as a whole before the step, but not changed otherwise.
        rms_decay: Decay of the running mean square.
        rms_eps: Added to the root.
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

    square_average: Tensor
    _gradient: Tensor | None = None  # G summed over the backward passes since the last step
    _backward_pass: int = -1

    def __init__(
        self,
        n: int,
        *,
        rms_normalize: bool = False,
        rms_decay: float = 0.9,
        rms_eps: float = 1e-8,
        **options: Any,
    ) -> None:
        if not 0 <= rms_decay < 1:
            raise ValueError(f"full_capacity: rms_decay={rms_decay!r}; pass a number in [0, 1)")
        super().__init__(n, **options)
        self.rms_normalize, self.rms_decay, self.rms_eps = rms_normalize, rms_decay, rms_eps
        if rms_normalize and self.rebase_every != 1:
            raise ValueError(
                f"full_capacity: rms_normalize=True with rebase_every={self.rebase_every}; G "
                "gives the gradient of the coordinates at A = 0 only, so leave rebase_every at 1"
            )
        if rms_normalize:
            self.register_buffer("square_average", torch.zeros_like(self.base))
            hook = "G is collected by a hook in Python, which a graph leaves out"
            self.info = replace(self.info, expected_failures={"compiled": hook})
        self.reset_parameters()

    def _map(self, a: Tensor) -> Tensor:
        return linalg.cayley(-a / 2)

    def _prepare(self) -> LinearMap:
        w = super()._prepare().matrix()
        if self.rms_normalize and w.requires_grad:
            w.register_hook(self._accumulate)
        return DenseMap(w)

    def _accumulate(self, g: Tensor) -> Tensor | None:
        """Add ``g`` to G; inside a step (a closure) return what makes the sum the normalised G."""
        grad = self.theta.grad
        # After zero_grad() a new sum begins, but not with every read of W in one backward pass,
        # at whose end only the coordinates get their gradient.
        present = current_backward_pass()
        cleared = (grad is None or not grad.any()) and present != self._backward_pass
        before = None if cleared else self._gradient
        self._backward_pass = present
        self._gradient = g.detach() if before is None else before + g.detach()
        if not self._stepping:
            return None
        after = self._normalized(self._gradient)
        return after if before is None else after - self._normalized(before)

    def _normalized(self, g: Tensor) -> Tensor:
        x = linalg.view_as_real_parts(g.resolve_conj())
        mean = self.square_average.lerp(x.square(), 1 - self.rms_decay)
        return linalg.from_real_parts(x / (mean.sqrt() + self.rms_eps), self.field)

    @torch.no_grad()
    def begin_step_(self) -> None:
        """Replace the gradient of the coordinates by that of the normalised G."""
        if self.theta.grad is not None and self._gradient is not None:
            self._normalize_gradient(self.theta.grad, self._gradient)
        self._stepping = True

    def _normalize_gradient(self, grad: Tensor, g: Tensor) -> None:
        w = self.prepare().matrix()
        # Whatever scaled the gradient of theta since (loss scaling undone, clipping) scales G.
        raw = self._coordinates(g, w)
        scale = (grad @ raw) / (raw @ raw).clamp(min=torch.finfo(raw.dtype).tiny)
        rest = (grad - scale * raw).norm() / grad.norm()
        if rest > 1e-2:
            raise ValueError(
                f"full_capacity: {float(rest):.1%} of the gradient of theta is not that of the G "
                "seen here (limit 1%), as after clipping entry by entry or averaging over "
                "processes; clip by norm, train in one process, or leave out rms_normalize"
            )
        self._gradient = g * scale
        grad.copy_(self._coordinates(self._normalized(self._gradient), w))

    @torch.no_grad()
    def step_(self) -> None:
        """Rebase, and let G enter its running mean square."""
        if self._gradient is not None and not self._stepping:
            raise ValueError(
                "full_capacity: step_() without begin_step_(), so the optimizer has used the "
                "gradient as it was; with rms_normalize call unitary_zoo.attach(model, optimizer)"
            )
        self._stepping = False
        if self._gradient is not None:
            square = linalg.view_as_real_parts(self._gradient.resolve_conj()).square()
            self.square_average.lerp_(square, 1 - self.rms_decay)
            self._gradient = None
        super().step_()

    def _reset_state(self) -> None:
        super()._reset_state()
        self._gradient = None
        if self.rms_normalize:
            self.square_average.zero_()

    def _coordinates(self, g: Tensor, w: Tensor) -> Tensor:
        """The gradient in the coordinates of A when that in W is ``g``: those of G W^H - W G^H."""
        return 2 * linalg.skew_to_coordinates(g @ w.mH)
