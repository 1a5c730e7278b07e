"""What a scan backend is given: one checked recurrence."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unitary_zoo.base import LinearMap
from unitary_zoo.nonlinearities import Activation


@dataclass(frozen=True)
class Problem:
    """One recurrence; tensors agree in device and precision, and are complex all or none.

    Attributes:
        x: (T, B, n) pre-activations, or (T, B, m) inputs if ``weight_ih`` is given.
        w: The recurrent matrix (n, n), or its map.
        h0: (B, n).
        activation: The nonlinearity.
        weight_ih: (n, m) or None.
        bias: (n) or None, added to the pre-activations.
        threshold: (n), real, for modReLU, else None.
        return_sequence: Return all states, or the last one.
        checkpoint: Steps between the states kept for the backward pass; None leaves that open.
    """

    x: Tensor
    w: Tensor | LinearMap
    h0: Tensor
    activation: Activation
    weight_ih: Tensor | None
    bias: Tensor | None
    threshold: Tensor | None
    return_sequence: bool
    checkpoint: int | None = None

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """x, W as a matrix, h0, V, b and the threshold."""
        w = self.w.matrix() if isinstance(self.w, LinearMap) else self.w
        return self.x, w, self.h0, self.weight_ih, self.bias, self.threshold
