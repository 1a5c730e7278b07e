"""The backward pass of a compiled or fused scan as a differentiable function.

Where a derivative of a derivative is wanted the plain loop is differentiated instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unitary_zoo import nonlinearities
from unitary_zoo.scan import reference
from unitary_zoo.scan.problem import GatedProblem, Problem


def backward(
    inputs: Sequence[Tensor],
    name: str,
    return_sequence: bool,
    wanted: Sequence[bool],
    grad: Tensor,
) -> tuple[Tensor | None, ...]:
    """The gradients of the six ``inputs`` (see ``Problem.tensors``), None where not wanted."""
    inputs = x, w, h0, weight_ih, bias, threshold = _apart(inputs)
    problem = Problem(
        x, w, h0, nonlinearities.get(name), weight_ih, bias, threshold, return_sequence
    )
    return _gradients(reference.run(problem), inputs, wanted, grad)


def gated_backward(
    inputs: Sequence[Tensor], return_sequence: bool, wanted: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients of the six ``inputs`` (see ``GatedProblem.tensors``), None where not wanted."""
    inputs = x, w, h0, weight_ih, bias, bias_hn = _apart(inputs)
    problem = GatedProblem(x, w, h0, weight_ih, bias, bias_hn, return_sequence)
    return _gradients(reference.run_gated(problem), inputs, wanted, grad)


def _apart(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Each input as a node of its own.

    Where one was computed from another, as h0 by a scan with the same W, the gradient in the other
    would otherwise count its path through that one, which autograd itself adds afterwards.
    """
    return [t if t is None else t.view_as(t) for t in inputs]


def _gradients(
    out: Tensor, inputs: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    asked = {i: t for i, t in enumerate(inputs) if t is not None and wanted[i]}
    found = torch.autograd.grad(out, list(asked.values()), grad, create_graph=True)
    grads = dict(zip(asked, found, strict=True))
    return tuple(grads.get(i) for i in range(len(inputs)))
