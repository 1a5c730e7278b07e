"""Run a scan that has a backward pass of its own as one function of autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from unitary_zoo._torch import is_batched, is_watched, without_autocast
from unitary_zoo.scan import second_order
from unitary_zoo.scan.problem import AnyOperands, AnyProblem

Needed = Mapping[str, bool]
"""Whether each operand needs a gradient, by name."""


@dataclass(frozen=True)
class Saved:
    """What a forward pass keeps for the backward pass.

    Attributes:
        tensors: The first one is all states (T, B, n), or None if they are not kept.
        rest: Anything else.
    """

    tensors: tuple[Tensor | None, ...]
    rest: Any = None


class Engine(Protocol):
    """A scan with a backward pass of its own. The recurrent matrix of its problems is a tensor."""

    def forward(self, problem: AnyProblem, keep: bool) -> tuple[Tensor, Saved]:
        """Return the result, and what the backward pass needs if ``keep``."""
        ...

    def backward(
        self, problem: AnyProblem, saved: Saved, needed: Needed, grad: Tensor
    ) -> dict[str, Tensor]:
        """Return the gradients of the operands, by name, at least of those that need one.

        Args:
            problem: The problem of the forward pass.
            saved: What the forward pass kept.
            needed: Which operands need a gradient.
            grad: The gradient of the result.
        """
        ...

    def restore(self, problem: AnyProblem, states: Tensor) -> Saved | None:
        """Return what the forward pass would have kept, from all states; None if that is more."""
        ...


def needs_gradients(operands: AnyOperands) -> bool:
    """Return whether a backward pass may follow.

    Call this before ``autograd.Function.apply``: inside ``forward`` gradients are always disabled,
    and ``ctx.needs_input_grad`` does not tell whether they were disabled outside.
    """
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in operands)


def run(engine: Engine, watched: Engine, problem: AnyProblem) -> Tensor:
    """Return the result of the problem, which is differentiable.

    Args:
        engine: What computes.
        watched: The same as operators, for passes that a dispatch mode watches.
        problem: The recurrence.
    """
    operands = problem.operands()
    if needs_gradients(operands):
        out: Tensor = _Scan.apply(
            engine, watched, type(operands), (*problem.options(), problem.lengths), *operands
        )
        return out
    seen = watched if is_watched() else engine
    problem = replace(operands.problem(*problem.options()), lengths=problem.lengths)
    return seen.forward(problem, keep=False)[0]


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        engine: Engine,
        watched: Engine,
        kind: type[Any],
        options: tuple[Any, ...],
        *operands: Tensor | None,
    ) -> Tensor:
        if is_watched():
            engine = watched
        out, saved = engine.forward(kind(*operands).problem(*options), keep=True)
        ctx.engine, ctx.watched, ctx.kind, ctx.options = engine, watched, kind, options
        ctx.rest = saved.rest
        ctx.save_for_backward(*operands, *saved.tensors)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors  # read once: hooks may recompute them at every access
        needed = dict(zip(ctx.kind._fields, ctx.needs_input_grad[4:], strict=True))
        problem = ctx.kind(*tensors[: len(needed)]).problem(*ctx.options)
        saved = Saved(tensors[len(needed) :], ctx.rest)

        def direct() -> dict[str, Tensor]:
            # The operators know no lengths; they see the states of whole sequences.
            is_seen = is_watched() and problem.lengths is None
            engine = ctx.watched if is_seen else ctx.engine
            return engine.backward(problem, saved, needed, grad)

        found = gradients(problem, needed, grad, direct)
        return None, None, None, None, *map(found.get, needed)


def gradients(
    problem: AnyProblem, needed: Needed, grad: Tensor, direct: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Return the gradients of the operands that need one, by name.

    Args:
        problem: The recurrence, with W as a matrix.
        needed: Which operands need a gradient.
        grad: The gradient of the result.
        direct: Computes the gradients by the backward pass of an engine.
    """
    with without_autocast(grad.device):
        if torch.is_grad_enabled() or is_batched(grad):
            # A derivative of this derivative is wanted, or the derivatives for a batch of
            # gradients: both are torch's own if the plain loop is differentiated instead.
            return second_order.gradients(problem, needed, grad)
        return direct()
