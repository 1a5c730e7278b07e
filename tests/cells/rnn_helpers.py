"""Cells for tests, and how near two routes to one result must be."""

import torch
from torch import Tensor, nn

from tests.oracles import named_learned
from unitary_zoo import UnitaryRNNCell
from unitary_zoo.testing.subject import normal

M, N, B = 3, 5, 4
F64 = torch.float64
EPS = torch.finfo(F64).eps


def bound(steps: int, size: float = 1.0) -> float:
    """Steps of sums of at most N + M + B terms of order `size`, each rounding once; W is unitary.

    The maps are 1-Lipschitz, so the roundings of a step are carried on without growth; gradients
    are sums over steps of as many products.
    """
    return 8 * steps**2 * (N + M + B) * EPS * max(1.0, size)


def assert_near(got: Tensor, wanted: Tensor, steps: int) -> None:
    assert got.shape == wanted.shape
    limit = bound(steps, float(wanted.detach().abs().max()))
    assert float((got - wanted).detach().abs().max()) <= limit


def cell_of(scheme: str = "expm", nonlinearity: str = "tanh", **options) -> UnitaryRNNCell:
    cell = UnitaryRNNCell(M, N, scheme, nonlinearity, dtype=F64, **options)
    with torch.no_grad():
        if cell.bias_parts is not None:  # it starts at zero, and would hide a mistake
            cell.bias_parts.copy_(normal(*cell.bias_parts.shape, dtype=F64, seed=3))
        if cell.threshold is not None:
            cell.threshold.copy_(0.2 * normal(N, dtype=F64, seed=4))
    return cell


def assert_grads_reach_every_parameter(module: nn.Module) -> None:
    for name, q in named_learned(module):
        assert q.grad is not None, name
        assert torch.isfinite(q.grad).all(), name
        assert float(q.grad.abs().max()) > 0, name
