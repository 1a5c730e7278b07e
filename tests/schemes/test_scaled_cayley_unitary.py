"""scaled_cayley_unitary against its formula and the gradient of the paper."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import SIZES
from unitary_zoo import Parametrization

EPS = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}


def build(n, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return Parametrization.create("scaled_cayley_unitary", n, dtype=dtype)


def factors(p):
    """A, from the documented coordinates, and the diagonal of D."""
    theta, (i, j) = p.theta.detach().double().numpy(), np.triu_indices(p.n, 1)
    a = np.zeros((p.n, p.n), complex)
    m = len(i)
    a[i, j] = theta[:m] + 1j * theta[m : 2 * m]
    a = a - a.conj().T
    a[np.diag_indices(p.n)] = 1j * math.sqrt(2) * theta[2 * m :]
    return a, np.exp(1j * p.phases.detach().double().numpy())


def wanted(p):
    a, d = factors(p)
    return scipy.linalg.solve(np.eye(p.n) + a, np.eye(p.n) - a) @ np.diag(d)


@given(
    n=st.sampled_from(SIZES), dtype=st.sampled_from(list(EPS)), seed=st.integers(0, 2**31 - 1),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
)  # fmt: skip
@settings(max_examples=40)
def test_matrix_equals_the_formula(n, dtype, seed, scale):
    p = build(n, dtype, seed)
    with torch.no_grad():
        p.theta.add_(scale * torch.randn_like(p.theta))
    # The condition of I + A is at most 1 + |A|; cos and sin of a phase round by an eps.
    limit = 20 * (1 + np.linalg.norm(factors(p)[0], 2)) * EPS[dtype]
    assert np.abs(p.matrix().detach().to(torch.complex128).numpy() - wanted(p)).max() <= limit


@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_gradient_is_that_of_the_paper(n):
    p = build(n)
    with torch.no_grad():
        p.theta.add_(0.3 * torch.randn_like(p.theta))
    weight = torch.randn(n, n, dtype=torch.complex128)
    # dC/dRe W + i dC/dIm W of C = Re sum(conj(weight) W) is weight; half its conjugate is the
    # paper's Wirtinger gradient.
    (weight.conj() * p.matrix()).real.sum().backward()
    g = weight.numpy().conj() / 2
    (a, d), w, one = factors(p), p.matrix().detach().numpy(), np.eye(n)
    c = scipy.linalg.solve((one + a).T, g @ (np.diag(d) + w.T))
    da = c.T - c.conj()  # dC/dRe A + i dC/dIm A of the entries, with A^H = -A kept
    i, j = np.triu_indices(n, 1)
    z = scipy.linalg.solve(one + a, one - a)
    dphi = 2 * (1j * np.diag(g.T @ z) * d).real
    limit = 1e-13 * n * float(weight.norm() + 1)
    np.testing.assert_allclose(p.phases.grad.numpy(), dphi, rtol=0, atol=limit)
    # A coordinate above the diagonal moves two entries alike, one on it moves one by sqrt(2) i.
    coordinates = np.concatenate(
        [2 * da[i, j].real, 2 * da[i, j].imag, math.sqrt(2) * np.diag(da).imag]
    )
    np.testing.assert_allclose(p.theta.grad.numpy(), coordinates, rtol=0, atol=limit)


@pytest.mark.parametrize("n", SIZES)
def test_start_is_that_of_the_paper(n):
    a, _ = factors(build(n))
    assert not a.imag.any()
    angles = -2 * np.arctan(np.diagonal(a.real, 1)[::2])
    assert ((angles >= 0) & (angles <= math.pi / 2)).all()
    off = np.abs(a).sum() - 2 * np.abs(np.diagonal(a, 1)[::2]).sum()
    assert off <= 1e-15
    phases = build(1000).phases.detach()
    assert ((phases >= 0) & (phases <= 2 * math.pi)).all()
    # Uniform: the mean of 1000 is off by 2 pi / sqrt(12000) = 0.06.
    assert abs(float(phases.mean()) - math.pi) < 0.3


@pytest.mark.parametrize("n", SIZES)
def test_assign_is_exact_with_entries_of_at_most_one(n):
    rng = np.random.default_rng(n)
    haar = np.linalg.qr(rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n)))[0]
    turned = haar @ np.diag(np.where(np.arange(n) % 2, -1, 1)) @ haar.conj().T
    real = np.linalg.qr(rng.standard_normal((n, n)))[0]
    dft = scipy.linalg.dft(n, scale="sqrtn")
    for w in (haar, turned, real, dft, np.eye(n), -np.eye(n), np.roll(np.eye(n), 1, 0)):
        p = build(n)
        assert p.assign_(torch.from_numpy(w)) <= 100 * n * EPS[torch.float64]
        assert np.abs(factors(p)[0]).max() <= 1.01 + 1e-9
        np.testing.assert_allclose(wanted(p), w, rtol=0, atol=1e-13 * n)


def test_parameters_are_n_more_than_the_dimension():
    p = build(6)
    assert sum(q.numel() for q in p.parameters()) == 42
    assert p.info.dimension(6) == 36
