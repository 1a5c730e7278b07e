"""Theorem 2: ranks against those of numpy and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from unitary_zoo import UnitaryRNN
from unitary_zoo.testing.strategies import seeds
from unitary_zoo.testing.subject import haar
from unitary_zoo.theory import (
    forgetting_rnn,
    unitary_equivalent,
    unitary_rank_certificate,
)

F64 = torch.float64


def rnn_of(w: Tensor) -> nn.RNN:
    """An nn.RNN with the recurrent matrix."""
    rnn = nn.RNN(2, len(w), nonlinearity="relu", dtype=F64)
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(w)
    return rnn


def of_corank_one(poles: list[float]) -> Tensor:
    """Eigenvalues ``poles`` and rank(I - A A^T) = 1: a chain of all-pass sections.

    Each section is orthogonal as a map (state, input) -> (state, output), so the only loss is the
    output of the chain. A_ii = p_i, and below the diagonal A_ij = c_i c_j prod_{j<k<i} (-p_k) with
    c = sqrt(1 - p^2).
    """
    n = len(poles)
    a = np.zeros((n, n))
    c = [math.sqrt(1 - p * p) for p in poles]
    for i in range(n):
        a[i, i] = poles[i]
        for j in range(i):
            a[i, j] = c[i] * c[j] * np.prod([-poles[k] for k in range(j + 1, i)])
    return torch.tensor(a)


# ----------------------------------------------------------------------------------- certificates


@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
@pytest.mark.parametrize("decay", [0.1, 0.5, 0.99])
def test_certificate_of_forgetting_rnn_is_twice_its_states(n, decay):
    rnn = forgetting_rnn(n, decay)
    found = unitary_rank_certificate(rnn)
    assert (found.active, found.corank, found.needed, found.states) == (n, n, n, 2 * n)
    for minimal in (False, True):
        network = unitary_equivalent(rnn, 1.0, minimal=minimal)
        upper = torch.arange(2 * n) < n
        own = unitary_rank_certificate(network, upper)
        assert (own.active, own.inactive, own.corank, own.needed) == (n, n, n, n)


def test_forgetting_rnn_is_linear_for_positive_inputs():
    rnn, x = forgetting_rnn(3, 0.7), torch.rand(20, 4, 3, dtype=F64)
    wanted = torch.zeros(20, 4, 3, dtype=F64)
    for t in range(20):
        for k in range(t + 1):
            wanted[t] += 0.7 ** (t - k) * x[k]
    torch.testing.assert_close(rnn(x)[0].detach(), wanted, rtol=1e-13, atol=0)  # 20 roundings


def test_forgetting_rnn_draws_no_random_numbers():
    before = torch.random.get_rng_state()
    forgetting_rnn(3)
    assert torch.equal(before, torch.random.get_rng_state())


@settings(max_examples=25)
@given(
    n=st.sampled_from([1, 2, 3, 7, 17]),
    seed=seeds(),
    part=st.floats(0, 1),
)
def test_certificate_corank_is_at_most_the_inactive_units_if_orthogonal(n, seed, part):
    rnn = UnitaryRNN(2, n, scheme="svd_projection", nonlinearity="relu", dtype=F64)
    w = haar(n, F64, seed)
    rnn.cells[0].recurrent.assign_(w)
    active = torch.zeros(n, dtype=torch.bool)
    active[torch.randperm(n)[: max(1, round(part * n))]] = True
    found = unitary_rank_certificate(rnn, active)
    m = w.numpy()[np.ix_(active.numpy(), active.numpy())]
    assert found.active + found.inactive == n
    assert found.corank == np.linalg.matrix_rank(np.eye(len(m)) - m @ m.T, tol=1e-9)
    assert found.needed <= found.corank <= found.inactive


@settings(max_examples=25)
@given(n=st.sampled_from([2, 3, 7]), repeated=st.integers(1, 3), seed=seeds())
def test_certificate_needs_as_many_units_as_an_eigenvalue_repeats(n, repeated, seed):
    """W is diagonal in other orthonormal coordinates."""
    repeated = min(repeated, n)
    values = torch.linspace(-0.8, 0.3, n, dtype=F64)
    values[:repeated] = 0.5
    t = haar(n, F64, seed)
    w = (t * values) @ t.mT
    found = unitary_rank_certificate(rnn_of(w))
    assert (found.corank, found.needed) == (n, repeated)


@pytest.mark.parametrize("poles", [[0.3, 0.5, 0.7, 0.9], [0.5], [-0.4, 0.6]])
def test_certificate_needs_one_unit_for_distinct_decays(poles):
    """This is why the decays of forgetting_rnn are equal: here the bound is 1, and attained."""
    w = of_corank_one(poles)
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(w.numpy()).real), sorted(poles))
    found = unitary_rank_certificate(rnn_of(w))
    assert (found.corank, found.needed) == (1, 1)
    assert unitary_equivalent(rnn_of(w), 1.0, steps=9, minimal=True).hidden_size == len(w) + 1


def test_certificate_of_orthogonal_and_defective_matrices():
    assert unitary_rank_certificate(rnn_of(haar(5, F64, 3))).needed == 0
    jordan = torch.tensor([[0.5, 0.5], [0.0, 0.5]], dtype=F64)
    # One eigenvector; the computed eigenvalues differ by at most the root of eps.
    assert unitary_rank_certificate(rnn_of(jordan)).needed <= 1


def test_equivalent_of_three_states_approximates_two_channels_to_any_error_but_zero():
    """Decays .5 +- delta share an inactive unit; the weights grow like 1 / delta.

    The states g of the two channels are T^-1 (h - c) for h' = A h + T x + (I - A) c, where A has
    corank 1 and c keeps h positive.
    """
    assert unitary_rank_certificate(forgetting_rnn(2)).states == 4
    x = torch.rand(12, 24, 2, dtype=F64)
    wanted = forgetting_rnn(2)(x)[0].detach()
    errors = []
    for delta in (1e-1, 1e-2, 1e-3, 1e-4):
        p, q = 0.5 + delta, 0.5 - delta
        k = math.sqrt((1 - p * p) * (1 - q * q))
        a = torch.tensor([[p, k], [0.0, q]], dtype=F64)
        t = torch.tensor([[1.0, k / (q - p)], [0.0, 1.0]], dtype=F64)
        c = torch.tensor([8 / delta, 8.0], dtype=F64)
        rnn = rnn_of(a)
        with torch.no_grad():
            rnn.weight_ih_l0.copy_(t)
            rnn.bias_ih_l0.copy_(c - a @ c)
            rnn.bias_hh_l0.zero_()
        unitary = unitary_equivalent(rnn, 2**0.5, 12, minimal=True, initial_bound=float(c.norm()))
        assert unitary.hidden_size == 3
        h_0 = functional.pad(c, (0, 1)).expand(1, 24, 3).contiguous()
        h = unitary(x, h_0)[0][..., :2].detach()
        got = (h - c) @ torch.linalg.inv(t).mT
        errors.append(float((got - wanted).norm() / wanted.norm()))
    ratios = np.array(errors[:-1]) / errors[1:]
    np.testing.assert_allclose(ratios, 10, rtol=0.1)  # of first order in delta
    assert errors[-1] < 2e-4


# ----------------------------------------------------------------------------------------- errors


def test_minimality_refuses_other_arguments():
    for n in (0, 1.5, True):
        with pytest.raises(ValueError, match=f"n={n}"):
            forgetting_rnn(n)
    for decay in (0.0, 1.0, -0.5, math.nan):
        with pytest.raises(ValueError, match=rf"decay={decay}.*\(0, 1\)"):
            forgetting_rnn(2, decay)
    two = nn.RNN(2, 3, 2, nonlinearity="relu")
    with pytest.raises(ValueError, match=r"num_layers=2 and bidirectional=False.*one cell"):
        unitary_rank_certificate(two)
    with pytest.raises(ValueError, match=r"'tanh'"):
        unitary_rank_certificate(nn.RNN(2, 3))
    with pytest.raises(TypeError, match=r"a GRU"):
        unitary_rank_certificate(nn.GRU(2, 3))
    for mask in (torch.ones(2), torch.ones(3, dtype=torch.bool), torch.zeros(2, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"active is .*bool mask of shape \(2,\)"):
            unitary_rank_certificate(forgetting_rnn(2), mask)
