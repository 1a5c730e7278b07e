"""scaled_cayley against its formula, the gradient of the paper, and the choice of signs."""

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


def build(n, dtype=torch.float64, seed=0, **options):
    torch.manual_seed(seed)
    return Parametrization.create("scaled_cayley", n, dtype=dtype, **options)


def skew(p):
    """A from the entries above its diagonal, row by row."""
    a = np.zeros((p.n, p.n))
    a[np.triu_indices(p.n, 1)] = p.theta.detach().double().numpy()
    return a - a.T


def wanted(p):
    one, a = np.eye(p.n), skew(p)
    return scipy.linalg.solve(one + a, one - a) @ np.diag(p.signs.double().numpy())


@given(
    n=st.sampled_from(SIZES), dtype=st.sampled_from(list(EPS)), seed=st.integers(0, 2**31 - 1),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
)  # fmt: skip
@settings(max_examples=40)
def test_matrix_equals_the_formula(n, dtype, seed, scale):
    p = build(n, dtype, seed)
    with torch.no_grad():
        p.theta.add_(scale * torch.randn_like(p.theta))
    # The condition of I + A is at most 1 + |A|; the same matrix in double precision.
    limit = 20 * (1 + np.linalg.norm(skew(p), 2)) * EPS[dtype]
    assert np.abs(p.matrix().detach().double().numpy() - wanted(p)).max() <= limit


@pytest.mark.parametrize("n", [2, 3, 7, 17])
def test_gradient_is_that_of_the_paper(n):
    p = build(n)
    with torch.no_grad():
        p.theta.add_(0.3 * torch.randn_like(p.theta))
    g = torch.randn(n, n, dtype=torch.float64)
    (p.matrix() * g).sum().backward()
    a, d, w = skew(p), np.diag(p.signs.numpy()), p.matrix().detach().numpy()
    v = scipy.linalg.solve((np.eye(n) + a).T, g.numpy() @ (d + w.T))
    gradient = (v.T - v)[np.triu_indices(n, 1)]
    assert np.abs(p.theta.grad.numpy() - gradient).max() <= 1e-13 * n * float(g.norm())


@pytest.mark.parametrize("n", SIZES)
def test_start_is_that_of_the_paper(n):
    p = build(n)
    half = n // 2
    m = p.negative_ones
    assert m in (half, half + 1)  # one more where the determinant asks for it
    assert m % 2 == 0
    assert p.signs.tolist() == [1.0] * (n - m) + [-1.0] * m
    a = skew(p)
    angles = -2 * np.arctan(np.diagonal(a, 1)[::2])
    assert ((angles >= 0) & (angles <= math.pi / 2)).all()
    blocks = scipy.linalg.block_diag(
        *([[0, x], [-x, 0]] for x in -np.tan(angles / 2)), *([[0.0]] if n % 2 else [])
    )
    np.testing.assert_allclose(a, blocks, rtol=0, atol=1e-15)


def test_start_angles_are_uniform():
    large = build(4001)
    angles = 2 * large.theta.detach().abs().arctan()
    angles = angles[angles > 0]
    # Uniform on (0, pi/2): the mean of 2000 is off by a standard deviation of 0.01.
    assert len(angles) == 2000
    assert abs(float(angles.mean()) - math.pi / 4) < 0.05


@pytest.mark.parametrize("n", SIZES)
def test_signs_give_the_determinant(n):
    for m in range(n + 1):
        p = build(n, negative_ones=m)
        assert np.linalg.det(p.matrix().detach().numpy()) == pytest.approx((-1) ** m, abs=1e-12)
        assert int((p.signs < 0).sum()) == m
        p.reset_parameters("haar")  # stays in the component
        assert np.linalg.det(p.matrix().detach().numpy()) == pytest.approx((-1) ** m, abs=1e-12)
    for determinant in (1, -1):
        p = build(n, determinant=determinant)
        assert abs(p.negative_ones - n // 2) <= 1
        assert (-1) ** p.negative_ones == determinant


def test_negative_ones_unfit_are_refused():
    assert build(5, negative_ones=3, determinant=-1).negative_ones == 3
    with pytest.raises(ValueError, match=r"negative_ones=3 gives determinant -1.*determinant=\+1"):
        build(5, negative_ones=3, determinant=1)
    with pytest.raises(ValueError, match=r"negative_ones=2 gives determinant \+1"):
        build(5, negative_ones=2, determinant=-1)
    with pytest.raises(ValueError, match="negative_ones=-1; pass an int of at least 0"):
        build(5, negative_ones=-1)
    with pytest.raises(ValueError, match="negative_ones=6; pass a number from 0 to 5"):
        build(5, negative_ones=6)
    for bad in (1.0, True, "2"):
        with pytest.raises(TypeError, match="negative_ones="):
            build(5, negative_ones=bad)


def orthogonal_points(n):
    rng = np.random.default_rng(n)
    haar = np.linalg.qr(rng.standard_normal((n, n)))[0]
    plane = np.eye(n)
    plane[: n // 2 * 2, : n // 2 * 2] *= -1
    yield from (haar, haar @ np.diag([-1.0] + [1] * (n - 1)), np.eye(n), -np.eye(n), plane)
    yield haar @ plane @ haar.T  # eigenvalues -1 in a general position
    yield np.eye(n)[rng.permutation(n)]
    yield scipy.linalg.hadamard(1 << (n.bit_length() - 1)) / math.sqrt(1 << (n.bit_length() - 1))


@pytest.mark.parametrize("n", [*SIZES, 64])
def test_assign_is_exact_with_entries_of_at_most_one(n):
    for w in orthogonal_points(n):
        p = build(len(w))
        assert p.assign_(torch.from_numpy(w)) <= 100 * n * EPS[torch.float64]
        assert np.abs(skew(p)).max() <= 1 + 2e-6
        assert set(p.signs.tolist()) <= {1.0, -1.0}
        np.testing.assert_allclose(wanted(p), w, rtol=0, atol=1e-13 * n)
        # Flipping any pair of signs changes |det(I + W D)| by the factor a_ij^2: none is larger.
        d = p.signs.numpy()
        best = abs(np.linalg.det(np.eye(len(w)) + w * d))
        for i in range(min(len(w), 5)):
            for j in range(i):
                e = d.copy()
                e[[i, j]] *= -1
                assert abs(np.linalg.det(np.eye(len(w)) + w * e)) <= best * (1 + 1e-5)


def test_signs_are_fixed_and_in_the_state_dict():
    p, q = build(5), build(5)
    assert [name for name, _ in p.named_parameters()] == ["theta"]
    p.reset_parameters("haar")
    q.load_state_dict(p.state_dict())
    assert torch.equal(q.matrix(), p.matrix())
