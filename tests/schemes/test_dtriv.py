"""dtriv against its formula, its rebases, and the transport of moments."""

import copy
import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.oracles import FIELDS, SIZES, as_numpy
from tests.schemes.descent import cost, skew, target_for, train
from unitary_zoo import Parametrization, attach

OPTIMIZERS = {
    "Adam": lambda q: torch.optim.Adam(q, lr=0.02),
    "AdamW fused": lambda q: torch.optim.AdamW(q, lr=0.02, fused=True),
    "Adamax": lambda q: torch.optim.Adamax(q, lr=0.02),
    "RMSprop": lambda q: torch.optim.RMSprop(q, lr=0.02, momentum=0.9),
    "RMSprop centered": lambda q: torch.optim.RMSprop(q, lr=0.02, momentum=0.9, centered=True),
    "SGD": lambda q: torch.optim.SGD(q, lr=0.02, momentum=0.9),
}
FIRST = {"Adam": "exp_avg", "AdamW fused": "exp_avg", "Adamax": "exp_avg"}


def build(n, seed=0, **options):
    torch.manual_seed(seed)
    return Parametrization.create("dtriv", n, dtype=torch.float64, **options)


def skew_to_coordinates(a):
    above = a[np.triu_indices(len(a), 1)]
    if not np.iscomplexobj(a):
        return above
    return np.concatenate([above.real, above.imag, np.diag(a).imag / math.sqrt(2)])


def base_of(p):
    b = p.base.numpy()
    return b[..., 0] + 1j * b[..., 1] if p.field == "complex" else b


def reference(map, a):
    one = np.eye(len(a))
    return scipy.linalg.expm(a) if map == "expm" else np.linalg.solve(one - a / 2, one + a / 2)


@pytest.mark.parametrize("map", ["expm", "cayley"])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("n", SIZES)
def test_matrix_equals_the_formula(n, field, map):
    p = build(n, field=field, map=map)
    for scale in (0.01, 1.0):
        with torch.no_grad():
            p.theta.copy_(scale / math.sqrt(n) * torch.randn_like(p.theta))
        a = skew(as_numpy(p.theta), n, field)
        wanted = reference(map, a) @ base_of(p)
        # |A| is at most about 3, and both maps and their references round by a few eps of it.
        assert np.abs(as_numpy(p.matrix()) - wanted).max() <= 100 * math.sqrt(n) * 2.3e-16


@pytest.mark.parametrize("map", ["expm", "cayley"])
@pytest.mark.parametrize("field", FIELDS)
def test_map_derivative_at_zero_is_the_identity(field, map):
    n, t = 4, 1e-5
    p = build(n, field=field, map=map)
    direction = torch.randn_like(p.theta)
    with torch.no_grad():
        p.theta.copy_(t * direction)
        above = as_numpy(p.matrix())
        p.theta.copy_(-t * direction)
    found = (above - as_numpy(p.matrix())) / (2 * t) @ base_of(p).conj().T
    # Left over: t^2 |A|^3 / 6, and rounding over t.
    wanted = skew(as_numpy(direction), n, field)
    assert np.abs(found - wanted).max() <= 1e-8


