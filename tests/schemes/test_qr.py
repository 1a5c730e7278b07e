"""qr against Gram and Schmidt in numpy, also near and at singular matrices."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import FIELDS, SIZES, as_numpy
from unitary_zoo import Parametrization

EPS = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}


def build(n, field="real", dtype=torch.float64, seed=0, **options):
    torch.manual_seed(seed)
    return Parametrization.create("qr", n, field=field, dtype=dtype, **options)


def matrix_of(p):
    x = as_numpy(p.x)
    return x[..., 0] + 1j * x[..., 1] if p.field == "complex" else x


def gram_schmidt(x):
    """From left to right, twice for accuracy."""
    q = np.zeros_like(x)
    for j in range(x.shape[1]):
        v = x[:, j]
        for _ in range(2):
            v = v - q[:, :j] @ (q[:, :j].conj().T @ v)
        q[:, j] = v / np.linalg.norm(v)
    return q


@given(
    n=st.sampled_from(SIZES), field=st.sampled_from(FIELDS), dtype=st.sampled_from(list(EPS)),
    seed=st.integers(0, 2**31 - 1),
)  # fmt: skip
@settings(max_examples=50)
def test_matrix_equals_gram_schmidt(n, field, dtype, seed):
    p = build(n, field, dtype, seed)
    with torch.no_grad():
        p.x.add_(0.3 * torch.randn_like(p.x))
    x = matrix_of(p)
    unit = x / np.linalg.norm(x, axis=0)
    # The first derivative of Q is at most the condition of x with unit columns.
    limit = 20 * math.sqrt(n) * np.linalg.cond(unit) * EPS[dtype]
    assert np.abs(as_numpy(p.matrix()) - gram_schmidt(x)).max() <= limit
    if dtype == torch.float64 and field == "real":
        q, r = scipy.linalg.qr(x)
        assert np.abs(as_numpy(p.matrix()) - q * np.sign(np.diag(r))).max() <= limit


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("dtype", list(EPS))
@pytest.mark.parametrize("n", [2, 7, 17])
def test_matrix_ignores_lengths_and_multiples_of_earlier_columns(n, dtype, field):
    p = build(n, field, dtype)
    with torch.no_grad():
        p.x.add_(0.1 * torch.randn_like(p.x))
    w = as_numpy(p.matrix())
    # Squares of the longest and the shortest are out of range. A power of 2 rounds nothing.
    most = 100 if dtype == torch.float32 else 800
    lengths = 2.0 ** torch.linspace(-most, most, n, dtype=dtype).round()
    with torch.no_grad():
        p.x.mul_(lengths[:, None] if field == "complex" else lengths)
    limit = 100 * n * EPS[dtype]  # the condition of a matrix near a unitary one is a few units
    np.testing.assert_allclose(as_numpy(p.matrix()), w, rtol=0, atol=limit)
    with torch.no_grad():
        p.x.div_(lengths[:, None] if field == "complex" else lengths)
        p.x[:, 1:] += 0.5 * p.x[:, :-1]
    np.testing.assert_allclose(as_numpy(p.matrix()), w, rtol=0, atol=limit)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("field", "determinant"), [("real", 1), ("real", -1), ("complex", 1)])
def test_determinant_option_changes_the_last_column_only(n, field, determinant):
    p = build(n, field, determinant=determinant)
    for seed in range(6):
        with torch.no_grad():
            torch.manual_seed(seed)
            p.x.copy_(torch.randn_like(p.x))
        w, plain = as_numpy(p.matrix()), gram_schmidt(matrix_of(p))
        assert np.linalg.det(w) == pytest.approx(determinant, abs=1e-12)
        factor = determinant / np.linalg.det(plain)
        np.testing.assert_allclose(w[:, :-1], plain[:, :-1], rtol=0, atol=1e-11)
        np.testing.assert_allclose(w[:, -1], plain[:, -1] * factor, rtol=0, atol=1e-11)


def test_determinant_changes_sign_through_a_singular_x():
    p, q = build(3), build(3, determinant=1)
    for one in (p, q):
        with torch.no_grad():
            one.x.copy_(torch.diag(torch.tensor([1.0, 1.0, -0.1], dtype=torch.float64)))
    assert np.linalg.det(as_numpy(p.matrix())) == pytest.approx(-1)
    assert np.linalg.det(as_numpy(q.matrix())) == pytest.approx(1)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("dtype", list(EPS))
@pytest.mark.parametrize("n", [1, 2, 7, 17])
def test_matrix_of_a_singular_x_is_refused(n, dtype, field):
    def zero(x):
        x.zero_()

    def last(x):
        x[:, -1] = 0

    def multiple(x):
        x[:, -1] = 3 * x[:, 0]

    def total(x):
        x[:, -1] = x[:, :-1].sum(1)

    for fault in (zero, last) if n == 1 else (zero, last, multiple, total):
        p = build(n, field, dtype)
        with torch.no_grad():
            fault(p.x)
        with pytest.raises(ValueError, match=r"x is singular.*reset_parameters\(\)"):
            p.matrix()
        p.reset_parameters()
        assert torch.isfinite(p.matrix()).all()


@pytest.mark.parametrize("dtype", list(EPS))
def test_gradient_is_large_but_finite_near_a_singular_x(dtype):
    p = build(5, dtype=dtype)
    gap = 100 * EPS[dtype]
    with torch.no_grad():
        p.x.copy_(torch.eye(5))
        p.x[:, 3] = p.x[:, 2]
        p.x[3, 3] += gap
    w = p.matrix()
    np.testing.assert_allclose(as_numpy(w), np.eye(5), rtol=0, atol=1e-6)
    # What stands out of the earlier columns is of length ``gap``: a change dx_43 turns it by
    # dx_43 / gap.
    w[4, 3].backward()
    assert torch.isfinite(p.x.grad).all()
    assert float(p.x.grad[4, 3]) == pytest.approx(1 / gap, rel=1e-2)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("n", SIZES)
def test_assign_stores_the_matrix(n, field):
    p = build(n, field)
    rng = np.random.default_rng(n)
    g = rng.standard_normal((n, n)) + (
        1j * rng.standard_normal((n, n)) if field == "complex" else 0
    )
    w = np.linalg.qr(g)[0]
    w = w * np.exp(-1j * np.angle(np.linalg.det(w))) if field == "complex" else -w
    p.assign_(torch.from_numpy(w))
    np.testing.assert_allclose(matrix_of(p), w, rtol=0, atol=1e-14)
    np.testing.assert_allclose(as_numpy(p.matrix()), w, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("field", "determinant"), [("real", None), ("complex", None), ("complex", 1)]
)
def test_matrix_has_first_and_second_derivatives(field, determinant):
    p = build(4, field, determinant=determinant)
    x = (p.x.detach() + 0.2 * torch.randn_like(p.x)).requires_grad_()

    def function(x):
        w = torch.func.functional_call(p, {"x": x}, (torch.eye(4, dtype=p.dtype),))
        return torch.view_as_real(w) if w.is_complex() else w

    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("threads", [1, 2])
def test_matrix_has_a_positive_r_with_any_number_of_threads(threads):
    """With two threads and n of 100 or more torch.linalg.qr may give R a diagonal with phases."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        p = Parametrization.create("qr", 130, field="complex", dtype=torch.float64)
        x = torch.randn(130, 130, dtype=torch.complex128)
        with torch.no_grad():
            p.x.copy_(torch.view_as_real(x))
        w = p.matrix()
        r = (w.mH.detach() @ x).numpy()
        upstream = torch.randn(130, 130, dtype=torch.complex128)
        direction = torch.randn_like(p.x)
        (grad,) = torch.autograd.grad((upstream.conj() * w).real.sum(), p.x)
        ends, step = [], 1e-5
        for sign in (1, -2):
            with torch.no_grad():
                p.x.add_(direction, alpha=sign * step)
            ends.append((upstream.conj() * p.matrix().detach()).real.sum())
    finally:
        torch.set_num_threads(before)
    assert np.abs(np.tril(r, -1)).max() <= 1e-11
    assert np.abs(np.diag(r).imag).max() <= 1e-11
    assert np.diag(r).real.min() > 0
    found, wanted = (grad * direction).sum(), (ends[0] - ends[1]) / (2 * step)
    assert float(found) == pytest.approx(float(wanted), rel=1e-4)
