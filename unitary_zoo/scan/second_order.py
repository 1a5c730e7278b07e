"""The gradients of a scan by differentiating the plain loop, which torch knows in all its ways.

They are differentiable if gradients are enabled, and ``grad`` may be batched by ``torch.vmap``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unitary_zoo.scan import reference
from unitary_zoo.scan.lengths import at_ends, with_all_states
from unitary_zoo.scan.problem import AnyProblem


def gradients(problem: AnyProblem, needed: Mapping[str, bool], grad: Tensor) -> dict[str, Tensor]:
    """Return the gradients of the operands that need one, by name.

    Args:
        problem: The recurrence.
        needed: Which of ``problem.operands()`` need a gradient.
        grad: The gradient of the result.
    """
    # A view makes each operand a node of its own. If one was computed from another, as h0 by a scan
    # with the same W, the gradient of the other would otherwise include the path through that one,
    # which autograd itself adds afterwards.
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        operands = {
            name: tensor.view_as(tensor)
            for name, tensor in problem.operands()._asdict().items()
            if tensor is not None
        }
        given = problem.operands()._replace(**operands)
        out = _run(given.problem(*problem.options()))
    asked = {name: tensor for name, tensor in operands.items() if needed[name]}
    found = torch.autograd.grad(out, list(asked.values()), grad, create_graph=create_graph)
    return dict(zip(asked, found, strict=True))


def _run(problem: AnyProblem) -> torch.Tensor:
    if problem.lengths is None:
        return reference.run(problem)
    return at_ends(reference.run(with_all_states(problem)), problem.lengths)
