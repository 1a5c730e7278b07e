"""What a scan backend is given, one checked recurrence, and the checks that all kinds share."""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True)
class GatedProblem:
    """One recurrence of gated units; tensors are real and agree in device and precision.

    The three blocks of n rows belong to the reset gate, the update gate and the candidate.

    Attributes:
        x: (T, B, m).
        w: The recurrent matrices (3n, n).
        h0: (B, n).
        weight_ih: (3n, m).
        bias: (3n) or None.
        bias_hn: (n) or None: added to the candidate's W h, which the reset gate then scales.
        return_sequence: Return all states, or the last one.
    """

    x: Tensor
    w: Tensor
    h0: Tensor
    weight_ih: Tensor
    bias: Tensor | None
    bias_hn: Tensor | None
    return_sequence: bool

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """x, W, h0, V, b and the candidate's recurrent bias."""
        return self.x, self.w, self.h0, self.weight_ih, self.bias, self.bias_hn


def check_checkpoint(checkpoint: int | None) -> None:
    """Raise ValueError unless it is None or a number of steps."""
    if checkpoint is not None and (
        isinstance(checkpoint, bool) or not isinstance(checkpoint, int) or checkpoint < 1
    ):
        raise ValueError(f"checkpoint={checkpoint!r}; pass the number of steps between kept states")


def check_inputs(x: Tensor, width: int) -> None:
    """Raise ValueError unless x is (T, B, width) with T > 0."""
    if x.dim() != 3 or x.shape[-1] != width:
        raise ValueError(f"x has shape {tuple(x.shape)}; pass (T, B, {width})")
    if x.shape[0] == 0:
        raise ValueError("x has T = 0 steps; pass at least one")


def check_shapes(wanted: Mapping[str, tuple[Tensor | None, tuple[int, ...]]]) -> None:
    """Raise ValueError for a tensor that is not of the shape wanted."""
    for name, (tensor, shape) in wanted.items():
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; pass {shape}")


def check_devices(x: Tensor, others: Mapping[str, Tensor | LinearMap | None]) -> None:
    """Raise ValueError for what is not on the device of x."""
    for name, where in others.items():
        if where is not None and where.device != x.device:
            raise ValueError(
                f"{name} is on {where.device}, and x is on {x.device}; move them to one device"
            )
