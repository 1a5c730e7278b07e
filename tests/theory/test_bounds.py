"""Bounds on Jacobians: against Jacobians measured by autograd, numpy and closed forms."""

import math
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theory.recurrences import SIZES, jacobian, pre_activations, problem, rounding
from unitary_zoo import Parametrization, nonlinearities, theory
from unitary_zoo.base import DenseMap
from unitary_zoo.testing.strategies import seeds
from unitary_zoo.testing.subject import haar, normal

F64 = torch.float64
NAMES = nonlinearities.NONLINEARITIES.names()
CASES = [
    (name, is_complex)
    for name in NAMES
    for is_complex in (False, True)
    if not is_complex or nonlinearities.get(name).accepts_complex
]
DRAWN = {
    "n": st.sampled_from(SIZES),
    "steps": st.integers(1, 6),
    "scale": st.sampled_from([0.3, 1.0, 3.0]),
    "seed": seeds(),
}
NON_NORMAL = torch.tensor([[0.5, 10.0], [0.0, 0.4]], dtype=F64)


def threshold_of(name, n, seed):
    """Thresholds of modReLU, not positive, and large enough to switch off some units."""
    return -normal(n, dtype=F64, seed=seed + 3).abs() if name == "modrelu" else None


def singular_values(matrix):
    s = torch.linalg.svdvals(matrix)
    return float(s.min()), float(s.max())


# ----------------------------------------------------------------------- against measured values


@pytest.mark.parametrize(("name", "is_complex"), CASES)
@settings(max_examples=20)
@given(**DRAWN)
def test_bounds_enclose_measured_jacobians(name, is_complex, n, steps, scale, seed):
    w, inputs, h = problem(n, steps, scale, seed, is_complex)
    b = threshold_of(name, n, seed)
    least, largest = singular_values(jacobian(w, inputs, h, name, b))
    wide = theory.gradient_bounds(w, theory.slopes(name, b, is_complex=is_complex), steps)
    # z starts one step before the inputs; its first entry may be anything.
    z = torch.cat([torch.ones_like(inputs[:1]), pre_activations(w, inputs, h, name, b)])
    first = theory.trajectory_bounds(w, z, name, b)
    slack = rounding(n, steps, float(wide.upper))
    assert first.log_upper.shape == (steps + 1,)
    assert first.log_lower[-1] == first.log_upper[-1] == 0
    assert float(wide.lower) <= float(first.lower[0]) + slack
    assert float(first.lower[0]) <= least + slack
    assert largest <= float(first.upper[0]) + slack
    assert float(first.upper[0]) <= float(wide.upper) + slack


@settings(max_examples=20)
@given(**DRAWN)
def test_trajectory_bounds_hold_where_modrelu_stretches(n, steps, scale, seed):
    w, inputs, h = problem(n, steps, scale, seed, True)
    b = normal(n, dtype=F64, seed=seed + 3).abs()
    least, largest = singular_values(jacobian(w, inputs, h, "modrelu", b))
    z = torch.cat([torch.ones_like(inputs[:1]), pre_activations(w, inputs, h, "modrelu", b)])
    lower, upper = theory.trajectory_bounds(w, z, "modrelu", b)
    slack = rounding(n, steps, float(upper[0]))
    assert float(lower[0]) <= least + slack
    assert largest <= float(upper[0]) + slack


@settings(max_examples=30)
@given(**DRAWN)
def test_gradient_bounds_hold_for_vectors_both_ways(n, steps, scale, seed):
    w, inputs, h = problem(n, steps, scale, seed, False)
    j = jacobian(w, inputs, h, "leaky_relu")
    lower, upper = theory.gradient_bounds(w, "leaky_relu", steps)
    v = normal(n, dtype=F64, seed=seed + 4)
    for image in (j @ v, j.mT @ v):
        gain = float(image.norm() / v.norm())
        slack = rounding(n, steps, float(upper))
        assert float(lower) - slack <= gain <= float(upper) + slack


def test_gradient_bounds_are_attained():
    # Diagonal W and units that are active: J = diag(2, .5)^k.
    w = torch.diag(torch.tensor([2.0, 0.5], dtype=F64))
    inputs = torch.ones(5, 2, dtype=F64)
    j = jacobian(w, inputs, torch.ones(2, dtype=F64), "relu")
    assert torch.equal(j, torch.diag(torch.tensor([2.0**5, 0.5**5], dtype=F64)))
    found = theory.gradient_bounds(w, (1, 1), 5)
    assert float(found.upper) == pytest.approx(2.0**5, rel=1e-14)
    assert float(found.lower) == pytest.approx(0.5**5, rel=1e-14)


# ---------------------------------------------------------------- singular values, not eigenvalues