@pytest.mark.parametrize("rebase_every", [None, math.inf])
def test_training_without_rebases_equals_the_static_scheme(rebase_every):
    p = build(5, rebase_every=rebase_every)
    base, target = base_of(p).copy(), target_for(p)
    optimizer = torch.optim.Adam(p.parameters(), lr=0.05)
    attach(p, optimizer)
    # The same optimizer on coordinates of its own, with torch's exponential.
    theta = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    own, (i, j) = torch.optim.Adam([theta], lr=0.05), np.triu_indices(5, 1)
    for _ in range(150):
        own.zero_grad()
        upper = torch.zeros(5, 5, dtype=torch.float64)
        upper = upper.index_put((torch.tensor(i), torch.tensor(j)), theta)
        w = torch.matrix_exp(upper - upper.mT) @ torch.from_numpy(base)
        cost(w, target).backward()
        own.step()
    train(p, optimizer, 150, target)
    assert int(p.steps) == 150
    np.testing.assert_array_equal(base_of(p), base)
    np.testing.assert_allclose(p.theta.detach(), theta.detach(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("field", FIELDS)
def test_training_with_a_rebase_each_step_is_riemannian_descent(field):
    p = build(4, field=field, rebase_every=1)
    rate, target, w = 0.02, target_for(p), as_numpy(p.matrix())
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    for _ in range(4):
        x = torch.from_numpy(w).requires_grad_()
        cost(x, target).backward()
        g = x.grad.numpy() @ w.conj().T
        w = scipy.linalg.expm(-rate * (g - g.conj().T)) @ w
        train(p, optimizer, 1, target)
        assert np.abs(as_numpy(p.matrix()) - w).max() <= 1e-13


@pytest.mark.parametrize("map", ["expm", "cayley"])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_rebase_transports_first_moments_and_keeps_the_rest(optimizer, field, map):
    p = build(4, field=field, map=map, rebase_every=5)
    target, opt = target_for(p), OPTIMIZERS[optimizer](p.parameters())
    handle = attach(p, opt)
    train(p, opt, 4, target)
    # The fifth step, once without the rebase, on a copy.
    handle.remove()
    unrebased = copy.deepcopy(p)
    alone = OPTIMIZERS[optimizer](unrebased.parameters())
    alone.load_state_dict(copy.deepcopy(opt.state_dict()))
    train(unrebased, alone, 1, target)
    attach(p, opt)
    train(p, opt, 1, target)
    assert not p.theta.any()
    before, after = alone.state[unrebased.theta], opt.state[p.theta]
    first = FIRST.get(optimizer, "momentum_buffer")
    a = skew(as_numpy(unrebased.theta), 4, field)
    assert np.linalg.norm(a, 2) > 0.05  # far enough to tell
    e = reference(map, a / 2)
    m = e @ skew(as_numpy(before[first]), 4, field) @ e.conj().T
    found = after[first].numpy()
    np.testing.assert_allclose(found, skew_to_coordinates(m), rtol=0, atol=1e-13)
    assert np.linalg.norm(found) == pytest.approx(float(before[first].norm()), rel=1e-12)
    for key, value in before.items():
        if key != first and isinstance(value, torch.Tensor):
            assert torch.equal(after[key], value), key


@pytest.mark.parametrize("map", ["expm", "cayley"])
@pytest.mark.parametrize("field", FIELDS)
def test_transport_is_that_of_gradients_to_second_order(field, map):
    # The gradient in A, taken along, is the gradient at A = 0 of the same W: off by |A|^2, where
    # the coordinates as they are would be off by |A|.
    errors, plain = [], []
    for t in (0.2, 0.1, 0.05):
        p = build(5, field=field, map=map, rebase_every=2)
        target = target_for(p)
        direction = torch.randn(p.theta.shape, dtype=torch.float64)
        with torch.no_grad():
            p.theta.copy_(t * direction / direction.norm())
        (before,) = torch.autograd.grad(cost(p.matrix(), target), p.theta)
        moved = p.transport(before)
        p.step_()
        assert p.theta.any()
        p.step_()
        assert not p.theta.any()
        (after,) = torch.autograd.grad(cost(p.matrix(), target), p.theta)
        errors.append(float((moved - after).norm()))
        plain.append(float((before - after).norm()))
    assert math.log2(errors[0] / errors[2]) / 2 == pytest.approx(2, abs=0.15)
    assert math.log2(plain[0] / plain[2]) / 2 == pytest.approx(1, abs=0.15)


def test_moments_are_kept_if_every_step_rebases():
    # With Adam: the step of plain momentum is along the momentum, which it would not turn.
    p = build(4, rebase_every=1)
    optimizer = torch.optim.Adam(p.parameters(), lr=0.05)
    attach(p, optimizer)
    target = target_for(p)
    train(p, optimizer, 2, target)
    kept = optimizer.state[p.theta]["exp_avg"].clone()
    optimizer.zero_grad()
    cost(p.matrix(), target).backward()
    wanted = 0.9 * kept + 0.1 * p.theta.grad
    optimizer.step()
    torch.testing.assert_close(optimizer.state[p.theta]["exp_avg"], wanted)


@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop", "SGD"])
def test_checkpoint_between_rebases_resumes_exactly(optimizer):
    p = build(4, rebase_every=4)
    target, opt = target_for(p), OPTIMIZERS[optimizer](p.parameters())
    attach(p, opt)
    train(p, opt, 6, target)
    assert p.theta.any()
    state, moments = copy.deepcopy(p.state_dict()), copy.deepcopy(opt.state_dict())
    train(p, opt, 7, target)
    q = build(4, seed=5, rebase_every=4)
    own = OPTIMIZERS[optimizer](q.parameters())
    attach(q, own)
    q.load_state_dict(state)
    own.load_state_dict(moments)
    train(q, own, 7, target)
    for key, value in p.state_dict().items():
        assert torch.equal(value, q.state_dict()[key]), key


def test_retraction_order_follows_the_map():
    assert build(3).info.retraction_order == math.inf
    assert build(3, map="cayley").info.retraction_order == 2
    assert Parametrization.get("dtriv").info.retraction_order == math.inf


@pytest.mark.parametrize("map", ["expm", "cayley"])
def test_determinant_one_is_kept_far_out_and_over_rebases(map):
    p = build(5, field="complex", determinant=1, map=map, rebase_every=2)
    for _ in range(5):
        with torch.no_grad():
            p.theta.add_(3 * torch.randn_like(p.theta))
        assert np.linalg.det(as_numpy(p.matrix())) == pytest.approx(1, abs=1e-12)
        p.step_()
        assert np.linalg.det(as_numpy(p.matrix())) == pytest.approx(1, abs=1e-12)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"map='exp'; pass one of \['cayley', 'expm'\]"):
        build(3, map="exp")
    for every in (0, -2, 1.5, True, "3", math.nan):
        with pytest.raises(ValueError, match=r"rebase_every=.*None for never"):
            build(3, rebase_every=every)
    assert build(3).rebase_every == 100
    assert build(3, rebase_every=math.inf).rebase_every is None
