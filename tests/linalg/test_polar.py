"""polar, contract and newton_schulz_step against singular value decompositions of numpy."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.linalg.common import random_unitary, with_singular_values
from tests.oracles import C128, DTYPES, F64, SIZES, as_numpy, defect, gap, normal, rounding
from unitary_zoo import linalg
from unitary_zoo.testing.strategies import batch_shapes, seeds


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_polar_equals_scipy(n, dtype):
    x = normal(n, n, dtype=dtype, seed=n)
    # The factor's condition is 1 / least singular value; the SVD is right to a few n eps.
    least = np.linalg.svd(as_numpy(x), compute_uv=False)[-1]
    wanted = scipy.linalg.polar(as_numpy(x))[0]
    assert gap(linalg.polar(x), wanted) <= 10 * n * torch.finfo(dtype).eps * max(1.0, 1 / least)


@pytest.mark.parametrize("off", [0.0, 1e-12, 1e-7, 1e-4, 1e-2, 0.03, 0.09, 0.11, 0.4])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 33])
def test_polar_and_its_gradient_are_right_at_any_distance_from_the_group(n, dtype, off):
    # Nearer than 0.1, or half of that where n is large, it is not by an SVD.
    noise = normal(n, n, dtype=dtype, seed=1)
    x = random_unitary(n, dtype) + off * noise / torch.linalg.matrix_norm(noise, 2)
    x, weight = x.requires_grad_(), normal(n, n, dtype=dtype, seed=2)
    w = linalg.polar(x)
    (grad,) = torch.autograd.grad((weight.conj() * w).real.sum(), x)
    u, s, vh = np.linalg.svd(as_numpy(x))
    limit = rounding(n, dtype, 10)
    assert gap(w, u @ vh) <= limit
    assert defect(w) <= limit
    m = u.conj().T @ as_numpy(weight) @ vh.conj().T
    wanted = u @ ((m - m.conj().T) / (s[:, None] + s[None, :])) @ vh
    # The weight has the norm 2 sqrt(n).
    assert gap(grad, wanted) <= 4 * math.sqrt(n) * limit


@given(shape=batch_shapes(), n=st.integers(1, 9), dtype=st.sampled_from(DTYPES), seed=seeds())
@settings(max_examples=30)
def test_polar_and_contract_of_a_batch_equal_those_of_its_members(shape, n, dtype, seed):
    x = normal(*shape, n, n, dtype=dtype, seed=seed)
    least = float(torch.linalg.svdvals(x).min())
    assume(least > 1e-3)
    for function in (linalg.polar, linalg.contract):
        together = function(x)
        one_by_one = torch.stack([function(y) for y in x.reshape(-1, n, n)]).reshape(x.shape)
        # Twice the bound on the error of each, as in the test above.
        limit = 20 * n * torch.finfo(dtype).eps / min(1.0, least)
        assert (together - one_by_one).abs().max() <= limit


@pytest.mark.parametrize("dtype", [F64, C128])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_polar_gradient_is_finite_and_exact_at_a_unitary_point(n, dtype):
    q, weight = random_unitary(n, dtype), normal(n, n, dtype=dtype, seed=1)
    x = q.clone().requires_grad_()
    (grad,) = torch.autograd.grad((weight.conj() * linalg.polar(x)).real.sum(), x)
    # Moving Q by dX moves its polar factor by the tangent part: Q skew(Q^H dX).
    m = q.mH @ weight
    assert gap(grad, q @ (m - m.mH) / 2) <= rounding(n, F64, 20) * max(1.0, float(m.abs().max()))


def test_torch_svd_gradient_is_not_finite_at_a_unitary_point():
    # Why polar has a backward of its own.
    x = torch.eye(3, dtype=F64, requires_grad=True)
    u, _, vh = torch.linalg.svd(x)
    ((u @ vh) * normal(3, 3)).sum().backward()
    assert not torch.isfinite(x.grad).all()


SINGULAR_VALUES = {
    "distinct": [2.0, 1.3, 0.4],
    "all equal": [1.5, 1.5, 1.5],
    "all one": [1.0, 1.0, 1.0],
    "near one": [1.03, 1.0, 0.97],
    "within rounding of one": [1.0 + 1e-15, 1.0, 1.0 - 1e-15],
    "two equal": [2.0, 2.0, 0.5],
    "two nearly equal": [2.0, 2.0 + 1e-9, 0.5],
    "all below one": [0.9, 0.5, 0.2],
    "two equal below one": [0.6, 0.6, 0.2],
    "all above one": [3.0, 2.0, 1.2],
    "on both sides of one": [1.4, 1.1, 0.3],
    "pairs on both sides": [1.4, 1.4, 0.3],
}


@pytest.mark.parametrize("case", SINGULAR_VALUES)
@pytest.mark.parametrize("dtype", [F64, C128])
def test_polar_gradient_equals_differences(dtype, case):
    x = with_singular_values(SINGULAR_VALUES[case], dtype).requires_grad_()
    assert torch.autograd.gradcheck(linalg.polar, x)


KINKS = ("all one", "near one", "within rounding of one")


@pytest.mark.parametrize("case", [case for case in SINGULAR_VALUES if case not in KINKS])
@pytest.mark.parametrize("dtype", [F64, C128])
def test_contract_gradient_equals_differences(dtype, case):
    # At singular values of exactly one it has a kink, and so no derivative.
    x = with_singular_values(SINGULAR_VALUES[case], dtype).requires_grad_()
    assert torch.autograd.gradcheck(linalg.contract, x)


@pytest.mark.parametrize("function", [linalg.polar, linalg.contract])
@pytest.mark.parametrize(
    "values", [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [2.0, 1.0, 0.0]]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_polar_and_contract_gradients_are_finite_at_kinks_and_singular_matrices(
    dtype, values, function
):
    x = with_singular_values(values, C128 if dtype.is_complex else F64).to(dtype).requires_grad_()
    function(x).abs().sum().backward()
    assert torch.isfinite(x.grad).all()


def with_determinant_one(x):
    return linalg.polar_with_determinant(x, 1)


def with_least_reversed(x):
    return linalg.with_least_reversed(linalg.polar(x), x)


SMOOTH = [
    (linalg.polar, [1.0, 1.0, 1.0]), (linalg.polar, [3.0, 1.1, 0.4]), (linalg.polar, [1.0, 1.0]),
    (linalg.contract, [3.0, 1.4, 0.4]), (linalg.contract, [0.6, 0.6, 0.4]),
    (linalg.contract, [2.0, 2.0]), (with_least_reversed, [3.0, 1.1, 0.4]),
    (with_least_reversed, [1.0, 1.0, 0.4]), (with_least_reversed, [2.0]),
]  # fmt: skip
"""Maps, and singular values around which they have derivatives of any order."""


@pytest.mark.parametrize(
    ("function", "values"), SMOOTH, ids=[f"{f.__name__}-{values}" for f, values in SMOOTH]
)
@pytest.mark.parametrize("dtype", [F64, C128])
def test_polar_contract_and_reversal_have_first_and_second_derivatives(function, values, dtype):
    x = with_singular_values(values, dtype).requires_grad_()
    assert torch.autograd.gradcheck(function, x, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, x, check_batched_grad=True)


# torch's own forward mode compiles its formulas by what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("function", [linalg.polar, linalg.contract, with_least_reversed])
@pytest.mark.parametrize("dtype", [F64, C128])
def test_polar_contract_and_reversal_have_the_same_hessian_in_every_mode(function, dtype):
    x = torch.view_as_real(with_singular_values([3.0, 1.4, 0.4], dtype).to(C128)).contiguous()
    weight = normal(3, 3, dtype=dtype, seed=2)

    def loss(parts):
        y = torch.view_as_complex(parts)
        return (weight.conj() * function(y if dtype.is_complex else y.real)).real.sum()

    wanted = torch.autograd.functional.hessian(loss, x)
    # The third power of 1 / (1.4 - 0.4), or of 1 / (1.4 + 0.4), times a few roundings.
    limit = rounding(3, F64, 100)
    for found in (
        torch.func.hessian(loss)(x),
        torch.func.jacrev(torch.func.jacrev(loss))(x),
        torch.func.jacrev(torch.func.jacfwd(loss))(x),
    ):
        assert gap(found, wanted) <= limit
    with pytest.raises(RuntimeError, match="reverse mode"):
        torch.func.jacfwd(torch.func.jacfwd(loss))(x)


@pytest.mark.parametrize("determinant", [1, -1])
def test_polar_with_determinant_gradient_equals_differences(determinant):
    for seed in range(4):  # both signs of the determinant of x
        x = normal(4, 4, seed=seed).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda x: linalg.polar_with_determinant(x, determinant), x, rtol=1e-5
        )


@pytest.mark.parametrize("values", [[1.0, 1.0], [2.0, 1.0, 1.0], [0.0, 0.0]])
def test_reversal_where_the_two_least_values_meet_is_orthogonal_with_a_finite_gradient(values):
    x = with_singular_values(values, F64).requires_grad_()
    w = with_least_reversed(x)
    assert defect(w) <= rounding(len(values), F64, 10)
    w.sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_contract_clips_singular_values_and_keeps_the_bases(n, dtype):
    x = normal(n, n, dtype=dtype, seed=n)
    u, s, vh = np.linalg.svd(as_numpy(x))
    wanted = (u * np.minimum(s, 1.0)) @ vh
    # The nearest point of a convex set moves no more than x, so the condition is 1; the SVD is
    # right to a few n eps times the norm, about 2 sqrt(n).
    limit = 10 * n * torch.finfo(dtype).eps * max(1.0, s[0])
    assert gap(linalg.contract(x), wanted) <= limit
    assert np.linalg.norm(as_numpy(linalg.contract(x)), 2) <= 1 + limit


def test_contract_keeps_a_contraction():
    x = with_singular_values([0.9, 0.5, 0.2], F64).requires_grad_()
    weight = normal(3, 3)
    y = linalg.contract(x)
    assert gap(y, x) <= rounding(3, F64, 10)
    (grad,) = torch.autograd.grad((y * weight).sum(), x)
    assert gap(grad, weight) <= rounding(3, F64, 10) * float(weight.abs().max())


@pytest.mark.parametrize("dtype", [F64, C128])
@pytest.mark.parametrize("size", [0.3, 1e-2, -1e-2, 1e-4, 1e-7])
def test_newton_schulz_step_squares_the_defect(size, dtype):
    # A singular value with s^2 = 1 + d becomes s (3 - s^2) / 2, of square 1 - d^2 (3 - d) / 4.
    n = 7
    w = random_unitary(n, dtype) * math.sqrt(1 + size)
    wanted = size**2 * (3 - size) / 4
    assert abs(defect(linalg.newton_schulz_step(w)) - wanted) <= 10 * n * torch.finfo(F64).eps


def test_newton_schulz_steps_converge_to_the_polar_factor():
    x = with_singular_values([1.6, 1.0, 0.3], C128)  # all below the square root of 3
    w = x
    for _ in range(12):
        w = linalg.newton_schulz_step(w)
    assert gap(w, scipy.linalg.polar(x.numpy())[0]) <= rounding(3, F64, 20)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
@pytest.mark.parametrize("place", [(0, 0), (2, 1), (-1, -1)])
def test_functions_of_singular_values_show_what_is_not_finite(value, dtype, place):
    # LAPACK returns identities for some of these, and raises errors for others.
    x = torch.randn(4, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    for start in (x, torch.linalg.qr(x).Q):
        bad = start.clone()
        bad[place] = value
        functions = [linalg.polar, linalg.contract]
        functions += [] if dtype.is_complex else [lambda y: linalg.polar_with_determinant(y, 1)]
        assert all(not torch.isfinite(function(bad)).any() for function in functions)
        both = torch.func.vmap(linalg.polar)(torch.stack([bad, start]))
        assert not torch.isfinite(both[0]).any()
        torch.testing.assert_close(both[1], linalg.polar(start))
