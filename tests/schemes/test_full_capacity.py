"""full_capacity: the multiplicative Cayley update, against numpy's solve."""

import math

import numpy as np
import pytest
import torch

from tests.oracles import as_numpy
from tests.schemes.descent import (
    build,
    first_order_decrease,
    gradient,
    tangent,
    target_for,
    train,
)
from unitary_zoo import attach


@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_step_of_sgd_is_the_multiplicative_cayley_update(n):
    p, rate = build("full_capacity", n), 0.02
    target, w, one = target_for(p), as_numpy(p.matrix()), np.eye(n)
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    for found in train(p, optimizer, 6, target):
        a = tangent(gradient(w, target), w)
        w = np.linalg.solve(one + rate / 2 * a, (one - rate / 2 * a) @ w)
        assert np.abs(found - w).max() <= 100 * math.sqrt(n) * 2.3e-16 * 1.4**6


def test_step_of_sgd_decreases_the_cost_by_half_the_squared_norm():
    slope, norm = first_order_decrease("full_capacity")
    # Left over: third derivatives, about slope * (20 rate)^2; and rounding, 1e-13 / rate.
    assert slope == pytest.approx(-0.5 * norm**2, rel=1e-4)


def test_printed_form_of_the_update_does_not_descend():
    # A = G^H W - W^H G multiplied from the left, as often printed, against A = G W^H - W G^H: the
    # derivative of the cost along -A W is Re <G, -A W>.
    climbs = 0
    for seed in range(20):
        p = build("full_capacity", 5, seed=seed)
        target, w = target_for(p, seed + 100), as_numpy(p.matrix())
        g = gradient(w, target)
        printed = g.conj().T @ w - w.conj().T @ g
        climbs += np.vdot(g, -printed @ w).real > 0
        ours = np.vdot(g, -tangent(g, w) @ w).real
        assert ours == pytest.approx(-0.5 * np.linalg.norm(tangent(g, w)) ** 2)
        # Multiplied from the right and with the opposite sign it is the same direction as ours.
        assert np.vdot(g, w @ printed).real == pytest.approx(ours)
    assert climbs > 0
