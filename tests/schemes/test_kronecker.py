"""kronecker against numpy's Kronecker product of scipy's exponentials."""

import functools
import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from tests.schemes.dispatch import Written
from unitary_zoo import NotRepresentableError, Parametrization

FACTORS = [(1,), (2,), (3,), (7,), (2, 2), (2, 3), (3, 2), (3, 5), (4, 2), (2, 2, 2, 2), (5, 2, 3),
           (3, 3, 3), (2, 17), (33,), (6, 8, 2), (2, 2, 2, 2, 2, 2)]  # fmt: skip
FIELDS = ["complex", "real"]


def build(factors, **options):
    n = math.prod(factors)
    options = {"dtype": torch.float64, "factors": factors, **options}
    return Parametrization.create("kronecker", n, **options)


def skew(theta, n, field):
    """The matrix of real coordinates: entries above the diagonal, then those of i, row by row."""
    a = np.zeros((n, n), dtype=complex)
    above = list(itertools.combinations(range(n), 2))
    for k, (i, j) in enumerate(above):
        z = theta[k] if field == "real" else theta[k] + 1j * theta[len(above) + k]
        a[i, j], a[j, i] = z, -np.conj(z)
    if field == "complex":
        a += np.diag(1j * math.sqrt(2) * theta[2 * len(above) :])
    return a


def factors_of(p):
    """exp(A_f) by scipy."""
    theta, found = p.theta.detach().double().numpy(), []
    for size in p.factors:
        d = size * size if p.field == "complex" else size * (size - 1) // 2
        found.append(scipy.linalg.expm(skew(theta[:d], size, p.field)))
        theta = theta[d:]
    assert not theta.size
    return found


def dense_product(p):
    return functools.reduce(np.kron, factors_of(p))


@pytest.mark.parametrize("factors", FACTORS, ids=str)
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrix_equals_the_product_of_numpy(factors, field, dtype):
    p = build(factors, field=field, dtype=dtype)
    wanted = dense_product(p)
    # Each factor is an exponential of a matrix of norm up to pi, right to 8 sqrt(P) eps, as
    # elsewhere; the entries of the others are below 1.
    limit = 8 * sum(math.sqrt(size) for size in factors) * torch.finfo(dtype).eps
    np.testing.assert_allclose(p.matrix().detach().numpy(), wanted, rtol=0, atol=limit)
    h = torch.randn(2, 3, p.n, dtype=p.dtype, generator=torch.Generator().manual_seed(p.n))
    scale = limit * float(h.norm())
    image, back = p(h).detach().numpy(), p.adjoint(h).detach().numpy()
    np.testing.assert_allclose(image, h.numpy() @ wanted.T, rtol=0, atol=scale)
    np.testing.assert_allclose(back, h.numpy() @ wanted.conj(), rtol=0, atol=scale)


@pytest.mark.parametrize(
    ("n", "factors"),
    [(1, (1,)), (2, (2,)), (7, (7,)), (12, (2, 2, 3)), (49, (7, 7)), (64, (2,) * 6), (62, (2, 31))],
)
def test_factors_are_the_primes_by_default(n, factors):
    p = Parametrization.create("kronecker", n)
    assert p.factors == factors
    # 8 log2 n numbers for n a power of two in the paper, which stores 2 x 2 complex entries; a
    # unitary one has half as many.
    assert p.theta.numel() == sum(size**2 for size in factors)


@pytest.mark.parametrize("factors", [f for f in FACTORS if math.prod(f) <= 16], ids=str)
@pytest.mark.parametrize("field", FIELDS)
def test_dimension_is_the_rank_of_the_tangents(factors, field):
    """Tangents I (x) ... X ... (x) I: the generators of the Lie algebra of the product group."""
    p = build(factors, field=field)
    tangents = []
    for k, size in enumerate(factors):
        d = size * size if field == "complex" else size * (size - 1) // 2
        for unit in np.eye(d):
            parts = [np.eye(m, dtype=complex) for m in factors]
            parts[k] = skew(unit, size, field)
            x = functools.reduce(np.kron, parts).ravel()
            tangents.append(np.concatenate([x.real, x.imag]))
    rank = np.linalg.matrix_rank(np.array(tangents)) if tangents else 0
    assert p.info.dimension(p.n) == rank
    if p.factors == Parametrization.create("kronecker", p.n).factors:
        assert Parametrization.get("kronecker").info.claims[field].dimension(p.n) == rank