def test_gradient_bounds_hold_for_a_matrix_that_is_not_normal():
    """The bounds by eigenvalues fail here: the larger one is .5."""
    j = jacobian(NON_NORMAL, torch.zeros(3, 2, dtype=F64), torch.ones(2, dtype=F64), "identity")
    least, largest = singular_values(j)
    assert largest > 40 * 0.5**3
    assert least < 0.4**3
    lower, upper = theory.gradient_bounds(NON_NORMAL, "identity", 3)
    assert float(lower) <= least * (1 + 1e-12)
    assert largest <= float(upper)


@pytest.mark.parametrize("n", SIZES)
def test_gradient_bounds_are_one_for_orthogonal_w_and_abs(n):
    w = haar(n, F64)
    steps = 50
    lower, upper = theory.gradient_bounds(w, "abs", steps)
    inputs, h = normal(steps, n, dtype=F64), normal(n, dtype=F64, seed=2)
    limit = rounding(n, steps, 1.0)
    for value in (*singular_values(jacobian(w, inputs, h, "abs")), float(lower), float(upper)):
        assert abs(value - 1) <= limit


# ---------------------------------------------------------------------------- values and their repr


@settings(max_examples=30)
@given(n=st.sampled_from(SIZES), seed=seeds(), is_complex=st.booleans())
def test_gradient_bounds_are_powers_of_singular_values(n, seed, is_complex):
    w, _, _ = problem(n, 1, 1.0, seed, is_complex)
    s = np.linalg.svd(w.numpy(), compute_uv=False)
    found = theory.gradient_bounds(w, (0.5, 3.0), [0, 1, 4])
    for i, k in enumerate((0, 1, 4)):
        # ln of the least singular value is off by its relative error, n eps s_max / s_min.
        limit = 100 * (k + 1) * n * torch.finfo(F64).eps * s.max() / s.min()
        assert float(found.log_upper[i]) == pytest.approx(k * math.log(3 * s.max()), abs=limit)
        assert float(found.log_lower[i]) == pytest.approx(k * math.log(s.min() / 2), abs=limit)


def test_gradient_bounds_of_thousands_of_steps_have_logarithms():
    w = torch.tensor([[3.0]])
    found = theory.gradient_bounds(w, (0.1, 1.0), 5000)
    assert found.upper == math.inf
    assert found.lower == 0
    assert float(found.log_upper) == pytest.approx(5000 * math.log(3))
    assert float(found.log_lower) == pytest.approx(5000 * math.log(0.3))
    # The digits of an exact integer: .3^5000 has the same ones.
    digits = Decimal(3**5000)
    shown = f"{digits:.3e}"
    assert repr(found) == f"Bounds({shown[:5]}e-2615 <= |Jv| / |v| <= {shown})"


def test_bounds_repr_of_one_and_of_many():
    one = theory.gradient_bounds(torch.eye(2), "relu", 3)
    assert repr(one) == "Bounds(0 <= |Jv| / |v| <= 1)"
    many = theory.gradient_bounds(torch.eye(2), (0.5, 2), [0, 1, 2])
    shape = "shape (3,), from the least to the largest"
    assert repr(many) == f"Bounds(0.25 <= |Jv| / |v| <= 4, {shape})"


def test_bounds_repr_of_none():
    found = theory.gradient_bounds(torch.eye(2), "relu", torch.zeros(0, 3, dtype=torch.long))
    assert repr(found) == "Bounds(of shape (0, 3))"


@pytest.mark.parametrize(("value", "shown"), [(1, "1"), (0.1, "0.1"), (1e-300, "1e-300")])
def test_bounds_repr_rounds(value, shown):
    for w in (value, value * (1 - 1e-13)):
        found = theory.gradient_bounds(torch.tensor([[w]], dtype=F64), (1, 1), [1, 2])
        expected = {"1": "1", "0.1": "0.01", "1e-300": "1e-600"}[shown]
        assert repr(found).startswith(f"Bounds({expected} <= |Jv| / |v| <= {shown},")


def test_gradient_bounds_of_no_step_are_one():
    lower, upper = theory.gradient_bounds(torch.zeros(2, 2), "relu", [0, 1])
    assert lower.tolist() == upper.tolist() == [1, 0]


