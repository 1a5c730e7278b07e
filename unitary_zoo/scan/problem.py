"""Recurrences as the backends receive them: checked, and in one dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unitary_zoo import linalg, nonlinearities
from unitary_zoo.base import DenseMap, FactoredMap, LinearMap
from unitary_zoo.base.factors import Factor
from unitary_zoo.errors import is_int
from unitary_zoo.nonlinearities import Activation


class Operands(NamedTuple):
    """The tensors of a :class:`Problem`, with W as a matrix."""

    x: Tensor
    w: Tensor
    h0: Tensor
    weight_ih: Tensor | None
    bias: Tensor | None
    threshold: Tensor | None

    def problem(
        self,
        name: str,
        return_sequence: bool,
        checkpoint: int | None,
        lengths: Tensor | None = None,
    ) -> Problem:
        """Return the problem with these tensors and with the given ``Problem.options()``."""
        return Problem(
            *self[:3], nonlinearities.get(name), *self[3:], return_sequence, checkpoint, lengths
        )


class FactoredOperands(NamedTuple):
    """The tensors of a :class:`Problem`, with W as the numbers of its factors."""

    x: Tensor
    numbers: Tensor
    h0: Tensor
    weight_ih: Tensor | None
    bias: Tensor | None
    threshold: Tensor | None

    def problem(
        self,
        factors: tuple[Factor, ...],
        name: str,
        return_sequence: bool,
        checkpoint: int | None,
        lengths: Tensor | None = None,
    ) -> Problem:
        """Return the problem with these tensors and with the given ``Problem.options()``."""
        w = FactoredMap(self.h0.shape[-1], factors, self.numbers)
        activation = nonlinearities.get(name)
        return Problem(
            self.x, w, self.h0, activation, *self[3:], return_sequence, checkpoint, lengths
        )


@dataclass(frozen=True)
class Problem:
    """One recurrence. Its tensors agree in device and precision; all are complex, or none is.

    Attributes:
        x: (T, B, n) pre-activations, or (T, B, m) inputs if ``weight_ih`` is given.
        w: The recurrent matrix (n, n), or its map.
        h0: (B, n).
        activation: The nonlinearity.
        weight_ih: (n, m) or None.
        bias: (n) or None, added to the pre-activations.
        threshold: (n), real, for modReLU, else None.
        return_sequence: Return all states, or the last one.
        checkpoint: Steps between the states kept for the backward pass; None leaves the choice to
            the backend.
        lengths: (B), descending: the steps of each row; the result is the state at its end. None:
            all rows have T steps.
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
    lengths: Tensor | None = None

    @property
    def by_factors(self) -> bool:
        """Whether W is a map other than that of a matrix."""
        return isinstance(self.w, LinearMap) and not isinstance(self.w, DenseMap)

    def dense(self) -> Problem:
        """Return the problem with W as a matrix."""
        return replace(self, w=self.w.matrix()) if isinstance(self.w, LinearMap) else self

    def operands(self) -> Operands | FactoredOperands:
        """Return the tensors; builds W if it is a map of another kind than factors."""
        if isinstance(self.w, FactoredMap):
            numbers = self.w.numbers
            return FactoredOperands(
                self.x, numbers, self.h0, self.weight_ih, self.bias, self.threshold
            )
        w = self.w.matrix() if isinstance(self.w, LinearMap) else self.w
        return Operands(self.x, w, self.h0, self.weight_ih, self.bias, self.threshold)

    def options(self) -> tuple[Any, ...]:
        """Return the arguments that are no tensors, for ``operands().problem``."""
        options = self.activation.name, self.return_sequence, self.checkpoint
        return (self.w.factors, *options) if isinstance(self.w, FactoredMap) else options


class GatedOperands(NamedTuple):
    """The tensors of a :class:`GatedProblem`."""

    x: Tensor
    w: Tensor
    h0: Tensor
    weight_ih: Tensor
    bias: Tensor | None
    bias_hn: Tensor | None

    def problem(
        self, return_sequence: bool, checkpoint: int | None, lengths: Tensor | None = None
    ) -> GatedProblem:
        """Return the problem with these tensors and with the given ``GatedProblem.options()``."""
        return GatedProblem(*self, return_sequence, checkpoint, lengths)


@dataclass(frozen=True)
class GatedProblem:
    """One recurrence of gated units. Its tensors are real and agree in device and precision.

    The three blocks of n rows belong to the reset gate, the update gate and the candidate.

    Attributes:
        x: (T, B, m).
        w: The recurrent matrices (3n, n).
        h0: (B, n).
        weight_ih: (3n, m).
        bias: (3n) or None.
        bias_hn: (n) or None: added to the candidate's W h, which the reset gate then scales.
        return_sequence: Return all states, or the last one.
        checkpoint: Steps between the states kept for the backward pass; None leaves the choice to
            the backend.
        lengths: (B), descending: the steps of each row; the result is the state at its end. None:
            all rows have T steps.
    """

    x: Tensor
    w: Tensor
    h0: Tensor
    weight_ih: Tensor
    bias: Tensor | None
    bias_hn: Tensor | None
    return_sequence: bool
    checkpoint: int | None = None
    lengths: Tensor | None = None

    @property
    def by_factors(self) -> bool:
        """False: W is a matrix."""
        return False

    def dense(self) -> GatedProblem:
        """Return the problem itself, whose W is a matrix."""
        return self

    def operands(self) -> GatedOperands:
        """Return the tensors."""
        return GatedOperands(self.x, self.w, self.h0, self.weight_ih, self.bias, self.bias_hn)

    def options(self) -> tuple[bool, int | None]:
        """Return the arguments that are no tensors, for :meth:`GatedOperands.problem`."""
        return self.return_sequence, self.checkpoint


