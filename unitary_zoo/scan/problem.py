"""Recurrences as the backends receive them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from unitary_zoo import nonlinearities
from unitary_zoo.base import DenseMap, FactoredMap, LinearMap
from unitary_zoo.base.factors import Factor
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
