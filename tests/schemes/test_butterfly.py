"""butterfly against its blocks applied one by one, and assignment."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from tests.schemes.dispatch import Written
from unitary_zoo import NotRepresentableError, Parametrization

SIZES = [1, 2, 3, 5, 7, 12, 16, 17, 33, 100]


def build(n, **options):
    return Parametrization.create("butterfly", n, **{"dtype": torch.float64, **options})


def dense_product(p):
    """D F_L ... F_1, block by block onto two rows, in order of strides 1, 2, 4, ..."""
    n, k, stride = p.n, 0, 1
    theta = p.theta.detach().double().numpy()
    phi, omega = np.zeros_like(theta), np.zeros(n)
    if p.field == "complex":
        phi, omega = p.phi.detach().double().numpy(), p.omega.detach().double().numpy()
    w = np.eye(n, dtype=complex)
    while stride < n:
        for i in range(n):
            j = i ^ stride
            if i < j < n:
                c, s, e = np.cos(theta[k]), np.sin(theta[k]), np.exp(1j * phi[k])
                w[[i, j]] = np.array([[c, -e * s], [s, e * c]]) @ w[[i, j]]
                k += 1
        stride *= 2
    assert k == len(theta)
    return np.exp(1j * omega)[:, None] * w


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("field", ["complex", "real"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrix_equals_the_explicit_product(n, field, dtype):
    p = build(n, field=field, dtype=dtype)
    wanted = dense_product(p)
    # Each of at most 7 layers and D turns numbers of size 1 by angles up to pi, rounded to eps.
    limit = 4 * 8 * torch.finfo(dtype).eps
    np.testing.assert_allclose(p.matrix().detach().numpy(), wanted, rtol=0, atol=limit)
    h = torch.randn(2, 4, n, dtype=p.dtype, generator=torch.Generator().manual_seed(n))
    scale = limit * float(h.norm())
    image, back = p(h).detach().numpy(), p.adjoint(h).detach().numpy()
    np.testing.assert_allclose(image, h.numpy() @ wanted.T, rtol=0, atol=scale)
    np.testing.assert_allclose(back, h.numpy() @ wanted.conj(), rtol=0, atol=scale)


@pytest.mark.parametrize("n", [2, 3, 5, 6, 7, 9, 12])
@pytest.mark.parametrize("field", ["complex", "real"])
def test_dimension_is_that_of_free_unitary_blocks(n, field):
    """Blocks from all of U(2) or SO(2), four angles or one, span no more directions."""
    seed = np.random.default_rng(n)

    def block():
        if field == "real":
            return scipy.stats.special_ortho_group.rvs(2, random_state=seed)
        return scipy.stats.unitary_group.rvs(2, random_state=seed)

    generators = [np.array([[0, -1], [1, 0]])]
    if field == "complex":
        generators += [np.array([[0, 1j], [1j, 0]]), np.diag([1j, 0]), np.diag([0, 1j])]
    places = [
        [i, i ^ 2**k] for k in range((n - 1).bit_length()) for i in range(n) if i < i ^ 2**k < n
    ]
    blocks = [np.eye(n, dtype=complex) for _ in places]
    for b, ij in zip(blocks, places, strict=True):
        b[np.ix_(ij, ij)] = block()
    columns = []
    for k, ij in enumerate(places):
        for g in generators:
            turned = np.zeros((n, n), dtype=complex)
            turned[np.ix_(ij, ij)] = g
            d = np.eye(n)
            for m, b in enumerate(blocks):
                d = (turned @ b if m == k else b) @ d
            columns.append(np.concatenate([d.real.ravel(), d.imag.ravel()]))
    # D adds nothing: each unit is in a block of all of U(2).
    assert np.linalg.matrix_rank(np.array(columns), tol=1e-9) == build(
        n, field=field
    ).info.dimension(n)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("field", ["complex", "real"])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 0.0])
def test_assign_is_exact_for_butterflies(n, field, scale):
    """Also where blocks are near the identity or all zero, and their angles hang on rounding."""
    w = torch.tensor(dense_product(moved(n, field, scale)))
    w = w.real if field == "real" else w
    p = build(n, field=field)
    # Norms and overlaps of up to n numbers in 7 nested splits, each right to a few eps.
    limit = 30 * n**0.5 * np.finfo(float).eps
    assert p.assign_(w) <= limit
    assert np.abs(dense_product(p) - w.numpy()).max() <= limit


def moved(n, field, scale):
    p = build(n, field=field)
    with torch.no_grad():
        for q in p.parameters():
            q.mul_(scale)
    return p


@pytest.mark.parametrize("field", ["complex", "real"])
@pytest.mark.parametrize("n", [2, 3, 7, 8, 12])
def test_assign_is_exact_for_quarter_turns(n, field):
    """Signed permutations: half of the norms that the splits compare are zero."""
    p, q = build(n, field=field), build(n, field=field)
    generator = torch.Generator().manual_seed(n)
    with torch.no_grad():
        for r in p.parameters():
            r.copy_(torch.pi / 2 * torch.randint(-2, 3, r.shape, generator=generator))
    assert q.assign_(p.matrix()) <= 1e-14


def test_assign_is_exact_for_the_dft_of_reversed_bits():
    for n in (2, 8, 64):
        bits = (n - 1).bit_length()
        reverse = [int(format(i, f"0{bits}b")[::-1], 2) for i in range(n)]
        w = scipy.linalg.dft(n, scale="sqrtn")[:, reverse]
        assert build(n).assign_(torch.tensor(w)) <= 30 * n**0.5 * np.finfo(float).eps


def test_assign_is_exact_for_a_real_hadamard_matrix():
    # The Walsh-Hadamard matrix of order 8 has four eigenvalues -1, so determinant 1.
    w = scipy.linalg.hadamard(8) / 8**0.5
    p = build(8, field="real")
    assert p.assign_(torch.tensor(w)) <= 1e-14
    assert np.allclose(np.abs(np.sin(2 * p.theta.detach().numpy())), 1)


def test_assign_refuses_other_matrices_with_the_residual():
    w = torch.tensor(scipy.stats.unitary_group.rvs(6, random_state=np.random.default_rng(1)))
    p = build(6)
    before = p.matrix().detach()
    with pytest.raises(NotRepresentableError, match="nearest=True") as caught:
        p.assign_(w)
    assert torch.equal(p.matrix(), before)
    assert p.assign_(w, nearest=True) == caught.value.residual
    found = np.linalg.norm(dense_product(p) - w.numpy(), 2)
    assert caught.value.residual == pytest.approx(found, abs=1e-13)
    with pytest.raises(NotRepresentableError, match="init='haar'"):
        p.reset_parameters("haar")


@pytest.mark.parametrize("n", [16384, 10007])
@pytest.mark.parametrize("field", ["complex", "real"])
def test_forward_and_backward_take_memory_of_order_n(n, field):
    batch, layers = 2, 14
    p = build(n, field=field, dtype=torch.float32)
    h = torch.randn(batch, n, dtype=p.dtype)
    with Written() as written:
        p(h).abs().sum().backward()
    # The rows, and the numbers of all layers, 2 n each.
    assert written.largest <= 4 * layers * n
    # Some 40 operations a layer, forth and back, on rows or angles; the slices of the flat angles
    # are put into a gradient of all of them, once a layer.
    assert written.total <= 60 * layers * (batch + 2) * n + 2 * layers**2 * n