AnyProblem = Problem | GatedProblem
AnyOperands = Operands | FactoredOperands | GatedOperands


def make_problem(
    x: Tensor,
    w: Tensor | LinearMap,
    h0: Tensor,
    nonlinearity: str,
    weight_ih: Tensor | None,
    bias: Tensor | None,
    threshold: Tensor | None,
    return_sequence: bool,
    checkpoint: int | None,
    lengths: Tensor | None,
) -> Problem:
    """Check the arguments of ``recurrent_scan`` and bring them to one dtype.

    Raises:
        ValueError: A shape, device, nonlinearity or checkpoint that does not fit.
    """
    activation = nonlinearities.get(nonlinearity)
    n = w.n if isinstance(w, LinearMap) else w.shape[-1]
    width = n if weight_ih is None else weight_ih.shape[-1]
    if isinstance(w, Tensor) and w.shape != (n, n):
        raise ValueError(f"W has shape {tuple(w.shape)}; pass a square matrix (n, n)")
    shapes = {
        "h0": (h0, (x.shape[1] if x.dim() == 3 else 0, n)),
        "weight_ih": (weight_ih, (n, width)),
        "bias": (bias, (n,)),
        "threshold": (threshold, (n,)),
    }
    _check(x, width, {"W": w}, shapes, checkpoint)
    if threshold is not None and not activation.has_threshold:
        raise ValueError(f"threshold given, but nonlinearity {nonlinearity!r} has none")
    dtype = _common_dtype(w, x, h0, weight_ih, bias)
    activation.check(dtype.is_complex)
    if activation.has_threshold and threshold is None:
        threshold = x.real.new_zeros(n)
    if isinstance(w, Tensor):
        w = w.to(dtype)
    elif w.dtype != dtype:
        w = DenseMap(w.matrix().to(dtype))
    return Problem(
        x=x.to(dtype),
        w=w,
        h0=h0.to(dtype),
        activation=activation,
        weight_ih=_cast(weight_ih, dtype),
        bias=_cast(bias, dtype),
        threshold=_cast(threshold, linalg.real_dtype(dtype)),
        return_sequence=return_sequence,
        checkpoint=checkpoint,
        lengths=lengths,
    )


def make_gated_problem(
    x: Tensor,
    w: Tensor,
    h0: Tensor,
    weight_ih: Tensor,
    bias: Tensor | None,
    bias_hn: Tensor | None,
    return_sequence: bool,
    checkpoint: int | None,
    lengths: Tensor | None,
) -> GatedProblem:
    """Check the arguments of ``gated_scan`` and bring them to one dtype.

    Raises:
        ValueError: A shape, dtype, device or checkpoint that does not fit.
    """
    n, width = w.shape[-1], weight_ih.shape[-1]
    shapes = {
        "W": (w, (3 * n, n)),
        "h0": (h0, (x.shape[1] if x.dim() == 3 else 0, n)),
        "weight_ih": (weight_ih, (3 * n, width)),
        "bias": (bias, (3 * n,)),
        "bias_hn": (bias_hn, (n,)),
    }
    _check(x, width, {}, shapes, checkpoint)
    for name, tensor in {"x": x, **{name: tensor for name, (tensor, _) in shapes.items()}}.items():
        if tensor is not None and tensor.is_complex():
            raise ValueError(
                f"{name} is {tensor.dtype}, and gates compare real numbers; pass the real features "
                "as_real(...), and matrices of a real scheme"
            )
    dtype = _common_dtype(x, w, h0, weight_ih, bias, bias_hn)
    return GatedProblem(
        x=x.to(dtype),
        w=w.to(dtype),
        h0=h0.to(dtype),
        weight_ih=weight_ih.to(dtype),
        bias=_cast(bias, dtype),
        bias_hn=_cast(bias_hn, dtype),
        return_sequence=return_sequence,
        checkpoint=checkpoint,
        lengths=lengths,
    )


def _check(
    x: Tensor,
    width: int,
    maps: Mapping[str, Tensor | LinearMap],
    shapes: Mapping[str, tuple[Tensor | None, tuple[int, ...]]],
    checkpoint: int | None,
) -> None:
    """Raise ValueError unless the arguments fit together.

    Args:
        x: Must be (T, B, width) with T > 0.
        width: m, or n without input weights.
        maps: Tensors or maps of which only the device is checked.
        shapes: Tensors with the shapes that they must have; None fits any.
        checkpoint: Must be None, or an int of at least 1.
    """
    if checkpoint is not None and not (is_int(checkpoint) and checkpoint >= 1):
        raise ValueError(f"checkpoint={checkpoint!r}; pass the number of steps between kept states")
    if x.dim() != 3 or x.shape[-1] != width:
        raise ValueError(f"x has shape {tuple(x.shape)}; pass (T, B, {width})")
    if x.shape[0] == 0:
        raise ValueError("x has T = 0 steps; pass at least one")
    for name, (tensor, shape) in shapes.items():
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; pass {shape}")
    for name, other in {**maps, **{name: tensor for name, (tensor, _) in shapes.items()}}.items():
        if other is not None and other.device != x.device:
            raise ValueError(
                f"{name} is on {other.device}, and x is on {x.device}; move them to one device"
            )


def _common_dtype(*tensors: Tensor | LinearMap | None) -> torch.dtype:
    """Return the dtype that holds all tensors, float32 or wider."""
    dtype = torch.float32
    for tensor in tensors:
        if tensor is not None:
            dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def _cast(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if tensor is None else tensor.to(dtype)
