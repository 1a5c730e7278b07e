"""spectral_band against its formula, its band of singular values and assignment."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import F64, SIZES, normal
from unitary_zoo import NotRepresentableError, Parametrization, linalg
from unitary_zoo.testing.strategies import seeds


def build(n, **options):
    return Parametrization.create("spectral_band", n, dtype=F64, **options)


def dense_cayley(theta, n, field):
    """(I + A)^{-1} (I - A) entry by entry, in numpy."""
    a = np.zeros((n, n), dtype=complex if field == "complex" else float)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    for k, (i, j) in enumerate(pairs):
        a[i, j] += theta[k]
        a[j, i] -= theta[k]
    if field == "complex":
        for k, (i, j) in enumerate(pairs):
            a[i, j] += 1j * theta[len(pairs) + k]
            a[j, i] += 1j * theta[len(pairs) + k]
        a += 1j * math.sqrt(2) * np.diag(theta[2 * len(pairs) :])
    return np.linalg.solve(np.eye(n) + a, np.eye(n) - a)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("radius", [0.01, 0.1, 1.0])
def test_matrix_equals_the_formula(n, field, radius):
    p = build(n, field=field, radius=radius)
    with torch.no_grad():
        p.theta.copy_(normal(*p.theta.shape, seed=n))
        p.spectrum.copy_(3 * normal(n, seed=n + 1))
    u, v = (dense_cayley(theta, n, field) for theta in p.theta.detach().numpy())
    s = 1 + 2 * radius * (1 / (1 + np.exp(-p.spectrum.detach().numpy())) - 0.5)
    # Solves with I + A, of condition n or so, in another order of rounding.
    np.testing.assert_allclose(
        p.matrix().detach().numpy(), u @ np.diag(s) @ v.conj().T, rtol=0, atol=1e-14 * n
    )
    np.testing.assert_allclose(p.singular_values().detach(), s, rtol=0, atol=1e-15)


@given(
    n=st.sampled_from([1, 2, 3, 7]),
    field=st.sampled_from(["real", "complex"]),
    radius=st.sampled_from([1e-3, 0.1, 0.5, 1.0]),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    seed=seeds(),
)
def test_singular_values_stay_in_the_band(n, field, radius, scale, seed):
    p = build(n, field=field, radius=radius)
    with torch.no_grad():
        for q in p.parameters():
            q.copy_(scale * normal(*q.shape, seed=seed))
    s = scipy.linalg.svdvals(p.matrix().detach().numpy())
    # Values at the edge, rounded with two unitary factors whose defects are a few n eps.
    slack = 1e-14 * n
    assert s.max() <= 1 + radius + slack
    assert s.min() >= 1 - radius - slack
    wanted = np.sort(p.singular_values().detach().numpy())
    np.testing.assert_allclose(np.sort(s), wanted, rtol=0, atol=slack)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("field", ["real", "complex"])
def test_start_is_unitary_with_small_coordinates(n, field):
    p = build(n, field=field)
    limit = p.info.tolerance(n, p.dtype)
    assert linalg.unitarity_defect(p.matrix()) <= limit
    assert not p.spectrum.any()
    # A root of W has its eigenvalues within pi/2, so those of A are within tan(pi/4).
    for a in linalg.skew_from_coordinates(p.theta.detach(), n, field):
        assert torch.linalg.matrix_norm(a, 2) <= 1 + 1e-12


@given(
    n=st.sampled_from([1, 2, 3, 7, 17]),
    field=st.sampled_from(["real", "complex"]),
    radius=st.sampled_from([0.1, 1.0]),
    seed=seeds(),
)
def test_assign_is_exact_in_the_band(n, field, radius, seed):
    rng = np.random.default_rng(seed)

    def orthonormal():
        g = rng.standard_normal((n, n))
        return np.linalg.qr(g + 1j * rng.standard_normal((n, n)) if field == "complex" else g)[0]

    s = 1 + 0.99 * radius * rng.uniform(-1, 1, n)
    w = torch.as_tensor(orthonormal() @ np.diag(s) @ orthonormal())
    if field == "real" and torch.linalg.det(w) < 0:
        w[:, 0].neg_()
    p = build(n, field=field, radius=radius)
    assert p.assign_(w) <= 100 * n * linalg.eps(F64)  # the limit that assign_ states
    np.testing.assert_allclose(p.matrix().detach(), w, rtol=0, atol=100 * n * linalg.eps(F64))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_assign_is_exact_if_factors_have_the_eigenvalue_minus_one(n):
    # One SVD of -S is (-I) S I, another has S on the other side: neither -I is a Cayley map.
    s = torch.linspace(0.95, 1.05, n, dtype=F64)
    w = torch.diag(-s)
    if n % 2:
        w[0, 0] *= -1
    p = build(n)
    assert p.assign_(w) <= 100 * n * linalg.eps(F64)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_assign_nearest_clips_singular_values(n):
    p = build(n, radius=0.1)
    s = torch.linspace(0.5, 2.0, n, dtype=F64)
    q = torch.linalg.qr(normal(n, n, seed=1)).Q
    w = q @ torch.diag(s) @ q.mT
    with pytest.raises(NotRepresentableError, match="spectral_band"):
        p.assign_(w)
    wanted = q @ torch.diag(s.clamp(0.9, 1.1)) @ q.mT
    p.assign_(w, nearest=True)
    # Stopped within eps of the edge of the band.
    np.testing.assert_allclose(p.matrix().detach(), wanted, rtol=0, atol=1e-12)


def test_assign_refuses_a_negative_determinant():
    p = build(3)
    w = torch.diag(torch.tensor([1.0, 1.05, -0.95], dtype=F64))
    with pytest.raises(NotRepresentableError):
        p.assign_(w)
    assert p.assign_(w, nearest=True) == pytest.approx(0.9 + 0.95, abs=1e-9)


@pytest.mark.parametrize("radius", [0, -0.1, 1.5, math.nan, math.inf])
def test_radius_out_of_range_is_refused(radius):
    with pytest.raises(ValueError, match=rf"radius={radius}.*\(0, 1\]"):
        build(3, radius=radius)


def test_info_states_the_radius():
    assert "0.25" in build(3, radius=0.25).info.deviation
    assert "0.25" in repr(build(3, radius=0.25).describe())
