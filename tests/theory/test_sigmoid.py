"""Theorem 3: the error of the approximation against its bound and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unitary_zoo import UnitaryRNN
from unitary_zoo.linalg import unitarity_defect
from unitary_zoo.testing.strategies import dtypes
from unitary_zoo.testing.subject import haar, normal
from unitary_zoo.theory import (
    halmos_dilation,
    sigmoid_approximation,
    sigmoid_error_bound,
)

F64 = torch.float64


def network(m: int, n: int, s: torch.Tensor, seed: int = 0, **options) -> UnitaryRNN:
    """A sigmoid network whose recurrent matrices have the singular values s."""
    rnn = UnitaryRNN(
        m, n, scheme="svd_projection", nonlinearity="sigmoid", contractive=True, **options
    )
    with torch.no_grad():
        for i, cell in enumerate(rnn.cells):
            u, v = (haar(n, F64, seed + 2 * i + j) for j in (0, 1))
            cell.recurrent.assign_((u * s) @ v)
            cell.weight_ih_parts.copy_(normal(*cell.weight_ih.shape, dtype=F64, seed=seed))
            cell.bias_parts.copy_(normal(n, dtype=F64, seed=seed + 1))
    return rnn


def scalar(w: float, v: float = 1.0, b: float = 0.0) -> UnitaryRNN:
    rnn = network(1, 1, torch.tensor([abs(w)], dtype=F64), dtype=F64)
    with torch.no_grad():
        rnn.cells[0].recurrent.weight.fill_(w)
        rnn.cells[0].weight_ih_parts.fill_(v)
        rnn.cells[0].bias_parts.fill_(b)
    return rnn


def error(rnn: UnitaryRNN, near: UnitaryRNN, x: torch.Tensor) -> float:
    """The largest distance of the shared states, over time."""
    directions = 2 if rnn.bidirectional else 1
    got = near(x)[0].unflatten(-1, (directions, -1))[..., : rnn.hidden_size].flatten(-2)
    return float((got - rnn(x)[0]).detach().norm(dim=-1).max())


@settings(max_examples=25)
@given(
    n=st.sampled_from([1, 2, 3, 7, 17]),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    learn_h0=st.booleans(),
    bias=st.sampled_from([-1.0, 0.0, 3.0, 10.0, 25.0]),
    scale=st.sampled_from([0.1, 3.0]),
    dtype=dtypes(),
    seed=st.integers(0, 1000),
)
def test_sigmoid_error_is_below_its_bound(
    n, layers, bidirectional, learn_h0, bias, scale, dtype, seed
):
    s = torch.linspace(0.2, 1.0, n, dtype=F64)
    options = {"num_layers": layers, "bidirectional": bidirectional, "learn_h0": learn_h0}
    rnn = network(2, n, s, seed, dtype=dtype, **options)
    near = sigmoid_approximation(rnn, bias)
    assert near.hidden_size == 2 * n
    for cell in near.cells:
        recurrent = cell.recurrent
        defect = float(unitarity_defect(recurrent.matrix()))
        assert defect <= recurrent.info.tolerance(2 * n, dtype)
    x = scale * normal(30, 4, 2, dtype=dtype, seed=seed)
    # Pre-activations are sums of 2 n + 4 terms, of scale (2 n + 4) at most in all, each rounded;
    # a third of an error goes on to the next step, and a second layer multiplies it by ||V|| < 2 n.
    rounding = 8 * max(scale, 1) * (2 * n + 8) ** 3 * torch.finfo(dtype).eps
    assert error(rnn, near, x) <= sigmoid_error_bound(rnn, bias) + rounding


@pytest.mark.parametrize(
    ("bias", "measured"), [(2, 3e-2), (5, 2e-3), (10, 1.5e-5), (20, 7e-10), (30, 3e-14)]
)
def test_sigmoid_error_falls_exponentially_with_the_bias(bias, measured):
    """One state, w = .8: the lower one is at most sigmoid(.6 - bias), and 0.6 of it comes back."""
    rnn = scalar(0.8)
    x = 3 * normal(200, 20, 1, dtype=F64)
    found = error(rnn, sigmoid_approximation(rnn, bias), x)
    bound = sigmoid_error_bound(rnn, bias)
    closed_form = 0.6 / (1 + math.exp(bias - 0.6)) / (4 - 0.8)
    np.testing.assert_allclose(bound, closed_form, rtol=1e-12)
    assert found <= bound + 1e-15
    assert measured / 2 <= found <= 2 * measured  # and the bound is no looser than it need be


@pytest.mark.parametrize("start", [500.0, -500.0])
@pytest.mark.parametrize("seed", range(2))
def test_sigmoid_bound_counts_learned_starts_outside_its_range(seed, start):
    rnn = network(2, 3, torch.tensor([0.2, 0.5, 0.8], dtype=F64), seed, dtype=F64, learn_h0=True)
    with torch.no_grad():
        # Where its row has that sign, this switches a new unit on.
        row = halmos_dilation(rnn.cells[0].recurrent.matrix())[3, :3]
        rnn.cells[0].h0_parts.copy_(torch.where(row * start > 0, start, 0.0))
    found = error(rnn, sigmoid_approximation(rnn, 20.0), normal(3, 2, 2, dtype=F64, seed=seed))
    assert 1e-4 < found <= sigmoid_error_bound(rnn, 20.0)  # with starts in [0, 1] it is 1e-8


def test_sigmoid_error_of_orthogonal_network_is_zero():
    rnn = network(2, 5, torch.ones(5, dtype=F64), dtype=F64)
    assert sigmoid_error_bound(rnn, 0.0) < 1e-7  # sqrt(1 - s^2) of s = 1 - eps is 2e-8
    x = normal(30, 4, 2, dtype=F64)
    assert error(rnn, sigmoid_approximation(rnn, 0.0), x) <= 1e-7


def test_sigmoid_refuses_other_arguments():
    rnn = scalar(0.8)
    for function in (sigmoid_approximation, sigmoid_error_bound):
        for bias in (math.inf, math.nan):
            with pytest.raises(ValueError, match=rf"bias={bias}.*finite"):
                function(rnn, bias)
        with pytest.raises(ValueError, match=r"'relu'.*'sigmoid'"):
            function(nn.RNN(1, 1, nonlinearity="relu"), 3.0)
        with pytest.raises(TypeError, match=r"a LSTM.*'sigmoid'"):
            function(nn.LSTM(1, 1), 3.0)
        large = UnitaryRNN(1, 2, scheme="spectral_band", nonlinearity="sigmoid", radius=0.5)
        large.cells[0].recurrent.assign_(1.25 * torch.eye(2))
        with pytest.raises(ValueError, match=r"norm 1\.25"):
            function(large, 3.0)
