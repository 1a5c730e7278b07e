"""nnrnn against its formula entry by entry, its starts and assignment."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.oracles import F64, normal
from unitary_zoo import NotRepresentableError, Parametrization, linalg

SIZES = [1, 2, 3, 7, 8, 17, 33]


def build(n, **options):
    return Parametrization.create("nnrnn", n, dtype=F64, **options)


@torch.no_grad()
def anywhere(n, seed=0, scale=1.0):
    p = build(n)
    for q in p.parameters():
        q.copy_(scale * normal(*q.shape, seed=seed))
    return p


def dense(p):
    """P (Lambda + T) P^T, entry by entry, in numpy with scipy's exponential."""
    n = p.n
    values = {name: q.detach().numpy() for name, q in p.named_parameters()}
    a = np.zeros((n, n))
    if n > 2:
        a[np.triu_indices(n, 1)] = values["skew"]
    form = np.zeros((n, n))
    for i, theta in enumerate(values["angles"]):
        c, s = math.cos(theta), math.sin(theta)
        form[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = values["gains"][i] * np.array(
            [[c, -s], [s, c]]
        )
    entries = iter(values["transients"])
    for i in range(n // 2):
        for j in range(i):
            form[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = np.reshape(
                [next(entries) for _ in range(4)], (2, 2)
            )
    if n % 2:
        form[-1, :-1] = [next(entries) for _ in range(n - 1)]
        form[-1, -1] = values["gains"][-1]
    assert next(entries, None) is None
    q = scipy.linalg.expm(a - a.T)
    return q @ form @ q.T


@pytest.mark.parametrize("n", SIZES)
def test_matrix_equals_the_formula(n):
    p = anywhere(n, seed=n)
    wanted = dense(p)
    # Three products of matrices of norm up to that of T; the exponentials differ by a few n eps.
    limit = 1e-14 * n * max(1.0, np.linalg.norm(wanted, 2))
    np.testing.assert_allclose(p.matrix().detach().numpy(), wanted, rtol=0, atol=limit)


@pytest.mark.parametrize("n", SIZES)
def test_schur_is_lower_block_triangular(n):
    p, form = anywhere(n).schur()
    blocks = torch.arange(n) // 2
    assert not form[blocks[:, None] < blocks].any()
    assert form[blocks[:, None] > blocks].all()
    i = 2 * torch.arange(n // 2)
    torch.testing.assert_close(form[i, i], form[i + 1, i + 1], rtol=0, atol=0)
    torch.testing.assert_close(form[i, i + 1], -form[i + 1, i], rtol=0, atol=0)
    assert linalg.unitarity_defect(p) < 1e-14 * n


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8])
def test_eigenvalues_do_not_depend_on_the_transients(n):
    p = anywhere(n, scale=0.3)
    with torch.no_grad():
        p.gains.add_(1.0)
    wanted = (
        p.gains[: n // 2].detach().numpy()[:, None]
        * np.exp(1j * np.outer(p.angles.detach().numpy(), [1, -1]))
    ).ravel()
    wanted = np.append(wanted, p.gains[n // 2 :].detach().numpy())
    found = scipy.linalg.eigvals(p.matrix().detach().numpy())
    gaps = np.abs(found[:, None] - wanted[None, :])
    rows, columns = scipy.optimize.linear_sum_assignment(gaps)
    # The triangle makes eigenvalues sensitive: their condition here stays below 1e4.
    assert gaps[rows, columns].max() < 1e-10


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("init", ["haar", "henaff", "cayley", "torus", "identity"])
def test_start_is_the_matrix_of_the_initialiser(n, init):
    p = build(n)
    p.reset_parameters(init, generator=torch.Generator().manual_seed(3))
    q = Parametrization.create("lie_exp", n, dtype=F64)
    q.reset_parameters(init, generator=torch.Generator().manual_seed(3))
    # The eigenvectors of W, the logarithm of P and its exponential round by a few n eps each.
    np.testing.assert_allclose(p.matrix().detach(), q.matrix().detach(), rtol=0, atol=1e-13 * n)
    assert linalg.unitarity_defect(p.matrix()) <= 1e-13 * n
    assert not p.transients.any()
    np.testing.assert_allclose(p.gains.detach().abs(), np.ones(n - n // 2), rtol=0, atol=1e-13)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_start_by_default_is_that_of_the_paper(n):
    p = build(n)
    assert p.info.default_init == "henaff"
    assert not p.skew.any()
    assert (p.gains == 1).all()
    assert len(p.angles.unique()) == n // 2


def awkward(n, seed):
    """Orthogonal matrices with eigenvalues repeated, at 1 and at -1, of determinant 1."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    angles = np.resize([math.pi, 0.0, 1.0, 1.0, 1e-9, math.pi, math.pi - 1e-10, 0.0], n // 2)
    w = np.eye(n)
    for i, t in enumerate(angles):
        block = [[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]]
        w[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
    return torch.as_tensor(q @ w @ q.T)


@pytest.mark.parametrize(
    ("n", "sign"),
    [*((n, 1) for n in (2, 3, 4, 7, 16, 17, 33)), *((n, -1) for n in (1, 3, 7, 17, 33))],
)
def test_assign_is_exact_for_orthogonal_matrices(n, sign):
    # A determinant below 0 is for odd n only.
    p = build(n)
    for seed in range(3):
        w = sign * awkward(n, seed)
        assert p.assign_(w) <= 100 * n * linalg.eps(F64)  # the limit that assign_ states


@pytest.mark.parametrize("n", [3, 5, 8, 9, 17])
def test_assign_is_exact_for_permutations(n):
    """Planes that are not turned at all, exactly, beside some that are."""
    w = torch.eye(n, dtype=F64)
    w[[0, 1, n - 1]] = w[[1, n - 1, 0]]
    p = build(n)
    assert p.assign_(w) <= 100 * n * linalg.eps(F64)
    if n > 7:  # eigenvalues -1, in pairs and exactly
        w[[2, 3, 4, 5]] = w[[3, 2, 5, 4]]
        assert p.assign_(w) <= 100 * n * linalg.eps(F64)


@pytest.mark.parametrize("n", [2, 4])
def test_determinant_is_never_negative_if_n_is_even(n):
    w = torch.eye(n, dtype=F64)
    w[0, 0] = -1
    p = build(n)
    before = p.matrix()
    with pytest.raises(NotRepresentableError, match="nnrnn"):
        p.assign_(w)
    torch.testing.assert_close(p.matrix(), before, rtol=0, atol=0)
    assert p.assign_(w, nearest=True) >= 1 - 1e-9  # no W of determinant >= 0 is nearer
    for seed in range(5):
        assert torch.linalg.det(anywhere(n, seed).matrix()) >= -1e-12


@pytest.mark.parametrize("n", [2, 3, 5])
def test_assign_fits_other_matrices_near_the_group(n):
    source = build(n)
    source.reset_parameters("haar", generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        source.transients.add_(0.02 * normal(*source.transients.shape, seed=2))
        source.gains.mul_(1.01)
    w = source.matrix().detach()
    start = float(torch.linalg.matrix_norm(w - linalg.polar(w), 2))
    residual = build(n).assign_(w, nearest=True)
    assert residual < start / 2  # better than the nearest orthogonal one, by the fit


@pytest.mark.parametrize("n", [1, 2, 7])
def test_penalty_equals_the_formula(n):
    p = anywhere(n)
    gains, transients = p.gains.detach().numpy(), p.transients.detach().numpy()
    wanted = 0.15 * np.sum((gains - 1) ** 2) + 0.5 * 1e-4 * np.sum(transients**2)
    assert p.penalty(0.15, 1e-4).item() == pytest.approx(wanted, rel=1e-14)
    # Its gradient in T is that of weight decay.
    if transients.size:
        (grad,) = torch.autograd.grad(p.penalty(0.0, 1e-4), p.transients)
        np.testing.assert_allclose(grad, 1e-4 * transients, rtol=1e-14)
    assert build(n).penalty(1.0, 1.0).item() == 0.0


def test_options_for_complex_matrices_are_refused():
    with pytest.raises(ValueError, match="complex"):
        build(4, field="complex")
    with pytest.raises(ValueError, match="determinant"):
        build(4, determinant=1)
