"""linalg: every map against scipy, numpy, a closed form or finite differences."""

import math
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unitary_zoo import linalg
from unitary_zoo.testing.strategies import batch_shapes, dtypes, seeds

SIZES = (1, 2, 3, 7, 17, 33)
F32, F64, C64, C128 = torch.float32, torch.float64, torch.complex64, torch.complex128
DTYPES = (F32, F64, C64, C128)
FIELDS = ("real", "complex")


def normal(*shape, dtype=F64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def random_skew(n, dtype, norm, seed=0, batch=()):
    """Skew matrices of the spectral norm given, by no function of the library."""
    g = normal(*batch, n, n, dtype=C128 if dtype.is_complex else F64, seed=seed)
    a = g - g.mH
    size = torch.linalg.matrix_norm(a, 2)[..., None, None]
    return (a * (norm / torch.where(size > 0, size, 1.0))).to(dtype)


def random_unitary(n, dtype, seed=0):
    """An orthonormal basis found by scipy, with det +1 if real."""
    g = normal(n, n, dtype=C128 if dtype.is_complex else F64, seed=seed).numpy()
    q = scipy.linalg.qr(g)[0]
    if not dtype.is_complex and np.linalg.det(q) < 0:
        q[:, 0] *= -1
    return torch.from_numpy(q).to(dtype)


def plane_rotations(angles, n):
    """Block diagonal: real rotations by the angles, then ones."""
    w = np.eye(n)
    for k, t in enumerate(angles):
        c, s = math.cos(t), math.sin(t)
        w[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[c, -s], [s, c]]
    return w


def wide(x):
    return x.detach().to(C128).resolve_conj().numpy()


def gap(found, wanted):
    """Largest entry of the difference, in double precision."""
    wanted = wanted if isinstance(wanted, np.ndarray) else wide(wanted)
    return np.abs(wide(found) - wanted).max()


def defect(w):
    w = wide(w)
    return np.linalg.norm(w.conj().T @ w - np.eye(w.shape[-1]), 2)


def rounding(n, dtype, factor):
    """Entries of products of matrices with unit rows round by about sqrt(n) eps each."""
    return factor * math.sqrt(n) * torch.finfo(dtype).eps


# ---------------------------------------------------------------------------------- exponential

# The radius of the polynomial is 0.6 (double) or 2.8 (single), and the bound of the norm r is less
# than 1.6 r, so an argument is halved s times with 2^s <= 3.2 r / radius <= 6 r, and every squaring
# doubles the error that is there. The polynomial itself is four products. Hence 10 sqrt(n) eps
# max(1, r).


@pytest.mark.parametrize("dtype", [F32, F64])
def test_polynomial_of_the_exponential_is_it_to_half_a_roundoff(dtype):
    radius, shift, rows = linalg._EXP_POLYNOMIALS[dtype]
    x = np.linspace(-radius, radius, 2001, dtype=np.longdouble) * np.clongdouble(1j)
    u, v, s, t = (sum(np.longdouble(c) * x**k for k, c in enumerate(row, 1)) for row in rows)
    u, v, q = 1 + u, np.longdouble(shift) + v, s + t**2
    # The best approximation has half a unit roundoff, eps / 4. In double precision that is itself
    # about what rounding the coefficients costs, and where nothing is longer, the sum as well.
    limit = (0.26 if dtype == F32 else 0.4) * torch.finfo(dtype).eps
    if np.finfo(np.longdouble).eps == np.finfo(float).eps:
        limit += 10 * np.finfo(float).eps
    assert np.abs(u + (v + q) * q - np.exp(x)).max() <= limit


def skew_with_angles(angles, n, dtype):
    """Skew, with plane rotations by these angles as its exponential."""
    a = np.zeros((n, n))
    for k, t in enumerate(angles):
        a[2 * k, 2 * k + 1], a[2 * k + 1, 2 * k] = -t, t
    q = random_unitary(n, dtype, seed=n).to(C128 if dtype.is_complex else F64)
    return (q @ torch.from_numpy(a).to(q.dtype) @ q.mH).to(dtype)


SPREADS = {
    "equal": lambda m: np.ones(m),
    "one": lambda m: np.eye(1, m)[0],
    "one large": lambda m: np.r_[1.0, np.full(m - 1, 0.1)],
    "half": lambda m: np.r_[np.ones((m + 1) // 2), np.zeros(m // 2)],
    "falling": lambda m: 1 / np.arange(1, m + 1),
    "even": lambda m: np.arange(1, m + 1) / m,
}


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e5])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bound_of_the_spectral_norm_is_one_and_close(dtype, spread, size):
    for n in (2, 3, 7, 33, 128):
        angles = size * SPREADS[spread](n // 2)
        found = linalg._spectral_bound(*linalg._powers(skew_with_angles(angles, n, dtype)))
        largest = angles.max()
        assert found >= largest * (1 - 10 * n * torch.finfo(dtype).eps)
        assert found <= 1.6 * largest  # the sixth root of 2 * 64 equal angles would be 2.2


@given(
    values=st.lists(st.floats(1e-9, 1), min_size=1, max_size=40),
    scale=st.sampled_from([1e-6, 1, 1e6]),
)
def test_bound_from_power_sums_is_one(values, scale):
    values = np.array(values) * scale
    found = linalg._largest_of([float((values**k).sum()) for k in (1, 2, 3)], 0.0)
    assert found >= values.max() * (1 - 1e-12)


@pytest.mark.parametrize("norm", [1e-8, 1e-3, 0.05, 0.33, 0.5, 1.0, 1.57, math.pi, 10.0, 1e2, 1e4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_expm_is_that_of_scipy(dtype, norm):
    for n in SIZES:
        a = random_skew(n, dtype, norm)
        limit = rounding(n, dtype, 10) * max(1.0, norm)
        assert gap(linalg.expm_skew(a), scipy.linalg.expm(wide(a))) <= limit


@pytest.mark.parametrize("n", SIZES)
def test_expm_of_imaginary_symmetric_is_cosine_and_sine(n):
    h = normal(n, n)
    h = (h + h.mT) / math.sqrt(n)  # norm about 2.8
    wanted = scipy.linalg.cosm(h.numpy()) + 1j * scipy.linalg.sinm(h.numpy())
    assert gap(linalg.expm_skew(1j * h), wanted) <= rounding(n, F64, 30)


@pytest.mark.parametrize("angle", [1e-7, 1e-3, 0.04, 0.32, 0.45, 0.5, 1.0, 1.55, 2.1, 3.0])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_expm_of_one_small_rotation(dtype, angle):
    # torch.matrix_exp of this 2 x 2 matrix in float32 is off by 2.5e-5 at 0.5, 200 times the limit.
    a = torch.tensor([[0.0, -angle], [angle, 0.0]], dtype=dtype)
    turned = float(a[1, 0])  # the angle as the dtype holds it
    limit = 4 * torch.finfo(dtype).eps * max(1.0, angle)
    assert gap(linalg.expm_skew(a), plane_rotations([turned], 2)) <= limit


@pytest.mark.parametrize("dtype", DTYPES)
def test_expm_of_zero_is_exactly_the_identity(dtype):
    for n in SIZES:
        assert torch.equal(
            linalg.expm_skew(torch.zeros(n, n, dtype=dtype)), torch.eye(n, dtype=dtype)
        )


@pytest.mark.parametrize("norm", [1e4, 1e6, 1e7, 1e8, 1e12])
@pytest.mark.parametrize("dtype", DTYPES)
def test_expm_is_unitary_for_arguments_of_any_size(dtype, norm):
    for n in (1, 2, 7, 33):
        w = linalg.expm_skew(random_skew(n, dtype, norm))
        # What the closing Newton-Schulz step leaves is the rounding of a few products of length n.
        assert defect(w) <= 4 * n * torch.finfo(dtype).eps


@given(
    shape=batch_shapes(), n=st.integers(1, 9), dtype=st.sampled_from(DTYPES),
    scale=st.sampled_from([1e-8, 1e-2, 0.5, 3.0, 1e2]), seed=seeds(),
)  # fmt: skip
@settings(max_examples=40)
def test_expm_and_cayley_of_a_batch_are_those_of_its_members(shape, n, dtype, scale, seed):
    a = scale * random_skew(n, dtype, 1.0, seed=seed, batch=shape)
    for function in (linalg.expm_skew, linalg.cayley):
        together = function(a)
        assert together.shape == a.shape
        assert together.dtype == dtype
        one_by_one = torch.stack([function(x) for x in a.reshape(-1, n, n)]).reshape(a.shape)
        # Both are right within the bound on the error, so they differ by no more than twice that.
        limit = 2 * rounding(n, dtype, 10) * max(1.0, scale)
        assert (together - one_by_one).abs().max() <= limit


@pytest.mark.parametrize("norm", [0.0, 0.1, 1.0, 20.0])
@pytest.mark.parametrize("field", FIELDS)
def test_expm_has_first_and_second_derivatives(field, norm):
    n = 3
    theta = normal(linalg.skew_dimension(n, field), seed=1)
    theta = (theta * norm / theta.norm()).requires_grad_()

    def function(theta):
        return linalg.parts(linalg.expm_skew(linalg.skew_from_coordinates(theta, n, field)))

    assert torch.autograd.gradcheck(function, theta)
    assert torch.autograd.gradgradcheck(function, theta)


@pytest.mark.parametrize("norm", [1e-6, 0.3, 2.0, 12.0])
@pytest.mark.parametrize("dtype", [F64, C128])
@pytest.mark.parametrize("n", [2, 7, 17])
def test_gradient_of_expm_is_the_frechet_derivative(n, dtype, norm):
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
def test_gradient_of_the_exponential_of_a_plane_at_any_angle(dtype, angle):
    a = torch.tensor([[0.0, -angle], [angle, 0.0]], dtype=dtype, requires_grad=True)
    (grad,) = torch.autograd.grad(linalg.expm_skew(a)[1, 0], a)
    turned = float(a.detach()[1, 0])
    # sin(t) by t; as many digits are lost as the angle has before the point.
    found = float(grad[1, 0] - grad[0, 1])
    assert abs(found - math.cos(turned)) <= 10 * torch.finfo(dtype).eps * max(1.0, angle)


@pytest.mark.parametrize("norm", [0.1, 2.0, 5.0, 40.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 33])
def test_gradient_of_expm_of_a_batch_is_that_of_torch_in_double_precision(n, dtype, norm):
    a = random_skew(n, dtype, norm, batch=(2, 3))
    weight = normal(2, 3, n, n, dtype=dtype, seed=1)
    grads = []
    for function, x in ((linalg.expm_skew, a), (torch.matrix_exp, linalg.double(a))):
        x = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad((weight.to(x.dtype).conj() * function(x)).real.sum(), x)
        grads.append(grad - grad.mH)  # the function is one of skew matrices
    # As above, with the entries of the weight, of norm about 2 sqrt(n).
    assert gap(*grads) <= math.sqrt(n) * rounding(n, dtype, 40) * max(1.0, norm)


MAPS = [linalg.expm_skew, linalg.cayley, linalg.householder]


# torch's own forward mode compiles its formulas by what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("function", MAPS)
@pytest.mark.parametrize("dtype", [F64, C128])
def test_maps_are_open_to_forward_mode_and_to_functional_transforms(dtype, function):
    a, direction = random_skew(5, dtype, 2.0), random_skew(5, dtype, 1.0, seed=1)
    step = 1e-5
    wanted = (function(a + step * direction) - function(a - step * direction)) / (2 * step)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(a, direction)
        forward = torch.autograd.forward_ad.unpack_dual(function(dual)).tangent
    # Central differences: step^2 times a third derivative, and eps / step.
    assert gap(forward, wanted) <= 1e-9
    assert gap(torch.func.jvp(function, (a,), (direction,))[1], wanted) <= 1e-9
    weight = normal(5, 5, dtype=dtype, seed=2)
    grad = torch.func.grad(lambda x: (weight.conj() * function(x)).real.sum())(a)
    found = np.vdot(wide(grad), wide(direction)).real
    assert abs(found - np.vdot(wide(weight), wide(wanted)).real) <= 1e-8


# --------------------------------------------------------------------------------------- Cayley


@pytest.mark.parametrize("norm", [1e-8, 1e-3, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_cayley_is_the_solution_of_its_equation(dtype, norm):
    for n in SIZES:
        a = random_skew(n, dtype, norm)
        wanted = scipy.linalg.solve(np.eye(n) + wide(a), np.eye(n) - wide(a))
        # The solve loses the condition of I + A, at most sqrt(1 + norm^2).
        assert gap(linalg.cayley(a), wanted) <= rounding(n, dtype, 10) * math.hypot(1.0, norm)


@pytest.mark.parametrize("a", [0.0, 1e-9, -0.2, 1.0, -7.0, 300.0, -1e4])
def test_cayley_turns_by_minus_twice_the_arctangent(a):
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
def test_cayley_and_its_gradient_are_those_of_closed_forms(n, dtype, norm):
    a = random_skew(n, dtype, norm, batch=(2,)).requires_grad_()
    weight = normal(2, n, n, dtype=dtype, seed=1)
    w = linalg.cayley(a)
    (grad,) = torch.autograd.grad((weight.conj() * w).real.sum(), a)
    r = np.linalg.inv(np.eye(n) + wide(a))
    limit = rounding(n, dtype, 10) * math.hypot(1.0, norm)
    assert gap(w, 2 * r - np.eye(n)) <= limit
    # dW = -2 R dA R, with R of norm 1 at most and a weight of norm about 2 sqrt(n).
    r = r.conj().swapaxes(-1, -2)
    assert gap(grad, -2 * r @ wide(weight) @ r) <= 10 * math.sqrt(n) * limit


@pytest.mark.parametrize("norm", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_inverse_cayley_undoes_cayley(dtype, norm):
    for n in SIZES:
        a = random_skew(n, dtype, norm)
        back = linalg.inverse_cayley(linalg.cayley(a))
        assert torch.equal(back, -back.mH)
        # An angle right to e gives tan(angle/2) right to (1 + norm^2) e/2; e is the error of the
        # Cayley map, see above, or of the second solve, with the same condition.
        limit = rounding(n, dtype, 20) * math.hypot(1.0, norm) * (1 + norm**2)
        assert gap(back, a) <= limit


@pytest.mark.parametrize("field", FIELDS)
def test_cayley_has_first_and_second_derivatives(field):
    theta = normal(linalg.skew_dimension(3, field), seed=2).requires_grad_()

    def function(theta):
        return linalg.parts(linalg.cayley(linalg.skew_from_coordinates(theta, 3, field)))

    assert torch.autograd.gradcheck(function, theta)
    assert torch.autograd.gradgradcheck(function, theta)


# ---------------------------------------------------------------------------------- reflections


def product_of_reflections(v):
    """H_1 ... H_k, one at a time."""
    v = wide(v)
    w = np.eye(len(v), dtype=complex)
    for x in v.T:
        size = np.linalg.norm(x)
        if size > 0:
            x = x / size
            w = w - 2 * np.outer(w @ x, x.conj())
    return w


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_householder_is_the_product_of_its_reflections(n, dtype):
    for k in (0, 1, n // 2, n, n + 3):
        v = normal(n, k, dtype=dtype, seed=k)
        w = linalg.householder(v)
        assert w.dtype == dtype
        # k reflections one after the other round by k eps at most in each entry, and as a rule
        # by its root.
        limit = rounding(max(n, k), dtype, 10)
        assert gap(w, product_of_reflections(v)) <= limit
        assert defect(w) <= limit
        if not dtype.is_complex:
            assert np.linalg.det(wide(w)).real == pytest.approx((-1) ** k, abs=n * limit)


@pytest.mark.parametrize("dtype", [F64, C128])
def test_householder_and_its_gradient_are_those_of_torch(dtype):
    n, k = 17, 17
    v = normal(n, k, dtype=dtype).tril(-1) + torch.eye(n, dtype=dtype)
    weight = normal(n, n, dtype=dtype, seed=1)
    pairs = []
    for own in (True, False):
        x = v.clone().requires_grad_()
        tau = (2 / x.abs().square().sum(0)).to(dtype)
        w = linalg.householder(x) if own else torch.linalg.householder_product(x, tau)
        (grad,) = torch.autograd.grad((weight.conj() * w).real.sum(), x)
        # LAPACK reads what is below the diagonal.
        pairs.append((w, grad.tril(-1)))
    for found, wanted in zip(*pairs, strict=True):
        assert gap(found, wanted) <= rounding(n, dtype, 100)


@pytest.mark.parametrize("dtype", [F64, C128])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 1), (2, 3), (3, 3), (4, 2)])
def test_householder_has_first_and_second_derivatives(n, k, dtype):
    v = normal(2, n, k, dtype=dtype).requires_grad_()

    def function(v):
        return linalg.parts(linalg.householder(v))

    assert torch.autograd.gradcheck(function, v)
    assert torch.autograd.gradgradcheck(function, v)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_column_of_zeros_is_the_identity_and_has_no_gradient(dtype):
    v = normal(5, 4, dtype=dtype)
    v[:, 1] = 0
    v.requires_grad_()
    w = linalg.householder(v)
    assert gap(w, linalg.householder(v[:, [0, 2, 3]])) <= rounding(5, dtype, 10)
    (grad,) = torch.autograd.grad((normal(5, 5, dtype=dtype, seed=1).conj() * w).real.sum(), v)
    assert torch.equal(grad[:, 1], torch.zeros_like(grad[:, 1]))
    assert torch.isfinite(grad).all()
    assert (grad[:, 0] != 0).all()
    nothing = torch.zeros(5, 4, dtype=dtype)
    assert torch.equal(linalg.householder(nothing), torch.eye(5, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_length_of_a_reflector_does_not_matter(dtype):
    v = normal(7, 5, dtype=dtype)
    lengths = torch.tensor([1e-30, 1e30, 1e-18, 1e25, 1.0], dtype=linalg.real_dtype(dtype))
    found = linalg.householder(v * lengths)
    assert gap(found, linalg.householder(v)) <= rounding(7, dtype, 10)


@pytest.mark.parametrize("spread", [0.0, 1e-7, 1e-3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_householder_of_nearly_parallel_reflectors_is_unitary(dtype, spread):
    n = 33
    v = normal(n, 1, dtype=dtype) + spread * normal(n, n, dtype=dtype, seed=1)
    w = linalg.householder(v)
    assert defect(w) <= n * rounding(n, dtype, 10)
    assert gap(w, product_of_reflections(v)) <= n * rounding(n, dtype, 10)


@given(
    shape=batch_shapes(), n=st.integers(1, 9), k=st.integers(1, 12), dtype=st.sampled_from(DTYPES),
    seed=seeds(),
)  # fmt: skip
@settings(max_examples=30)
def test_householder_of_a_batch_is_that_of_its_members(shape, n, k, dtype, seed):
    v = normal(*shape, n, k, dtype=dtype, seed=seed)
    found = linalg.householder(v)
    assert found.shape == (*shape, n, n)
    for w, x in zip(found.reshape(-1, n, n), v.reshape(-1, n, k), strict=True):
        assert gap(w, product_of_reflections(x)) <= rounding(max(n, k), dtype, 20)


# ------------------------------------------------------------------- eigenvectors and logarithm

QUARTERS = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]], dtype=float)

SPECTRA = {
    "generic": [0.3, -1.1, 2.0, 2.9, -2.5, 0.0, 1.0],
    "identity": [0.0] * 7,
    "minus identity": [math.pi] * 7,
    "repeated": [0.7] * 3 + [-0.7] * 3 + [math.pi],
    "a close cluster": [1.0, 1.0 + 1e-9, 1.0 - 1e-12, 1.0 + 1e-15, -1.0, 2.0, 2.0 + 1e-8],
    "around the cut": [math.pi, -math.pi + 1e-12, math.pi - 1e-9, 0.1, 0.2, -0.1, -0.2],
    "evenly spread": [2 * math.pi * k / 7 for k in range(7)],
}


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_eigenvectors_are_orthonormal_and_rebuild_the_matrix(spectrum):
    n = 7
    phases = np.array(SPECTRA[spectrum])
    q = random_unitary(n, C128).numpy()
    w = (q * np.exp(1j * phases)) @ q.conj().T
    found, v = linalg.unitary_eigh(torch.from_numpy(w))
    # With the cut in the widest of 7 gaps, at least 2 pi / 7, the Hermitian matrix has norm at most
    # cot(pi / 14) = 4.4; an eigensolver is right to a few n eps times that norm.
    limit = 20 * n * torch.finfo(F64).eps
    assert defect(v) <= limit
    assert gap((v * torch.exp(1j * found)) @ v.mH, w) <= limit
    assert found.abs().max() <= math.pi
    turned = np.exp(1j * found.numpy())[:, None] - np.exp(1j * phases)[None, :]
    rows, columns = scipy.optimize.linear_sum_assignment(np.abs(turned))
    assert np.abs(turned[rows, columns]).max() <= limit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_eigenphases_of_random_matrices_are_those_of_numpy(n, dtype):
    w = random_unitary(n, dtype)
    found, v = linalg.unitary_eigh(w)
    assert v.dtype == C128
    # The input is unitary to a few n eps of its own dtype; in n + 1 random phases the widest gap is
    # above 1/n, so that the condition is below n.
    limit = 10 * n * n * torch.finfo(dtype).eps
    assert gap((v * torch.exp(1j * found)) @ v.mH, w) <= limit
    wanted = np.linalg.eigvals(wide(w))
    distance = np.abs(np.exp(1j * found.numpy())[:, None] - wanted[None, :])
    assert distance.min(0).max() <= limit
    assert distance.min(1).max() <= limit


@pytest.mark.parametrize("dtype", [F64, C128])
@pytest.mark.parametrize("n", SIZES)
def test_logarithm_of_random_matrices_is_that_of_scipy(n, dtype):
    w = random_unitary(n, dtype, seed=n)
    a = linalg.log_unitary(w)
    angles = np.angle(np.linalg.eigvals(w.numpy()))
    away = math.pi - np.abs(angles).max()
    assert n == 1 or away > 1e-3  # of the seed: the principal logarithm is unique, and well defined
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns of what it estimates its error to be
        wanted = scipy.linalg.logm(w.numpy())
    # Near pi the two conjugate logarithms meet: the condition is that of the eigenvectors there.
    assert gap(a, wanted) <= 100 * n * torch.finfo(F64).eps / away
    assert a.dtype == dtype


LOGARITHMS = {
    "rotation by pi": [math.pi],
    "minus identity": [math.pi] * 3,
    "two pairs of -1, two planes": [math.pi, math.pi, 0.4, 2.0],
    "repeated angle": [1.2, 1.2, 1.2],
    "repeated opposite angles": [1.2, -1.2, 0.5],
    "repeated angle near pi": [math.pi - 1e-3, math.pi - 1e-3, 0.1],
    "angles at every distance from pi": [math.pi - 10.0**-k for k in range(1, 17)],
    "within rounding of pi": [math.pi - 4e-16, math.pi - 1e-15, -math.pi + 1e-15, math.pi],
    "identity": [0.0, 0.0],
    "tiny": [1e-9, 1e-12, 0.0],
}


@pytest.mark.parametrize("rest", [0, 1, 2])
@pytest.mark.parametrize("case", LOGARITHMS)
def test_real_logarithm_is_real_principal_and_exact(case, rest):
    angles = LOGARITHMS[case]
    n = 2 * len(angles) + rest
    q = random_unitary(n, F64, seed=n).numpy()
    w = q @ plane_rotations(angles, n) @ q.T
    a = linalg.log_unitary(torch.from_numpy(w))
    assert a.dtype == F64
    assert gap(a, -a.mT) <= rounding(n, F64, 20)  # the angles are at most pi
    # W is unitary to a few n eps, and exp is 1-Lipschitz on skew matrices; the eigensolver's error
    # is a few n eps times the cotangent of half the widest gap, below n.
    limit = 20 * n * n * torch.finfo(F64).eps
    assert np.abs(scipy.linalg.expm(a.numpy()) - w).max() <= limit
    found = np.sort(np.abs(np.linalg.eigvals(a.numpy()).imag))
    wanted = np.sort(np.abs(np.array([*angles, *angles, *[0.0] * rest])))
    assert np.abs(found - wanted).max() <= limit


@pytest.mark.parametrize(
    "diagonal",
    [[-1, -1], [-1, -1, 1], [1, -1, 1, -1], [-1] * 4, [-1] * 6, [-1, -1, 1, 1, 1, -1, -1]],
)
def test_real_logarithm_of_exact_signs(diagonal):
    # Nothing here tells one plane of the eigenvalue -1 from another, not even rounding.
    w = torch.diag(torch.tensor(diagonal, dtype=F64))
    a = linalg.log_unitary(w).numpy()
    limit = 100 * len(diagonal) * torch.finfo(F64).eps
    assert np.abs(a + a.T).max() <= limit
    assert np.abs(scipy.linalg.expm(a) - w.numpy()).max() <= limit
    # The principal logarithm: half turns in the planes of -1, and nothing elsewhere.
    assert (
        np.abs(a @ a - np.diag([-(math.pi**2) if x < 0 else 0.0 for x in diagonal])).max() <= limit
    )


@pytest.mark.parametrize(
    "phases", [[math.pi], [math.pi, math.pi, 0.1], [-math.pi + 1e-15, 3.0, 1.0]]
)
def test_complex_logarithm_at_minus_one(phases):
    n = len(phases)
    q = random_unitary(n, C128, seed=3).numpy()
    w = (q * np.exp(1j * np.array(phases))) @ q.conj().T
    a = linalg.log_unitary(torch.from_numpy(w))
    assert gap(a, -a.mH) <= rounding(n, F64, 20)
    limit = 100 * n * torch.finfo(F64).eps
    assert np.abs(scipy.linalg.expm(a.numpy()) - w).max() <= limit
    assert np.linalg.norm(a.numpy(), 2) <= math.pi + limit


@pytest.mark.parametrize("n", SIZES)
def test_real_logarithm_refuses_determinant_minus_one_with_the_remedy(n):
    w = random_unitary(n, F64)
    w[:, 0] *= -1
    with pytest.raises(ValueError, match=r"determinant -1.*flip the sign.*field='complex'"):
        linalg.log_unitary(w)
    a = linalg.log_unitary(w.to(C128))  # the second remedy works
    assert np.abs(scipy.linalg.expm(a.numpy()) - w.numpy()).max() <= 100 * n * n * 2.3e-16


@given(n=st.integers(1, 12), dtype=dtypes(), seed=seeds(), field=st.sampled_from(FIELDS))
@settings(max_examples=40)
def test_logarithm_inverts_the_exponential_below_pi(n, dtype, seed, field):
    a = random_skew(n, C128 if field == "complex" else F64, 3.0, seed=seed)
    w = torch.from_numpy(scipy.linalg.expm(a.numpy())).to(
        dtype.to_complex() if a.is_complex() else dtype
    )
    # Of the input's own precision, and 1/(pi - 3) = 7 for the nearness of the cut.
    assert gap(linalg.log_unitary(w), a) <= 100 * n * torch.finfo(dtype).eps


# ------------------------------------------------------------------------------ singular values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_polar_factor_is_that_of_scipy(n, dtype):
    x = normal(n, n, dtype=dtype, seed=n)
    # The factor's condition is 1 / least singular value; the SVD is right to a few n eps.
    least = np.linalg.svd(wide(x), compute_uv=False)[-1]
    wanted = scipy.linalg.polar(wide(x))[0]
    assert gap(linalg.polar(x), wanted) <= 10 * n * torch.finfo(dtype).eps * max(1.0, 1 / least)


@pytest.mark.parametrize("off", [0.0, 1e-12, 1e-7, 1e-4, 1e-2, 0.03, 0.09, 0.11, 0.4])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 33])
def test_polar_and_its_gradient_at_any_distance_from_the_group(n, dtype, off):
    # Nearer than 0.1, or half of that where n is large, it is not by an SVD.
    noise = normal(n, n, dtype=dtype, seed=1)
    x = random_unitary(n, dtype) + off * noise / torch.linalg.matrix_norm(noise, 2)
    x, weight = x.requires_grad_(), normal(n, n, dtype=dtype, seed=2)
    w = linalg.polar(x)
    (grad,) = torch.autograd.grad((weight.conj() * w).real.sum(), x)
    u, s, vh = np.linalg.svd(wide(x))
    limit = rounding(n, dtype, 10)
    assert gap(w, u @ vh) <= limit
    assert defect(w) <= limit
    m = u.conj().T @ wide(weight) @ vh.conj().T
    wanted = u @ ((m - m.conj().T) / (s[:, None] + s[None, :])) @ vh
    # The weight has the norm 2 sqrt(n).
    assert gap(grad, wanted) <= 4 * math.sqrt(n) * limit


@given(shape=batch_shapes(), n=st.integers(1, 9), dtype=st.sampled_from(DTYPES), seed=seeds())
@settings(max_examples=30)
def test_polar_and_contract_of_a_batch_are_those_of_its_members(shape, n, dtype, seed):
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
def test_gradient_of_polar_is_finite_and_exact_at_a_unitary_point(n, dtype):
    q, weight = random_unitary(n, dtype), normal(n, n, dtype=dtype, seed=1)
    x = q.clone().requires_grad_()
    (grad,) = torch.autograd.grad((weight.conj() * linalg.polar(x)).real.sum(), x)
    # Moving Q by dX moves its polar factor by the tangent part: Q skew(Q^H dX).
    m = q.mH @ weight
    assert gap(grad, q @ (m - m.mH) / 2) <= rounding(n, F64, 20) * max(1.0, float(m.abs().max()))


def test_gradient_of_torchs_own_svd_is_not_finite_at_a_unitary_point():
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


def with_singular_values(values, dtype):
    n = len(values)
    u, v = random_unitary(n, dtype, seed=5), random_unitary(n, dtype, seed=6)
    return (u * torch.tensor(values, dtype=F64)) @ v.mH


@pytest.mark.parametrize("case", SINGULAR_VALUES)
@pytest.mark.parametrize("dtype", [F64, C128])
def test_polar_has_the_derivative_of_finite_differences(dtype, case):
    x = with_singular_values(SINGULAR_VALUES[case], dtype).requires_grad_()
    assert torch.autograd.gradcheck(linalg.polar, x)


KINKS = ("all one", "near one", "within rounding of one")


@pytest.mark.parametrize("case", [case for case in SINGULAR_VALUES if case not in KINKS])
@pytest.mark.parametrize("dtype", [F64, C128])
def test_contract_has_the_derivative_of_finite_differences(dtype, case):
    # At singular values of exactly one it has a kink, and so no derivative.
    x = with_singular_values(SINGULAR_VALUES[case], dtype).requires_grad_()
    assert torch.autograd.gradcheck(linalg.contract, x)


@pytest.mark.parametrize("function", [linalg.polar, linalg.contract])
@pytest.mark.parametrize(
    "values", [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [2.0, 1.0, 0.0]]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_finite_at_kinks_and_singular_matrices(dtype, values, function):
    x = with_singular_values(values, C128 if dtype.is_complex else F64).to(dtype).requires_grad_()
    function(x).abs().sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("function", [linalg.polar, linalg.contract])
def test_second_derivatives_are_refused_and_not_wrong(function):
    x = normal(3, 3).requires_grad_()
    (grad,) = torch.autograd.grad(function(x).pow(3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_contract_clips_the_singular_values_and_keeps_the_bases(n, dtype):
    x = normal(n, n, dtype=dtype, seed=n)
    u, s, vh = np.linalg.svd(wide(x))
    wanted = (u * np.minimum(s, 1.0)) @ vh
    # The nearest point of a convex set moves no more than x, so the condition is 1; the SVD is
    # right to a few n eps times the norm, about 2 sqrt(n).
    limit = 10 * n * torch.finfo(dtype).eps * max(1.0, s[0])
    assert gap(linalg.contract(x), wanted) <= limit
    assert np.linalg.norm(wide(linalg.contract(x)), 2) <= 1 + limit


def test_contract_leaves_a_contraction_as_it_is():
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


def test_newton_schulz_steps_reach_the_polar_factor():
    x = with_singular_values([1.6, 1.0, 0.3], C128)  # all below the square root of 3
    w = x
    for _ in range(12):
        w = linalg.newton_schulz_step(w)
    assert gap(w, scipy.linalg.polar(x.numpy())[0]) <= rounding(3, F64, 20)


# --------------------------------------------------------------------------- large single matrices


@pytest.mark.parametrize("dtype", [F32, C64])
@pytest.mark.parametrize("case", ["expm", "cayley", "householder", "polar"])
def test_maps_of_large_matrices_are_right_to_two_millionths(case, dtype):
    n = 512
    if case == "expm":
        a = random_skew(n, dtype, math.pi)
        pairs = [(linalg.expm_skew(a), scipy.linalg.expm(wide(a)))]
    elif case == "cayley":
        arguments = [random_skew(n, dtype, norm) for norm in (1.0, 10.0)]
        one = np.eye(n)
        pairs = [(linalg.cayley(a), 2 * np.linalg.inv(one + wide(a)) - one) for a in arguments]
    elif case == "householder":
        arguments = [normal(n, k, dtype=dtype) for k in (n, 40)]
        pairs = [(linalg.householder(v), product_of_reflections(v)) for v in arguments]
    else:
        noise = normal(n, n, dtype=dtype) / math.sqrt(n)
        arguments = [random_unitary(n, dtype) + off * noise for off in (1e-3, 1e-2)]
        pairs = []
        for x in arguments:
            u, _, vh = np.linalg.svd(wide(x))
            pairs.append((linalg.polar(x), u @ vh))
    for found, wanted in pairs:
        assert gap(found, wanted) <= 2e-6


# ----------------------------------------------------------------------- coordinates and helpers


@given(
    shape=batch_shapes(), n=st.integers(1, 17), dtype=dtypes(), seed=seeds(),
    field=st.sampled_from(FIELDS),
)  # fmt: skip
def test_skew_coordinates_round_trip_and_scale_lengths_by_root_two(shape, n, dtype, seed, field):
    d = n * n if field == "complex" else n * (n - 1) // 2
    assert linalg.skew_dimension(n, field) == d
    theta = normal(*shape, d, dtype=dtype, seed=seed)
    a = linalg.skew_from_coordinates(theta, n, field)
    assert a.shape == (*shape, n, n)
    assert a.dtype == (dtype.to_complex() if field == "complex" else dtype)
    assert torch.equal(a, -a.mH)
    # The diagonal is multiplied and divided by the root of two: one rounding each.
    eps = torch.finfo(dtype).eps
    assert torch.allclose(linalg.skew_to_coordinates(a), theta, rtol=2 * eps, atol=0)
    lengths = wide(a).reshape(*shape, -1)
    wanted = math.sqrt(2) * np.linalg.norm(theta.double().numpy(), axis=-1)
    np.testing.assert_allclose(np.linalg.norm(lengths, axis=-1), wanted, rtol=4 * eps)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_skew_basis_is_orthogonal(n, field):
    d = linalg.skew_dimension(n, field)
    basis = wide(linalg.skew_from_coordinates(torch.eye(d, dtype=F64), n, field)).reshape(d, n * n)
    gram = (basis.conj() @ basis.T).real
    np.testing.assert_allclose(gram, 2 * np.eye(d), atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_coordinates_of_a_general_matrix_are_those_of_its_skew_part(n, dtype):
    x = normal(2, n, n, dtype=dtype)
    field = "complex" if dtype.is_complex else "real"
    back = linalg.skew_from_coordinates(linalg.skew_to_coordinates(x), n, field)
    limit = 4 * torch.finfo(dtype).eps * float(x.abs().max())
    assert (back - (x - x.mH) / 2).abs().max() <= limit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (9, 4), (3, 5, 5), (2, 3, 6, 2)])
def test_unitarity_defect_is_the_spectral_norm(shape, dtype):
    w = normal(*shape, dtype=dtype, seed=4).requires_grad_()
    found = linalg.unitarity_defect(w)
    assert found.dtype == F64
    assert found.shape == shape[:-2]
    assert not found.requires_grad
    x = wide(w).reshape(-1, *shape[-2:])
    wanted = [np.linalg.norm(y.conj().T @ y - np.eye(shape[-1]), 2) for y in x]
    # Evaluated in double precision, whatever the dtype: ten roundings of W^H W.
    np.testing.assert_allclose(found.reshape(-1).numpy(), wanted, rtol=0, atol=1e-13)


def test_unitarity_defect_sees_below_the_resolution_of_single_precision():
    w = torch.eye(3)
    w[0, 0] = 1 - 2**-24  # the float below one
    assert float(linalg.unitarity_defect(w)) == pytest.approx(2**-23, rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_real_features_are_real_then_imaginary_parts(dtype):
    h = normal(2, 3, dtype=dtype)
    found = linalg.as_real(h).numpy()
    if dtype.is_complex:
        np.testing.assert_array_equal(found[:, :3], h.numpy().real)
        np.testing.assert_array_equal(found[:, 3:], h.numpy().imag)
    else:
        np.testing.assert_array_equal(found, h.numpy())


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_complex_numbers_from_a_slice_of_a_flat_parameter(offset):
    # torch.view_as_complex refuses odd offsets.
    flat = normal(offset + 12).requires_grad_()
    z = linalg.from_parts(flat[offset:].view(2, 3, 2), "complex")
    pairs = flat.detach()[offset:].view(2, 3, 2).numpy()
    np.testing.assert_array_equal(z.detach().numpy(), pairs[..., 0] + 1j * pairs[..., 1])
    assert torch.equal(linalg.parts(z), flat[offset:].view(2, 3, 2))
    (z * (2 + 3j)).real.sum().backward()
    wanted = torch.cat([torch.zeros(offset), torch.tensor([2.0, -3.0]).repeat(6)])
    assert torch.equal(flat.grad, wanted.double())


def test_parts_of_real_numbers_are_themselves():
    x = normal(3, 2)
    assert linalg.parts(x) is x
    assert linalg.from_parts(x, "real") is x


@pytest.mark.parametrize(
    ("dtype", "real", "complex"),
    [
        (torch.float16, torch.float16, C64),
        (torch.bfloat16, torch.bfloat16, C64),
        (F32, F32, C64),
        (F64, F64, C128),
        (C64, F32, C64),
        (C128, F64, C128),
    ],
)
def test_dtypes_of_the_same_precision(dtype, real, complex):
    assert linalg.real_dtype(dtype) == real
    assert linalg.complex_dtype(dtype) == complex
    assert linalg.eps(dtype) == torch.finfo(real).eps


@pytest.mark.parametrize("threads", [1, 2])
def test_the_cayley_map_of_a_large_batch_is_that_of_its_members(threads):
    """With two threads torch's LU of a batch of 256 x 256 can be wrong without a word."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
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