@pytest.mark.parametrize("factors", FACTORS, ids=str)
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("seed", range(3))
def test_assign_is_exact_for_products(factors, field, seed):
    """Whatever signs and phases the rearrangement hands to its two sides."""
    rng = np.random.default_rng(seed)
    group = scipy.stats.unitary_group if field == "complex" else scipy.stats.special_ortho_group
    parts = [np.eye(1) if m == 1 else group.rvs(m, random_state=rng) for m in factors]
    w = functools.reduce(np.kron, parts)
    p = build(factors, field=field)
    # A logarithm and an exponential of each factor, of norm up to pi, and singular vectors of n^2
    # entries.
    limit = 100 * p.n**0.5 * len(factors) * np.finfo(float).eps
    assert p.assign_(torch.tensor(w)) <= limit
    assert np.linalg.norm(dense_product(p) - w, 2) <= limit


@pytest.mark.parametrize("field", FIELDS)
def test_assign_nearest_is_a_local_optimum(field):
    """Near a product, no random move of the factors comes nearer than the assignment."""
    rng = np.random.default_rng(5)
    p = build((3, 4), field=field)
    w = dense_product(p) + 0.05 * rng.standard_normal((12, 12))
    u, _, vh = np.linalg.svd(w)
    w = u @ vh
    if np.linalg.det(w).real < 0 and field == "real":
        pytest.skip("the other component")
    p.assign_(torch.tensor(w if field == "complex" else w.real), nearest=True)
    best = np.linalg.norm(dense_product(p) - w)
    theta = p.theta.detach().clone()
    for _ in range(50):
        with torch.no_grad():
            p.theta.copy_(theta + 0.05 * torch.tensor(rng.standard_normal(len(theta))))
        assert np.linalg.norm(dense_product(p) - w) > best


def test_assign_refuses_other_matrices():
    w = torch.tensor(scipy.stats.unitary_group.rvs(6, random_state=np.random.default_rng(1)))
    p = build((2, 3))
    with pytest.raises(NotRepresentableError, match="nearest=True"):
        p.assign_(w)
    with pytest.raises(NotRepresentableError, match="init='haar'"):
        p.reset_parameters("haar")
    p.reset_parameters("identity")
    assert np.abs(p.matrix().detach().numpy() - np.eye(6)).max() <= 1e-15


def test_prime_size_reaches_the_whole_group():
    w = torch.tensor(scipy.stats.unitary_group.rvs(7, random_state=np.random.default_rng(1)))
    p = build((7,))
    assert p.assign_(w) <= 1e-13
    assert p.info.dimension(7) == 49
    assert Parametrization.create("kronecker", 37).info.cost == "O(n^2)"
    assert Parametrization.create("kronecker", 62).info.cost == "O(n log n)"


@pytest.mark.parametrize("factors", [(), (2, 2), (1, 6), (6, 1), (-2, -3), (5,), (2, 2, 2)])
def test_factors_unfit_are_refused(factors):
    with pytest.raises(ValueError, match=r"whose product is n=6, such as \(2, 3\)"):
        Parametrization.create("kronecker", 6, factors=factors)


@pytest.mark.parametrize("field", FIELDS)
def test_start_of_each_factor_is_haar(field):
    p = build((2, 3), field=field)
    generator = torch.Generator().manual_seed(0)
    traces = []
    for _ in range(100):
        p.reset_parameters(generator=generator)
        traces.append([np.trace(w) for w in factors_of(p)])
    # E tr W = 0 and E |tr W|^2 = 1 on U(m), on SO(3) as well, and 2 on SO(2). Of 100 draws the
    # means are right to 0.1 times the deviations, which are below 1.5 and 2; five are allowed.
    squares = np.square(np.abs(traces)).mean(0)
    assert np.abs(np.mean(traces, axis=0)).max() <= 5 * 0.1 * 1.5
    wanted = [1, 1] if field == "complex" else [2, 1]
    assert np.abs(squares - wanted).max() <= 5 * 0.1 * 2


@pytest.mark.parametrize("field", FIELDS)
def test_forward_and_backward_take_memory_of_order_n(field):
    n, batch = 16384, 2
    p = Parametrization.create("kronecker", n, field=field)
    h = torch.randn(batch, n, dtype=p.dtype)
    with Written() as written:
        p(h).abs().sum().backward()
    assert written.largest <= 2 * batch * n
    # A handful of merged factors, each a product and some views, forth and back.
    assert written.total <= 150 * batch * n


def test_prepare_multiplies_neighbouring_factors_up_to_32():
    # 2^14 = 32 * 32 * 16: three products instead of fourteen.
    q = Parametrization.create("kronecker", 16384).prepare()
    assert q.multiplications == 16384 * 80 * 4
