"""Run a recurrence by the backend that is chosen for it, or as an operator where it is traced."""

from __future__ import annotations

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo._torch import is_traced, is_watched, without_autocast
from unitary_zoo.scan import autograd, checkpointing, choice, operators
from unitary_zoo.scan.lengths import at_ends, with_all_states
from unitary_zoo.scan.problem import AnyProblem


def run(problem: AnyProblem, backend: str, dtype: torch.dtype) -> Tensor:
    """Run a recurrence.

    Args:
        problem: The recurrence.
        backend: "auto" or the name of a backend; the environment overrides "auto".
        dtype: The dtype of the inputs as they were given; if it is a half precision, so is a real
            result.

    Raises:
        ValueError: There is no such backend, or it cannot run this problem.
    """
    name = choice.requested(backend)
    with without_autocast(problem.x.device):
        out = _traced(problem, name) if is_traced() else _eager(problem, name)
    low = linalg.is_low_precision(dtype) and not out.is_complex()
    return out.to(dtype) if low else out


def _eager(problem: AnyProblem, name: str) -> Tensor:
    chosen, problem = choice.choose(name, problem)
    if problem.lengths is not None and (is_watched() or not choice.heeds_lengths(chosen)):
        return at_ends(_eager(with_all_states(problem), chosen), problem.lengths)
    if chosen == choice.PLAIN_LOOP:
        return checkpointing.plain_loop(problem)
    if is_watched():
        problem = problem.dense()  # the operators take matrices
    engine = choice.engine(chosen, problem)
    watched = engine if problem.by_factors else operators.Operators(chosen)
    return autograd.run(engine, watched, problem)


def _traced(problem: AnyProblem, name: str) -> Tensor:
    """Record one operator, whatever T; a map becomes its matrix, since T is not known."""
    if problem.lengths is not None:
        return at_ends(_traced(with_all_states(problem), name), problem.lengths)
    if name == choice.PLAIN_LOOP or (name == "auto" and choice.prefers_plain_loop(problem)):
        return checkpointing.plain_loop(problem)
    return operators.differentiable(problem.dense(), name)
