"""Theorem 1: the unitary network against torch.nn.RNN, and its biases against closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tests.theory.contractive import F32, F64, contractive, inputs, rounding, shared
from unitary_zoo import UnitaryRNN, scan
from unitary_zoo.linalg import unitarity_defect
from unitary_zoo.testing.strategies import dtypes, seeds
from unitary_zoo.testing.subject import haar, normal
from unitary_zoo.theory import unitary_equivalent

SIZES = st.sampled_from([1, 2, 3, 7, 17, 33])
NATIVE = pytest.mark.skipif(
    not scan.backends()["native"].available, reason="installed without the compiled kernel"
)


@settings(max_examples=40)
@given(
    n=SIZES,
    m=st.integers(1, 3),
    rho=st.sampled_from([0.1, 0.9, 0.999]),
    batch=st.sampled_from([1, 4]),
    steps=st.sampled_from([1, 2, 40]),
    bound=st.sampled_from([1e-3, 1.0, 1e3]),
    dtype=dtypes(),
    seed=seeds(),
    minimal=st.booleans(),
)
def test_equivalent_equals_the_given_network(n, m, rho, batch, steps, bound, dtype, seed, minimal):
    rnn = contractive(m, n, rho, dtype, seed)
    x = inputs(steps, batch, m, bound=bound, dtype=dtype, seed=seed)
    unitary = unitary_equivalent(rnn, bound, minimal=minimal)
    assert unitary.hidden_size == 2 * n  # rho < 1: no singular value is 1
    wanted, end = rnn(x)
    got, last = unitary(x)
    limit = rounding(rnn, x, wanted)
    for a, b in ((got, wanted), (last, end)):
        old, new = shared(a, n)
        assert float((old - b).detach().abs().max()) <= limit
        assert not new.any()
    w = unitary.cells[0].recurrent.matrix()
    assert torch.equal(w[:n, :n], rnn.weight_hh_l0)
    info = unitary.cells[0].recurrent.info
    assert float(unitarity_defect(w)) <= info.tolerance(2 * n, dtype)


@settings(max_examples=25)
@given(
    n=st.sampled_from([2, 3, 7, 17]),
    ones=st.integers(1, 2),
    dtype=dtypes(),
    seed=seeds(),
    minimal=st.booleans(),
    start=st.sampled_from([0.0, 2.0]),
)
def test_equivalent_equals_a_network_of_norm_one(n, ones, dtype, seed, minimal, start):
    rnn = contractive(2, n, [1.0] * ones + [0.5] * (n - ones), dtype, seed)
    x = inputs(30, 3, 2, bound=1.0, dtype=dtype, seed=seed)
    h_0 = inputs(1, 3, n, bound=start, dtype=dtype, seed=seed + 1)
    unitary = unitary_equivalent(rnn, 1.0, 30, minimal, initial_bound=start)
    assert unitary.hidden_size == (2 * n - ones if minimal else 2 * n)
    wanted = rnn(x, h_0)[0]
    old, new = shared(unitary(x, functional.pad(h_0, (0, unitary.hidden_size - n)))[0], n)
    states = torch.cat([wanted, h_0])
    assert float((old - wanted).detach().abs().max()) <= rounding(rnn, x, states)
    assert not new.any()


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("n", [3, 17])
def test_equivalent_new_states_are_zero_for_ten_thousand_steps(dtype, n):
    rnn = contractive(2, n, 0.99, dtype)
    x = inputs(10_000, 2, 2, bound=1.0, dtype=dtype)
    with torch.no_grad():
        wanted = rnn(x)[0]
        old, new = shared(unitary_equivalent(rnn, 1.0)(x)[0], n)
    assert not new.any()
    assert float((old - wanted).abs().max()) <= rounding(rnn, x, wanted)  # not growing with T


@NATIVE
@settings(max_examples=15)
@given(
    n=SIZES,
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    learn_h0=st.booleans(),
    dtype=dtypes(),
    seed=seeds(),
    minimal=st.booleans(),
)
def test_equivalent_is_bit_by_bit_equal(n, layers, bidirectional, learn_h0, dtype, seed, minimal):
    options = {"bidirectional": bidirectional, "learn_h0": learn_h0, "dtype": dtype}
    rnn = UnitaryRNN(3, n, layers, "svd_projection", "relu", contractive=True, **options)
    for i, cell in enumerate(rnn.cells):
        cell.recurrent.assign_(0.5 * haar(n, F64, seed % 1000 + i))
        with torch.no_grad():
            cell.bias_parts.copy_(normal(n, dtype=dtype, seed=seed))
    x = inputs(20, 3, 3, bound=1.0, dtype=dtype, seed=seed)
    unitary = unitary_equivalent(rnn, 1.0, minimal=minimal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNITARY_ZOO_SCAN", "native")
        for got, wanted, d in zip(unitary(x), rnn(x), (1 + bidirectional, 1), strict=True):
            old, new = shared(got, n, d)
            assert torch.equal(old, wanted)
            assert not new.any()


def new_biases(unitary: UnitaryRNN, n: int) -> list[np.ndarray]:
    return [cell.bias.detach().numpy()[n:] for cell in unitary.cells]


def scalar(w: float, v: float, b: float, layers: int = 1, **options) -> nn.RNN:
    rnn = nn.RNN(1, 1, layers, nonlinearity="relu", dtype=F64, **options)
    values = {"weight_hh": w, "weight_ih": v, "bias_ih": b, "bias_hh": 0.0}
    with torch.no_grad():
        for name, p in rnn.named_parameters():
            p.fill_(values[name.partition("_l")[0]])
    return rnn


def test_equivalent_bias_is_the_largest_pre_activation():
    """Closed forms for one state, to the margin for rounding of a few ten eps."""
    w, v, b, bound = 0.6, 2.0, 0.5, 3.0
    near = {"rtol": 1e-13}
    root, gain = 0.8, v * bound + b
    rnn = scalar(w, v, b)
    np.testing.assert_allclose(
        new_biases(unitary_equivalent(rnn, bound), 1), [[-root * gain / (1 - w)]], **near
    )
    far = unitary_equivalent(rnn, bound, initial_bound=100.0)
    np.testing.assert_allclose(new_biases(far, 1), [[-root * 100]], **near)
    three = unitary_equivalent(rnn, bound, steps=3)
    np.testing.assert_allclose(new_biases(three, 1), [[-root * gain * (1 + w + w * w)]], **near)
    for start, largest in ((100.0, 100.0), (10.0, w**3 * 10 + gain * (1 + w + w * w))):
        both = unitary_equivalent(rnn, bound, steps=3, initial_bound=start)
        np.testing.assert_allclose(new_biases(both, 1), [[-root * largest]], **near)
    # The input that is always the largest brings the state to B: no smaller bias would do.
    with torch.no_grad():
        state = float(rnn(torch.full((100, 1, 1), bound, dtype=F64))[1])
    np.testing.assert_allclose(state, gain / (1 - w), rtol=1e-13)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_equivalent_bias_has_the_margin_for_rounding(dtype):
    # The weights and B = 16 are exact in both precisions, and the root is 1.
    rnn = scalar(0.0, 2.0, 0.5).to(dtype)
    (bias,) = new_biases(unitary_equivalent(rnn, 7.75), 1)
    # A pre-activation of m + n = 2 terms rounds by (2 (m + n) + 8) eps; the bias covers that of the
    # pre-activation, of B and of itself, and B, which is a bound as well, some more.
    gamma = 12 * torch.finfo(dtype).eps
    assert 4 * gamma <= -float(bias[0]) / 16 - 1 <= 8 * gamma


@pytest.mark.parametrize("steps", [None, 3])
def test_equivalent_bias_covers_learned_initial_states(steps):
    rnn = UnitaryRNN(1, 1, 1, "svd_projection", "relu", contractive=True, learn_h0=True, dtype=F64)
    (cell,) = rnn.cells
    cell.recurrent.assign_(torch.tensor([[0.6]], dtype=F64))
    with torch.no_grad():
        for parameter in (cell.weight_ih_parts, cell.bias_parts):
            parameter.fill_(0.5)
        cell.h0_parts.fill_(100.0)
    unitary = unitary_equivalent(rnn, 1.0, steps)
    np.testing.assert_allclose(new_biases(unitary, 1), [[-0.8 * 100]], rtol=1e-13)
    assert not shared(unitary(torch.ones(3, 1, 1, dtype=F64))[0], 1)[1].any()


@pytest.mark.parametrize(("dtype", "scale"), [(F32, 1.0), (F64, 1.0), (F32, 3e-44)])
def test_equivalent_new_states_are_zero_at_the_bound(dtype, scale):
    """One state with W > 0 comes to B itself under the largest input: there a rounding decides."""
    for seed in range(15):
        w, v, b = torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()
        w, v, b = 0.5 + 0.49 * w, scale * v, scale * b
        for options in ({}, {"steps": 1000}, {"initial_bound": (3 * v + b) / (1 - w)}):
            rnn = scalar(w, v, b).to(dtype)
            unitary = unitary_equivalent(rnn, 3.0, **options)
            h_0 = torch.tensor([[[options.get("initial_bound", 0.0), 0.0]]], dtype=dtype)
            with torch.no_grad():
                states, _ = unitary(torch.full((1000, 1, 1), 3.0, dtype=dtype), h_0)
            assert not states[..., 1].any()


def test_equivalent_bounds_go_from_layer_to_layer():
    w, v, b, bound, root = 0.6, 2.0, 0.5, 3.0, 0.8
    first = (v * bound + b) / (1 - w)
    for options, fed in (
        ({}, first),
        ({"dropout": 0.75}, 4 * first),
        ({"bidirectional": True}, 2 * first),  # ||V|| = sqrt(2) v on states of norm sqrt(2) B
    ):
        unitary = unitary_equivalent(scalar(w, v, b, layers=2, **options), bound)
        second = (v * fed + b) / (1 - w)
        per_layer = len(unitary.cells) // 2
        wanted = [[-root * first]] * per_layer + [[-root * second]] * per_layer
        np.testing.assert_allclose(new_biases(unitary, 1), wanted, rtol=1e-13)


@pytest.mark.parametrize("gap", [1e-6, 1e-9, 1e-12])
def test_equivalent_bias_keeps_its_digits_at_norm_near_one(gap):
    """(1 - rho^T) / (1 - rho) is the sum, not what is left of two cancellations."""
    w = 1 - gap
    (bias,) = new_biases(unitary_equivalent(scalar(w, 2.0, 0.5), 3.0, steps=3), 1)
    wanted = -math.sqrt((1 - w) * (1 + w)) * 6.5 * (1 + w + w * w)
    np.testing.assert_allclose(bias, [wanted], rtol=1e-13)


def test_equivalent_refuses_norms_above_one():
    for rnn, where in (
        (contractive(2, 4, 1.5), "layer 0"),
        (contractive(2, 4, 1.5, num_layers=2, bidirectional=True), "layer 0"),
    ):
        for steps in (None, 3):
            with pytest.raises(
                ValueError, match=rf"W of {where} has norm 1\.5, .*limit is 1.*clip"
            ):
                unitary_equivalent(rnn, 1.0, steps)
    rnn = contractive(2, 4, 0.5, num_layers=2, bidirectional=True)
    with torch.no_grad():
        rnn.weight_hh_l1_reverse.mul_(2.5)
    with pytest.raises(ValueError, match=r"W of layer 1, backward has norm 1\.25"):
        unitary_equivalent(rnn, 1.0)
    rnn = contractive(2, 4, 1.0, F32)
    with pytest.raises(
        ValueError, match=r"norm (1|0\.99\d*|1\.000\d*), .*float32.*pass steps=.*clip"
    ):
        unitary_equivalent(rnn, 1.0)
    unitary_equivalent(rnn, 1.0, steps=100)
    # A contraction, but within the rounding of float32 of none.
    with pytest.raises(ValueError, match=r"with the rounding of torch\.float32"):
        unitary_equivalent(contractive(2, 4, 1 - 1e-7, F32), 1.0)
    unitary_equivalent(contractive(2, 4, 1 - 1e-7, F64), 1.0)


@pytest.mark.parametrize("bad", [-1.0, math.inf, math.nan])
def test_equivalent_refuses_bounds_that_are_no_finite_numbers(bad):
    rnn = contractive(2, 3, 0.5)
    with pytest.raises(ValueError, match=r"input_bound=.*finite"):
        unitary_equivalent(rnn, bad)
    with pytest.raises(ValueError, match=r"initial_bound=.*finite"):
        unitary_equivalent(rnn, 1.0, initial_bound=bad)
    with pytest.raises(TypeError, match="input_bound is '1'"):
        unitary_equivalent(rnn, "1")


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_equivalent_refuses_steps_below_one(bad):
    with pytest.raises(ValueError, match=f"steps={bad}"):
        unitary_equivalent(contractive(2, 3, 0.5), 1.0, bad)


def test_equivalent_refuses_a_bound_that_overflows():
    with pytest.raises(ValueError, match=r"float32 ends at 3\.4e\+38; pass smaller.*\.double\(\)"):
        unitary_equivalent(contractive(2, 3, 0.5, F32), 1e39)
    with pytest.raises(ValueError, match=r"bounded by inf"):
        unitary_equivalent(contractive(2, 3, 1.0, F32), 1.0, steps=10**9)
