"""expm_skew against scipy, torch in double precision, and closed forms."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from tests.linalg.common import plane_rotations, random_skew, random_unitary
from tests.oracles import (
    C128,
    DTYPES,
    F32,
    F64,
    FIELDS,
    SIZES,
    as_numpy,
    defect,
    gap,
    normal,
    rounding,
)
from unitary_zoo import linalg

# A is halved until its norm is at most the radius of a polynomial. The bound of the norm r is less
# than 1.6 r, so A is halved s times with 2^s <= 3.2 r / radius <= 6 r, and every squaring doubles
# the error that is there. The polynomial itself is four products. Hence 10 sqrt(n) eps max(1, r).
RADIUS = {F32: 2.8, F64: 0.6}


def planes(angles, dtype):
    """A batch of skew 2 x 2 matrices, or 1 x 1 if complex, and their exponentials by numpy."""
    angles = torch.as_tensor(angles).to(linalg.real_dtype(dtype))
    exact = angles.double().numpy()
    if dtype.is_complex:
        return (1j * angles)[:, None, None], np.exp(1j * exact)[:, None, None]
    j = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=dtype)
    wanted = np.cos(exact)[:, None, None] * np.eye(2) + np.sin(exact)[:, None, None] * j.numpy()
    return angles[:, None, None] * j, wanted


@pytest.mark.parametrize("dtype", DTYPES)
def test_expm_skew_of_planes_is_exact_to_rounding_up_to_the_radius(dtype):
    # Without squaring, W has the rounding of four products and half of one from the polynomial. The
    # terms of the polynomial are at most 1 in double precision and r^2 / 2 = 4 in single.
    real = linalg.real_dtype(dtype)
    a, wanted = planes(np.linspace(-RADIUS[real], RADIUS[real], 2001), dtype)
    error = np.abs(as_numpy(linalg.expm_skew(a)) - wanted) / torch.finfo(dtype).eps
    assert error.max() <= (8 if real == F32 else 2)
    assert error.mean() <= (1.3 if real == F32 else 0.5)


SPECTRA = {
    "equal": lambda m: np.ones(m),
    "one": lambda m: np.eye(1, m)[0],
    "one large": lambda m: np.r_[1.0, np.full(m - 1, 0.1)],
    "half": lambda m: np.r_[np.ones((m + 1) // 2), np.zeros(m // 2)],
    "falling": lambda m: 1 / np.arange(1, m + 1),
    "even": lambda m: np.arange(1, m + 1) / m,
}


def with_angles(angles, n, dtype):
    """Skew A and exp(A) in double precision, by numpy, for rotations of planes by these angles."""
    a = np.zeros((n, n))
    for k, t in enumerate(angles):
        a[2 * k, 2 * k + 1], a[2 * k + 1, 2 * k] = -t, t
    q = random_unitary(n, C128 if dtype.is_complex else F64, seed=n).numpy()
    a, w = (q @ x @ q.conj().T for x in (a, plane_rotations(angles, n)))
    return torch.from_numpy(a).to(dtype), w


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("dtype", DTYPES)
def test_expm_skew_is_exact_to_rounding_for_any_spectrum(dtype, spectrum, size):
    for n in (2, 3, 7, 33):
        a, wanted = with_angles(size * SPECTRA[spectrum](n // 2), n, dtype)
        assert gap(linalg.expm_skew(a), wanted) <= rounding(n, dtype, 10) * max(1.0, size)


@given(
    angles=st.lists(st.floats(1e-9, 1), min_size=1, max_size=8),
    scale=st.sampled_from([1e-6, 1, 40]), dtype=st.sampled_from(DTYPES),
)  # fmt: skip
@settings(max_examples=40)
def test_expm_skew_is_exact_to_rounding_for_random_spectra(angles, scale, dtype):
    n = 2 * len(angles)
    a, wanted = with_angles(scale * np.array(angles), n, dtype)
    assert gap(linalg.expm_skew(a), wanted) <= rounding(n, dtype, 10) * max(1.0, scale)


class Products(TorchFunctionMode):
    """Counts products of matrices."""

    count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += func.__name__ in {"matmul", "__matmul__", "addmm", "baddbmm"}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("dtype", DTYPES)
def test_expm_skew_halves_at_most_once_more_than_the_norm_needs(dtype, spectrum):
    size = 15.99 * RADIUS[linalg.real_dtype(dtype)]  # it needs to be halved four times
    needed = 4 + 4 + 2  # products in the polynomial, squarings, and in one Newton-Schulz step
    for n in (2, 7, 33, 128):
        # A fifth squaring brings a second Newton-Schulz step. The sixth root of the sum of sixth
        # powers is 2.2 times the norm for 128 equal numbers; as a bound it made a sixth squaring.
        a, _ = with_angles(size * SPECTRA[spectrum](n // 2), n, dtype)
        with Products() as products:
            linalg.expm_skew(a)
        assert needed <= products.count <= needed + 3


@pytest.mark.parametrize("norm", [1e-8, 1e-3, 0.05, 0.33, 0.5, 1.0, 1.57, math.pi, 10.0, 1e2, 1e4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_expm_skew_equals_scipy(dtype, norm):
    for n in SIZES:
        a = random_skew(n, dtype, norm)
        limit = rounding(n, dtype, 10) * max(1.0, norm)
        assert gap(linalg.expm_skew(a), scipy.linalg.expm(as_numpy(a))) <= limit


@pytest.mark.parametrize("n", SIZES)
def test_expm_skew_of_imaginary_symmetric_is_cosine_and_sine(n):
    h = normal(n, n)
    h = (h + h.mT) / math.sqrt(n)  # norm about 2.8
    wanted = scipy.linalg.cosm(h.numpy()) + 1j * scipy.linalg.sinm(h.numpy())
    assert gap(linalg.expm_skew(1j * h), wanted) <= rounding(n, F64, 30)


@pytest.mark.parametrize("angle", [1e-7, 1e-3, 0.04, 0.32, 0.45, 0.5, 1.0, 1.55, 2.1, 3.0])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_expm_skew_of_one_plane_is_a_rotation(dtype, angle):
    # torch.matrix_exp of this 2 x 2 matrix in float32 is off by 2.5e-5 at 0.5, 200 times the limit.
    a = torch.tensor([[0.0, -angle], [angle, 0.0]], dtype=dtype)
    turned = float(a[1, 0])  # the angle as the dtype holds it
    limit = 4 * torch.finfo(dtype).eps * max(1.0, angle)
    assert gap(linalg.expm_skew(a), plane_rotations([turned], 2)) <= limit


@pytest.mark.parametrize("dtype", DTYPES)
def test_expm_skew_of_zero_is_exactly_the_identity(dtype):
    for n in SIZES:
        assert torch.equal(
            linalg.expm_skew(torch.zeros(n, n, dtype=dtype)), torch.eye(n, dtype=dtype)
        )


@pytest.mark.parametrize("norm", [1e4, 1e6, 1e7, 1e8, 1e12])
@pytest.mark.parametrize("dtype", DTYPES)
def test_expm_skew_is_unitary_at_any_norm(dtype, norm):
    for n in (1, 2, 7, 33):
        w = linalg.expm_skew(random_skew(n, dtype, norm))
        # What the closing Newton-Schulz step leaves is the rounding of a few products of length n.
        assert defect(w) <= 4 * n * torch.finfo(dtype).eps


@pytest.mark.parametrize("norm", [0.0, 0.1, 1.0, 20.0])
@pytest.mark.parametrize("field", FIELDS)
def test_expm_skew_has_first_and_second_derivatives(field, norm):
    n = 3
    theta = normal(linalg.skew_dimension(n, field), seed=1)
    theta = (theta * norm / theta.norm()).requires_grad_()

    def function(theta):
        return linalg.view_as_real_parts(
            linalg.expm_skew(linalg.skew_from_coordinates(theta, n, field))
        )

    assert torch.autograd.gradcheck(function, theta)
    assert torch.autograd.gradgradcheck(function, theta)


@pytest.mark.parametrize("norm", [1e-6, 0.3, 2.0, 12.0])
@pytest.mark.parametrize("dtype", [F64, C128])
@pytest.mark.parametrize("n", [2, 7, 17])
def test_expm_skew_gradient_is_the_frechet_derivative(n, dtype, norm):
    a = random_skew(n, dtype, norm).requires_grad_()
    direction, weight = random_skew(n, dtype, 1.0, seed=1), normal(n, n, dtype=dtype, seed=2)
    (grad,) = torch.autograd.grad((weight.conj() * linalg.expm_skew(a)).real.sum(), a)
    found = (grad.conj() * direction).real.sum().item()
    _, moved = scipy.linalg.expm_frechet(a.detach().numpy(), direction.numpy())
    wanted = np.vdot(weight.numpy(), moved).real
    # The error of W, see above, times the entries of the functional, of norm n, and of the
    # direction, of norm 1.
    assert abs(found - wanted) <= n * rounding(n, F64, 20) * max(1.0, norm)


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0, 50.0, 1e5, 1e9, 1e12])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_expm_skew_gradient_of_one_plane_is_right_at_any_angle(dtype, angle):
    a = torch.tensor([[0.0, -angle], [angle, 0.0]], dtype=dtype, requires_grad=True)
    (grad,) = torch.autograd.grad(linalg.expm_skew(a)[1, 0], a)
    turned = float(a.detach()[1, 0])
    # sin(t) by t; as many digits are lost as the angle has before the point.
    found = float(grad[1, 0] - grad[0, 1])
    assert abs(found - math.cos(turned)) <= 10 * torch.finfo(dtype).eps * max(1.0, angle)


@pytest.mark.parametrize("norm", [0.1, 2.0, 5.0, 40.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 33])
def test_expm_skew_gradient_of_a_batch_equals_torch_in_double_precision(n, dtype, norm):
    a = random_skew(n, dtype, norm, batch=(2, 3))
    weight = normal(2, 3, n, n, dtype=dtype, seed=1)
    grads = []
    for function, x in ((linalg.expm_skew, a), (torch.matrix_exp, linalg.double(a))):
        x = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad((weight.to(x.dtype).conj() * function(x)).real.sum(), x)
        grads.append(grad - grad.mH)  # the function is one of skew matrices
    # As above, with the entries of the weight, of norm about 2 sqrt(n).
    assert gap(*grads) <= math.sqrt(n) * rounding(n, dtype, 40) * max(1.0, norm)