def test_gradient_bounds_read_all_that_has_a_matrix():
    p = Parametrization.create("householder", 7)
    expected = theory.gradient_bounds(p.matrix().detach(), "abs", 3)
    before = [q.clone() for q in p.parameters()]
    state = torch.get_rng_state()
    for w in (p, p.prepare(), DenseMap(p.matrix())):
        found = theory.gradient_bounds(w, "abs", 3)
        assert not found.log_upper.requires_grad
        assert found.log_upper.dtype == F64
        # The matrix may be read by another route, in float32.
        torch.testing.assert_close(found.log_upper, expected.log_upper, rtol=0, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(before, p.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())


# ---------------------------------------------------------------------------------------- slopes


@pytest.mark.parametrize("name", [name for name in NAMES if name != "modrelu"])
def test_slopes_equal_differences(name):
    phi = nonlinearities.get(name).function
    z = torch.linspace(-40, 40, 8001, dtype=F64) + 1e-3  # not at a kink
    step = 1e-5
    found = ((phi(z + step) - phi(z - step)) / (2 * step)).abs()
    low, high = theory.slopes(name)
    # Differences: step^2 / 6 times a third derivative below 2, and eps |phi| / step of rounding.
    # The largest slopes are met at 1e-3 from 0, where tanh' is 1e-6 below its value there.
    assert float(found.min()) == pytest.approx(low, abs=1e-9)
    assert float(found.max()) == pytest.approx(high, abs=2e-6)


@settings(max_examples=50)
@given(r=st.floats(0.1, 3), angle=st.floats(0, 6.28), b=st.floats(-2, 2))
def test_slopes_of_complex_modrelu_are_its_singular_values(r, angle, b):
    if abs(r + b) < 1e-2:  # at the kink
        return
    z = torch.polar(torch.tensor(r, dtype=F64), torch.tensor(angle, dtype=F64))
    step = 1e-6
    phi, threshold = nonlinearities.modrelu, torch.tensor(b, dtype=F64)
    columns = [
        (phi(z + d, threshold) - phi(z - d, threshold)) / (2 * step) for d in (step, 1j * step)
    ]
    j = np.array([[c.real.item() for c in columns], [c.imag.item() for c in columns]])
    found = np.linalg.svd(j, compute_uv=False)
    expected = sorted((1.0, (r + b) / r), reverse=True) if r + b > 0 else (0.0, 0.0)
    # Second-order differences: step^2 / |z|^2 times a constant, and eps / step of rounding.
    assert found == pytest.approx(expected, abs=1e-7)
    if b <= 0:
        low, high = theory.slopes("modrelu", threshold, is_complex=True)
        assert low - 1e-7 <= found.min()
        assert found.max() <= high + 1e-7


def test_slopes_of_modrelu():
    b = torch.tensor
    assert theory.slopes("modrelu", b([0.0, 0.0]), is_complex=True) == (1, 1)
    assert theory.slopes("modrelu", b([0.0, -1.0]), is_complex=True) == (0, 1)
    assert theory.slopes("modrelu", b([0.0, 2.0])) == (1, 1)
    assert theory.slopes("modrelu", b([-0.1, 2.0])) == (0, 1)


# ---------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: theory.slopes("rellu"), ValueError, "relu"),
        (lambda: theory.gradient_bounds(torch.eye(2), "modrelu", 1), ValueError, "threshold b"),
        (
            lambda: theory.slopes("modrelu", torch.tensor([0.0, 0.1]), is_complex=True),
            ValueError,
            "threshold of 0.1 > 0 has no largest slope",
        ),
        (
            lambda: theory.gradient_bounds(torch.eye(2, dtype=torch.complex64), "relu", 1),
            ValueError,
            "real states only",
        ),
        (lambda: theory.gradient_bounds(torch.ones(2, 3), "relu", 1), ValueError, r"\(2, 3\)"),
        (lambda: theory.gradient_bounds(torch.ones(0, 0), "relu", 1), ValueError, r"\(0, 0\)"),
        (
            lambda: theory.gradient_bounds(torch.full((2, 2), math.nan), "relu", 1),
            ValueError,
            "finite",
        ),
        (lambda: theory.gradient_bounds([[1.0]], "relu", 1), TypeError, "W is a list"),
        (lambda: theory.gradient_bounds(torch.eye(2), (1,), 1), TypeError, "slope_range=.*pair"),
        (lambda: theory.gradient_bounds(torch.eye(2), 1.0, 1), TypeError, "slope_range=1.0; pass"),
        (lambda: theory.slopes("modrelu", torch.tensor([math.nan, -1])), ValueError, "undefined"),
        (lambda: theory.gradient_bounds(torch.eye(2), (1, 0.5), 1), ValueError, r"\(1.0, 0.5\)"),
        (lambda: theory.gradient_bounds(torch.eye(2), (-1, 1), 1), ValueError, "0 <= least"),
        (lambda: theory.gradient_bounds(torch.eye(2), (0, math.inf), 1), ValueError, "inf"),
        (lambda: theory.gradient_bounds(torch.eye(2), "relu", [3, -1]), ValueError, "steps=-1"),
        (lambda: theory.gradient_bounds(torch.eye(2), "relu", 1.5), TypeError, "float32"),
        (lambda: theory.gradient_bounds(torch.eye(2), "relu", True), TypeError, "bool"),
        (
            lambda: theory.trajectory_bounds(torch.eye(2), torch.ones(5, 3), "relu"),
            ValueError,
            r"\(5, 3\)",
        ),
    ],
)
def test_bounds_refuse_other_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()
