"""The recurrences as operators of torch, for all that looks at operators and not at Python.

A tracer (``torch.compile``, ``torch.export``, ``torch.jit.trace``, ``make_fx``) records one
operator for all steps, whatever T, and a dispatch mode (a FLOP counter, a logger) sees it. The
operators are registered when the library is imported: an exported program refers to them by name,
and can be loaded only where they are registered. Elsewhere the scan calls its engine directly,
which is faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unitary_zoo._torch import in_forward_mode, without_autocast
from unitary_zoo.scan import autograd, choice, flops
from unitary_zoo.scan.autograd import Engine, Needed, Saved
from unitary_zoo.scan.problem import AnyProblem, GatedOperands, Operands


def _define(name: str, kind: type[Any], arguments: str) -> tuple[Callable[..., Any], ...]:
    """Register a recurrence and its backward pass.

    Args:
        name: Name of the operator.
        kind: The kind of operands.
        arguments: The schema of the operands and of the options of the problem, in order.

    Returns:
        The operator, whose arguments are those and the name of a backend; and its backward pass,
        which takes the gradient of the result, all states or None, and whether each operand needs a
        gradient, before them. It returns the gradients of the operands that need one.
    """
    count = len(kind._fields)

    def problem_of(given: tuple[Any, ...]) -> AnyProblem:
        return kind(*given[:count]).problem(*given[count:-1])

    @_operator(name, f"({arguments}, str backend) -> Tensor")
    def forward(*given: Any) -> Tensor:
        _refuse_forward_mode()
        problem = problem_of(given)
        with without_autocast(problem.x.device):
            return choice.choose_engine(given[-1], problem).forward(problem, keep=False)[0]

    @_operator(
        f"{name}_backward",
        f"(Tensor grad, Tensor? states, bool[] needed, {arguments}, str backend) -> Tensor[]",
    )
    def backward(
        grad: Tensor, states: Tensor | None, needed: list[bool], *given: Any
    ) -> list[Tensor]:
        _refuse_forward_mode()
        problem, wanted = problem_of(given), dict(zip(kind._fields, needed, strict=True))
        with without_autocast(grad.device):
            engine = choice.choose_engine(given[-1], problem)
            saved = None if states is None else engine.restore(problem, states)
            if saved is None:
                _, saved = engine.forward(problem, keep=True)
            found = engine.backward(problem, saved, wanted, grad)
        return [found[name].contiguous() for name in kind._fields if wanted[name]]

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.options = inputs[count:]
        ctx.save_for_backward(*inputs[:count], _states(problem_of(inputs), output))

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *operands, states = ctx.saved_tensors
        needed = dict(zip(kind._fields, ctx.needs_input_grad[:count], strict=True))
        given = (*operands, *ctx.options)

        def direct() -> dict[str, Tensor]:
            found = backward(grad, states, list(needed.values()), *given)
            return dict(zip((name for name in needed if needed[name]), found, strict=True))

        found = autograd.gradients(problem_of(given), needed, grad, direct)
        return *map(found.get, needed), *[None] * len(ctx.options)

    def one_by_one(info: Any, dims: tuple[Any, ...], *given: Any) -> tuple[Tensor, int]:
        members = [
            forward(*(x if d is None else x.select(d, i) for x, d in zip(given, dims, strict=True)))
            for i in range(info.batch_size)
        ]
        return torch.stack(members), 0

    forward.register_fake(lambda *given: _empty_result(problem_of(given)))
    backward.register_fake(
        lambda grad, states, needed, *given: [
            x.new_empty(x.shape) for x, wanted in zip(given, needed, strict=False) if wanted
        ]
    )
    forward.register_autograd(differentiate, setup_context=setup_context)
    forward.register_vmap(one_by_one)
    flops.register(name, f"{name}_backward")
    return forward, backward


def _operator(name: str, schema: str) -> Callable[[Callable[..., Any]], Any]:
    return lambda function: torch.library.custom_op(
        f"unitary_zoo::{name}", function, mutates_args=(), schema=schema
    )


def _refuse_forward_mode() -> None:
    if in_forward_mode():  # torch would take the tangent of an operator to be zero
        raise NotImplementedError(
            "a compiled, exported or traced scan has no forward-mode derivative; call the layer "
            "itself, or differentiate in reverse mode"
        )


def _states(problem: AnyProblem, output: Tensor) -> Tensor | None:
    """Return all states, if they are kept for the backward pass; else it computes them again."""
    return output if problem.return_sequence and problem.checkpoint is None else None


def _empty_result(problem: AnyProblem) -> Tensor:
    steps = problem.x.shape[:1] if problem.return_sequence else ()
    return problem.x.new_empty((*steps, *problem.h0.shape))


_OPERATORS = {
    Operands: _define(
        "recurrent_scan",
        Operands,
        "Tensor x, Tensor w, Tensor h0, Tensor? weight_ih, Tensor? bias, Tensor? threshold, "
        "str nonlinearity, bool return_sequence, SymInt? checkpoint",
    ),
    GatedOperands: _define(
        "gated_scan",
        GatedOperands,
        "Tensor x, Tensor w, Tensor h0, Tensor weight_ih, Tensor? bias, Tensor? bias_hn, "
        "bool return_sequence, SymInt? checkpoint",
    ),
}


def differentiable(problem: AnyProblem, backend: str) -> Tensor:
    """Return the result of the operator; the operator knows its derivative.

    Args:
        problem: The recurrence.
        backend: "auto", or the name of a backend with a backward pass of its own.
    """
    operands = problem.operands()
    out: Tensor = _OPERATORS[type(operands)][0](*operands, *problem.options(), backend)
    return out


class Operators(Engine):
    """A backend by its operators, for use inside one function of autograd."""

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def forward(self, problem: AnyProblem, keep: bool) -> tuple[Tensor, Saved]:
        """Return the result, and the states if they are the result."""
        out = differentiable(problem, self._backend)
        return out, Saved((_states(problem, out),))

    def restore(self, problem: AnyProblem, states: Tensor) -> Saved | None:
        """Return the states."""
        return Saved((states,))

    def backward(
        self, problem: AnyProblem, saved: Saved, needed: Needed, grad: Tensor
    ) -> dict[str, Tensor]:
        """Return the gradients of the operands that need one, by name."""
        operands = problem.operands()
        found = _OPERATORS[type(operands)][1](
            grad, saved.tensors[0], list(needed.values()),
            *operands, *problem.options(), self._backend,
        )  # fmt: skip
        return dict(zip((name for name in needed if needed[name]), found, strict=True))
