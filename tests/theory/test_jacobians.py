"""Jacobians over several steps, against autograd through the module, differences and bounds."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.theory.probed import (
    DRAWN,
    F64,
    FEW,
    M,
    build,
    each_kind,
    inputs_of,
    joint,
    split,
    states_of,
)
from tests.theory.recurrences import rounding
from unitary_zoo import UnitaryRNN, theory
from unitary_zoo.testing.strategies import seeds
from unitary_zoo.testing.subject import normal


@each_kind
@pytest.mark.parametrize(("n", "steps", "batch"), [(1, 1, 1), (1, 3, 2), (2, 4, 1), (3, 3, 2)])
def test_jacobians_equal_those_of_autograd_through_the_module(kind, n, steps, batch):
    rnn = build(kind, n, seed=5)
    x = inputs_of(rnn, steps, batch, seed=6)
    time = 1 if getattr(rnn, "batch_first", False) else 0
    with torch.no_grad():
        states = states_of(rnn, x)
    found = list(theory.jacobians(rnn, x))[::-1]
    norms = theory.jacobian_norms(rnn, x)
    assert len(found) == steps
    assert norms.shape == (steps, batch)
    for t in range(steps):
        if t == steps - 1:
            size = joint(states[t]).shape[1]
            wanted = torch.eye(size, dtype=F64).expand(batch, size, size)
        else:
            rest = x.narrow(time, t + 1, steps - 1 - t)
            whole = torch.autograd.functional.jacobian(
                lambda s: joint(rnn(rest, split(s, states[t]))[1]), joint(states[t])
            )
            wanted = torch.stack([whole[b, :, b] for b in range(batch)])
        size = float(torch.linalg.matrix_norm(wanted, 2).max())
        # Jacobians of a step have entries of order 1; both multiply the same ones.
        limit = rounding(wanted.shape[1], steps, max(1.0, size))
        assert float((found[t] - wanted).abs().max()) <= limit
        expected = np.linalg.svd(wanted.numpy(), compute_uv=False).max(-1)
        np.testing.assert_allclose(norms[t], expected, rtol=0, atol=wanted.shape[1] * limit)


def test_jacobians_of_complex_modrelu_equal_differences():
    rnn = build("complex", 3, seed=1)
    x = inputs_of(rnn, 4, 1, seed=2)
    start = states_of(rnn, x)[0].detach()
    found = list(theory.jacobians(rnn, x))[-1][0]
    step = 1e-6
    for column in range(6):
        d = torch.zeros(1, 6, dtype=F64)
        d[0, column] = step
        with torch.no_grad():
            ends = [joint(rnn(x[1:], split(joint(start) + s * d, start))[1])[0] for s in (1, -1)]
        difference = (ends[0] - ends[1]) / (2 * step)
        # step^2 times third derivatives, b / |z|^3 of modReLU, and eps / step of rounding
        assert float((found[:, column] - difference).abs().max()) <= 1e-7


REAL = ("relu", "leaky_relu", "abs", "tanh", "sigmoid", "identity", "modrelu")
BOUNDED = [("expm", name) for name in REAL] + [
    ("spectral_band", "leaky_relu"),
    ("householder", "abs"),
    ("full_capacity", "modrelu"),
    ("full_capacity", "identity"),
    ("arjovsky", "modrelu"),
]


@pytest.mark.parametrize(("scheme", "nonlinearity"), BOUNDED)
@FEW
@given(**DRAWN)
def test_jacobians_lie_within_the_bounds(scheme, nonlinearity, n, steps, batch, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rnn = UnitaryRNN(M, n, 1, scheme, nonlinearity, dtype=F64)
        cell = rnn.cells[0]
        if cell.threshold is not None:
            cell.threshold.data.copy_(-torch.rand_like(cell.threshold))
    x = normal(steps, batch, M, dtype=F64, seed=seed)
    pair = theory.slopes(nonlinearity, cell.threshold, is_complex=cell.is_complex)
    lower, upper = theory.gradient_bounds(cell.recurrent, pair, torch.arange(steps).flip(0))
    s = torch.stack([torch.linalg.svdvals(j) for j in theory.jacobians(rnn, x)][::-1])
    slack = rounding(n, steps, float(upper.max()))
    assert s.shape[:2] == (steps, batch)
    assert (s.amax(-1) <= upper[:, None] + slack).all()
    assert (s.amin(-1) >= lower[:, None] - slack).all()
    torch.testing.assert_close(theory.jacobian_norms(rnn, x), s.amax(-1), rtol=0, atol=slack)


@FEW
@given(n=st.sampled_from([2, 3, 7]), seed=seeds())
def test_jacobian_norms_by_random_rows_are_at_most_the_norm(n, seed):
    rnn = build("lstm", n, seed)
    x = inputs_of(rnn, 4, 2, seed)
    exact = theory.jacobian_norms(rnn, x)
    slack = rounding(2 * n, 4, float(exact.max()))
    for k in (1, n):
        estimate = theory.jacobian_norms(rnn, x, vectors=k)
        assert (estimate <= exact + slack).all()
        assert (estimate > 0).all()
    all_rows = theory.jacobian_norms(rnn, x, vectors=2 * n)
    torch.testing.assert_close(all_rows, exact, rtol=0, atol=slack)
    state = torch.get_rng_state()
    assert torch.equal(estimate, theory.jacobian_norms(rnn, x, vectors=n))
    assert torch.equal(state, torch.get_rng_state())


def test_jacobian_norms_by_random_rows_of_an_isometry_are_exact():
    rnn = UnitaryRNN(M, 17, scheme="expm", nonlinearity="abs", dtype=F64)
    found = theory.jacobian_norms(rnn, torch.rand(50, 2, M, dtype=F64), vectors=2)
    assert float((found - 1).abs().max()) <= rounding(17, 50, 1.0)


def test_jacobian_norms_of_an_exploding_network_are_infinite():
    rnn = nn.RNN(M, 1, nonlinearity="relu", bias=False)
    with torch.no_grad():
        rnn.weight_hh_l0.fill_(10.0)
        rnn.weight_ih_l0.fill_(1e-30)
    x = torch.rand(60, 2, M)
    single = theory.jacobian_norms(rnn, x)
    exact = 10.0 ** torch.arange(59, -1, -1, dtype=F64).unsqueeze(1).expand(60, 2)
    overflows = exact > torch.finfo(torch.float32).max
    assert (single[overflows] == torch.inf).all()
    torch.testing.assert_close(single[~overflows], exact[~overflows], rtol=1e-5, atol=0)
    torch.testing.assert_close(theory.jacobian_norms(rnn, x, double=True), exact)


def test_jacobian_norms_with_nan_in_one_sequence_keep_the_others():
    rnn = build("deep lstm", 3, seed=0)
    x = inputs_of(rnn, 5, 3, seed=1)
    wanted = theory.jacobian_norms(rnn, x)
    x[1, 3] = torch.nan
    found = theory.jacobian_norms(rnn, x)
    assert torch.equal(found[:, [0, 2]], wanted[:, [0, 2]])
    assert found[:3, 1].isnan().all()  # of a path by way of that input
    assert float(found[4, 1]) == 1
