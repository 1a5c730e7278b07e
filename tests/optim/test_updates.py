"""attach: the updates with SGD are those of the papers."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.optim.training import build, cost, gradient, tangent, target_for, train
from tests.oracles import F64, as_numpy
from unitary_zoo import attach


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_lie_exp_sgd_step_is_the_exponential_update(n, field):
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


def coordinate_basis(n, field):
    """The documented basis of the tangent space, matrices of norm sqrt(2), entry by entry."""
    above = [(i, j) for i in range(n) for j in range(i + 1, n)]
    basis = []
    for i, j in above:
        e = np.zeros((n, n))
        e[i, j], e[j, i] = 1, -1
        basis.append(e)
    if field == "complex":
        for i, j in above:
            e = np.zeros((n, n), complex)
            e[i, j] = e[j, i] = 1j
            basis.append(e)
        for k in range(n):
            e = np.zeros((n, n), complex)
            e[k, k] = 1j * math.sqrt(2)
            basis.append(e)
    return np.stack(basis)


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop", "momentum"])
def test_lie_exp_step_of_another_optimizer_is_the_exponential_of_it(optimizer, field):
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


@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_full_capacity_sgd_step_is_the_multiplicative_cayley_update(n):
    p, rate = build("full_capacity", n), 0.02
    target, w, one = target_for(p), as_numpy(p.matrix()), np.eye(n)
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    for found in train(p, optimizer, 6, target):
        a = tangent(gradient(w, target), w)
        w = np.linalg.solve(one + rate / 2 * a, (one - rate / 2 * a) @ w)
        assert np.abs(found - w).max() <= 100 * math.sqrt(n) * 2.3e-16 * 1.4**6


@pytest.mark.parametrize("name", ["full_capacity", "lie_exp"])
def test_sgd_step_decreases_the_cost_by_half_the_squared_norm(name):
    decreases, target = [], None
    for rate in (1e-4, 2e-4):
        p = build(name, 5)
        target = target_for(p)
        w = as_numpy(p.matrix())
        start = float(cost(torch.from_numpy(w), target))
        optimizer = torch.optim.SGD(p.parameters(), lr=rate)
        attach(p, optimizer)
        (w_next,) = train(p, optimizer, 1, target)
        decreases.append((float(cost(torch.from_numpy(w_next), target)) - start) / rate)
    slope = 2 * decreases[0] - decreases[1]  # the curvature, linear in the rate, taken out
    wanted = -0.5 * np.linalg.norm(tangent(gradient(w, target), w)) ** 2
    # Left over: third derivatives, about wanted * (20 rate)^2; and rounding, 1e-13 / rate.
    assert slope == pytest.approx(wanted, rel=1e-4)


def test_printed_form_of_the_update_does_not_descend():
    # A = G^H W - W^H G multiplied from the left, as often printed, against A = G W^H - W G^H: the
    # derivative of the cost along -A W is Re <G, -A W>.
    target, climbs = None, 0
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


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_svd_projection_sgd_step_is_the_polar_factor(n, field):
    p, rate = build("svd_projection", n, field=field), 0.02
    target, w = target_for(p), as_numpy(p.matrix())
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    for found in train(p, optimizer, 6, target):
        w = scipy.linalg.polar(w - rate * gradient(w, target))[0]
        assert np.abs(found - w).max() <= 100 * math.sqrt(n) * 2.3e-16 * 1.4**6


@pytest.mark.parametrize("field", ["real", "complex"])
def test_svd_projection_contractive_step_clips_the_singular_values(field):
    p, rate = build("svd_projection", 5, field=field, contractive=True), 0.1
    target, w = 0.6 * target_for(p), as_numpy(p.matrix())
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    clipped = 0
    for found in train(p, optimizer, 8, target):
        u, s, vh = np.linalg.svd(w - rate * gradient(w, target))
        clipped += int((s > 1).sum())
        w = (u * np.minimum(s, 1)) @ vh
        assert np.abs(found - w).max() <= 100 * math.sqrt(5) * 2.3e-16 * 2.0**8
    s = np.linalg.svd(w, compute_uv=False)
    assert clipped > 0
    assert s.min() < 0.99  # not merely unitary
