"""The plain loops over time: the truth that every other backend is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from unitary_zoo.base import LinearMap
from unitary_zoo.scan.problem import AnyProblem, GatedProblem, Problem


def status() -> tuple[bool, str]:
    """Return that the loop runs everywhere, and when it is used."""
    return True, "used for single steps, and for maps by factors that native lacks: the plain loop"


def supports(problem: AnyProblem) -> tuple[bool, str]:
    """Return that the loop covers every case."""
    return True, "the plain loop covers every case"


def run(problem: AnyProblem) -> Tensor:
    """Return all states (T, B, n), or the last one (B, n) if not ``return_sequence``."""
    return _run_gated(problem) if isinstance(problem, GatedProblem) else _run_plain(problem)


def _run_plain(problem: Problem) -> Tensor:
    r""":math:`h_t = \phi(W h_{t-1} + V x_t + b)` for t = 1..T."""
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


def _run_gated(problem: GatedProblem) -> Tensor:
    r""":math:`h_t = (1 - z) \odot c + z \odot h_{t-1}` for t = 1..T, with two gates, r and z.

    :math:`r = \sigma(V_r x_t + b_r + W_r h_{t-1})`, :math:`z = \sigma(V_z x_t + b_z + W_z h_{t-1})`
    and the candidate :math:`c = \tanh(V_n x_t + b_n + r \odot (W_n h_{t-1} + b_{hn}))`.
    """
    p = problem
    h = p.h0
    states = []
    for x_t in p.x.unbind(0):
        from_x = torch.nn.functional.linear(x_t, p.weight_ih, p.bias).chunk(3, dim=-1)
        from_h = (h @ p.w.mT).chunk(3, dim=-1)
        r = torch.sigmoid(from_x[0] + from_h[0])
        z = torch.sigmoid(from_x[1] + from_h[1])
        product = from_h[2] if p.bias_hn is None else from_h[2] + p.bias_hn
        candidate = torch.tanh(from_x[2] + r * product)
        h = (1 - z) * candidate + z * h
        if p.return_sequence:
            states.append(h)
    return torch.stack(states) if p.return_sequence else h
