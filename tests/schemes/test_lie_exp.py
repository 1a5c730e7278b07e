"""lie_exp: W <- exp(-alpha g) W, against scipy's exponential."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.oracles import F64, as_numpy
from tests.schemes.descent import (
    build,
    coordinate_basis,
    first_order_decrease,
    gradient,
    tangent,
    target_for,
    train,
)
from unitary_zoo import attach


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_step_of_sgd_is_the_exponential_update(n, field):
    p, rate = build("lie_exp", n, field=field), 0.02
    target = target_for(p)
    w = as_numpy(p.matrix())
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    for found in train(p, optimizer, 6, target):
        w = scipy.linalg.expm(-rate * tangent(gradient(w, target), w)) @ w
        # Each step rounds by a few sqrt(n) eps and the steps before it are magnified by the
        # curvature, 1 + rate * 20 at most.
        assert np.abs(found - w).max() <= 100 * math.sqrt(n) * 2.3e-16 * 1.4**6


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop", "momentum"])
def test_step_of_another_optimizer_is_the_exponential_of_its_step(optimizer, field):
    def make(parameters):
        if optimizer == "momentum":
            return torch.optim.SGD(parameters, lr=0.02, momentum=0.9)
        return getattr(torch.optim, optimizer)(parameters, lr=0.02)

    n = 3
    p = build("lie_exp", n, field=field)
    target, w = target_for(p), as_numpy(p.matrix())
    opt = make(p.parameters())
    attach(p, opt)
    basis = coordinate_basis(n, field)
    # The same optimizer on a plain vector, which is given the coordinates of g as its gradient.
    plain = torch.zeros(len(basis), dtype=F64, requires_grad=True)
    own = make([plain])
    for found in train(p, opt, 6, target):
        g = tangent(gradient(w, target), w)
        plain.grad = torch.from_numpy(np.einsum("kij,ij->k", basis.conj(), g).real / 2)
        before = plain.detach().clone()
        own.step()
        step = np.tensordot((plain.detach() - before).numpy(), basis, 1)
        w = scipy.linalg.expm(step) @ w
        # The optimizer divides by the size of the gradient, so a rounding of 1e-15 in an entry of
        # size 1e-3 counts for 1e-12 in a step of 0.02.
        assert np.abs(found - w).max() <= 1e-12


def test_step_of_sgd_decreases_the_cost_by_half_the_squared_norm():
    slope, norm = first_order_decrease("lie_exp")
    # Left over: third derivatives, about slope * (20 rate)^2; and rounding, 1e-13 / rate.
    assert slope == pytest.approx(-0.5 * norm**2, rel=1e-4)
