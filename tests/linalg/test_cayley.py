"""cayley and its inverses against scipy and closed forms."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.linalg.common import plane_rotations, random_skew
from tests.oracles import C128, DTYPES, F64, FIELDS, SIZES, as_numpy, defect, gap, normal, rounding
from unitary_zoo import linalg


@pytest.mark.parametrize("norm", [1e-8, 1e-3, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_cayley_solves_its_equation(dtype, norm):
    for n in SIZES:
        a = random_skew(n, dtype, norm)
        wanted = scipy.linalg.solve(np.eye(n) + as_numpy(a), np.eye(n) - as_numpy(a))
        # The solve loses the condition of I + A, at most sqrt(1 + norm^2).
        assert gap(linalg.cayley(a), wanted) <= rounding(n, dtype, 10) * math.hypot(1.0, norm)


@pytest.mark.parametrize("a", [0.0, 1e-9, -0.2, 1.0, -7.0, 300.0, -1e4])
def test_cayley_rotates_by_minus_twice_the_arctangent(a):
    angle = -2 * math.atan(a)
    limit = 8 * torch.finfo(F64).eps * max(1.0, abs(a))  # the solve, as above
    one = linalg.cayley(torch.tensor([[1j * a]], dtype=C128))
    assert abs(one.item() - complex(math.cos(angle), math.sin(angle))) <= limit
    pair = linalg.cayley(torch.tensor([[0.0, -a], [a, 0.0]], dtype=F64))
    assert gap(pair, plane_rotations([angle], 2)) <= limit


@pytest.mark.parametrize("dtype", DTYPES)
def test_cayley_is_unitary_where_the_solve_loses_half_the_digits(dtype):
    # The solve leaves a defect of about norm * eps, of which the Newton-Schulz step leaves the
    # square: below eps up to this norm.
    norm = torch.finfo(dtype).eps ** -0.5
    for n in (1, 2, 7, 33):
        assert defect(linalg.cayley(random_skew(n, dtype, norm))) <= 4 * n * torch.finfo(dtype).eps


# From 96 on, short columns take another way to the inverse; by halves, which need not be equal.
@pytest.mark.parametrize("norm", [1e-3, 1.0, 4.0, 100.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 33, 95, 96, 97])
def test_cayley_and_its_gradient_equal_closed_forms(n, dtype, norm):
    a = random_skew(n, dtype, norm, batch=(2,)).requires_grad_()
    weight = normal(2, n, n, dtype=dtype, seed=1)
    w = linalg.cayley(a)
    (grad,) = torch.autograd.grad((weight.conj() * w).real.sum(), a)
    r = np.linalg.inv(np.eye(n) + as_numpy(a))
    limit = rounding(n, dtype, 10) * math.hypot(1.0, norm)
    assert gap(w, 2 * r - np.eye(n)) <= limit
    # dW = -2 R dA R, with R of norm 1 at most and a weight of norm about 2 sqrt(n).
    r = r.conj().swapaxes(-1, -2)
    assert gap(grad, -2 * r @ as_numpy(weight) @ r) <= 10 * math.sqrt(n) * limit


@pytest.mark.parametrize("norm", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_inverse_cayley_inverts_cayley(dtype, norm):
    for n in SIZES:
        a = random_skew(n, dtype, norm)
        back = linalg.inverse_cayley(linalg.cayley(a))
        assert torch.equal(back, -back.mH)
        # An angle right to e gives tan(angle/2) right to (1 + norm^2) e/2; e is the error of the
        # Cayley map, see above, or of the second solve, with the same condition.
        limit = rounding(n, dtype, 20) * math.hypot(1.0, norm) * (1 + norm**2)
        assert gap(back, a) <= limit


@pytest.mark.parametrize("n", [1, 2, 5, 12])
@pytest.mark.parametrize("field", FIELDS)
def test_inverse_scaled_cayley_leaves_its_argument(n, field):
    w = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64)).Q
    w = w.to(torch.complex128) if field == "complex" else w
    before = w.clone()
    a, d = linalg.inverse_scaled_cayley(w)
    assert torch.equal(w, before)
    assert (a + a.mH).abs().max() == 0
    assert (d.abs() - 1).abs().max() <= 1e-15


@pytest.mark.parametrize("field", FIELDS)
def test_cayley_has_first_and_second_derivatives(field):
    theta = normal(linalg.skew_dimension(3, field), seed=2).requires_grad_()

    def function(theta):
        return linalg.view_as_real_parts(
            linalg.cayley(linalg.skew_from_coordinates(theta, 3, field))
        )

    assert torch.autograd.gradcheck(function, theta)
    assert torch.autograd.gradgradcheck(function, theta)


def test_cayley_of_a_large_batch_equals_that_of_its_members():
    # With two or more threads, torch's LU of a batch of 256 x 256 can be wrong without an error.
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for n in (256, 520):  # in one piece, and by halves
            a = torch.randn(2, n, n, dtype=torch.float64)
            a = (a - a.mT) / n**0.5
            w = linalg.cayley(a)
            for x, found in zip(a, w, strict=True):
                x, found = x.numpy(), found.numpy()
                assert np.abs((np.eye(n) + x) @ found - (np.eye(n) - x)).max() <= 1e-12
            assert (linalg.inverse_cayley(w) - a).abs().max() <= 1e-9
            torch.testing.assert_close(torch.vmap(linalg.cayley)(a), w, rtol=0, atol=1e-12)
            functional = torch.randn(n, n, dtype=torch.float64)

            def value(x, functional=functional):
                return (linalg.cayley(x) * functional).sum()

            together = torch.vmap(torch.func.grad(value))(a)
            for x, found in zip(a, together, strict=True):
                wanted = torch.func.grad(value)(x)
                torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
def test_cayley_shows_what_is_not_finite(value, dtype):
    # (I + A)^-1 is 0 in the plane of an infinite angle.
    a = torch.zeros(5, 5, dtype=dtype)
    a[1, 2], a[2, 1] = value, -value
    assert not torch.isfinite(linalg.cayley(a)).all()
