"""The plain loop over time: the truth that every other backend is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from unitary_zoo.base import LinearMap
from unitary_zoo.scan.problem import Problem

BOUNDS_ITS_MEMORY = False


def status() -> tuple[bool, str]:
    """Everywhere."""
    return True, "used for single steps and for maps applied by their factors: the plain loop"


def supports(problem: Problem) -> tuple[bool, str]:
    """Everything."""
    return True, "the plain loop covers every case"


def run(problem: Problem) -> Tensor:
    r""":math:`h_t = \phi(W h_{t-1} + V x_t + b)` for t = 1..T.

    Returns:
        All states (T, B, n), or the last one (B, n) if ``problem.return_sequence`` is false.
    """
    p = problem
    h = p.h0
    states = []
    for x_t in p.x.unbind(0):
        z = x_t if p.weight_ih is None else x_t @ p.weight_ih.mT
        z = z + (p.w(h) if isinstance(p.w, LinearMap) else h @ p.w.mT)
        if p.bias is not None:
            z = z + p.bias
        h = p.activation.function(z, p.threshold)
        if p.return_sequence:
            states.append(h)
    return torch.stack(states) if p.return_sequence else h
