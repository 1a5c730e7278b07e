"""householder against single reflections: matrices, and columns of tall weights."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import SIZES, as_numpy
from tests.schemes.dispatch import Written
from unitary_zoo import NotRepresentableError, Parametrization, orthogonal
from unitary_zoo.testing import check_parametrization

Householder = Parametrization.get("householder")
EPS = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}


def build(n, dtype=torch.float64, seed=0, **options):
    torch.manual_seed(seed)
    return Householder(n, dtype=dtype, **options)


def columns(p):
    v = as_numpy(p.reflectors)
    return v[..., 0] + 1j * v[..., 1] if p.field == "complex" else v


def naive_product(p):
    """One dense reflection after the other in double precision."""
    v = columns(p)
    w = np.eye(p.n, dtype=v.dtype)
    for x in v.T:
        w = w @ (np.eye(p.n) - 2 * np.outer(x, x.conj()) / np.vdot(x, x).real)
    if p.field == "complex":
        phases = as_numpy(p.phases)
        if p.determinant is not None:
            phases = phases - phases.mean() + p.reflections * np.pi / p.n
        return w * np.exp(1j * phases)
    w[:, -1] *= float(p.sign)
    return w


@given(
    n=st.sampled_from(SIZES), share=st.floats(0, 1), dtype=st.sampled_from(list(EPS)),
    field=st.sampled_from(["real", "complex"]), determinant=st.sampled_from([None, 1]),
    seed=st.integers(0, 2**31 - 1), scale=st.sampled_from([1e-6, 1.0, 1e3]),
)  # fmt: skip
@settings(max_examples=60)
def test_matrix_equals_the_explicit_product(n, share, dtype, field, determinant, seed, scale):
    k = max(1, round(share * n))
    p = build(n, dtype, seed, reflections=k, field=field, determinant=determinant)
    with torch.no_grad():
        p.reflectors.mul_(scale)
    wanted = naive_product(p)
    # k reflections round by sqrt(k) eps each in norm; phases of size pi by pi eps.
    limit = 20 * math.sqrt(n) * EPS[dtype]
    np.testing.assert_allclose(as_numpy(p.matrix()), wanted, rtol=0, atol=limit)
    h = torch.randn(3, n, dtype=p.dtype)
    size = float(h.norm())
    np.testing.assert_allclose(as_numpy(p(h)), as_numpy(h) @ wanted.T, rtol=0, atol=limit * size)
    adjoint = as_numpy(h) @ wanted.conj()
    np.testing.assert_allclose(as_numpy(p.adjoint(h)), adjoint, rtol=0, atol=limit * size)


@pytest.mark.parametrize(("n", "k"), [(n, k) for n in (2, 7, 17) for k in (1, 2, 7, 17) if k <= n])
@pytest.mark.parametrize("field", ["real", "complex"])
def test_matrix_and_gradient_equal_torch(n, k, field):
    p = build(n, reflections=k, field=field)
    with torch.no_grad():  # LAPACK's form: unit lower trapezoidal
        v = torch.view_as_complex(p.reflectors) if field == "complex" else p.reflectors
        v.copy_(v.tril(-1) + torch.eye(n, k, dtype=v.dtype))
    x = v.detach().clone().requires_grad_()
    tau = (2 / x.abs().square().sum(0)).to(x.dtype)
    diagonal = torch.ones(n, dtype=x.dtype)
    if field == "complex":
        diagonal = torch.polar(torch.ones(n, dtype=torch.float64), p.phases.detach())
    else:
        diagonal[-1] = p.sign.item()
    # Only the first k columns of the product are torch's to give; the rest is read from p.
    theirs = torch.linalg.householder_product(x, tau) * diagonal[:k]
    own = p.matrix()[:, :k]
    weight = torch.randn(n, k, dtype=x.dtype)
    (wanted,) = torch.autograd.grad((weight.conj() * theirs).real.sum(), x)
    (found,) = torch.autograd.grad((weight.conj() * own).real.sum(), p.reflectors)
    found = torch.view_as_complex(found) if field == "complex" else found
    limit = 100 * n * EPS[torch.float64]
    assert (own - theirs).abs().max() <= limit
    assert (found - wanted).tril(-1).abs().max() <= limit * float(weight.abs().sum())


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("determinant", [1, -1])
def test_determinant_option_is_kept_by_any_number_of_reflections(n, determinant):
    for k in {1, (n + 1) // 2, n}:
        p = build(n, reflections=k, determinant=determinant)
        assert np.linalg.det(naive_product(p)) == pytest.approx(determinant, abs=1e-12)
        assert float(p.sign) == (-1) ** k * determinant


@pytest.mark.parametrize(("n", "k"), [(4, 3), (6, 2)])
@pytest.mark.parametrize("field", ["real", "complex"])
def test_check_parametrization_passes_with_few_reflections(n, field, k):
    # As a class of its own, for sizes that have room for k of them.
    class Few(Householder):
        info = dataclasses.replace(Householder.info, accepts=lambda m: m >= n)

    results = check_parametrization(Few, on_fail=None, reflections=k, field=field)
    # Pickle finds no class inside a function, and the kit builds what it is given.
    bad = [r for r in results if r.status != "passed" and r.check != "serialises"]
    assert not bad


@pytest.mark.parametrize(("n", "k"), [(5, 1), (5, 3), (6, 2), (6, 4), (7, 5)])
def test_dimension_is_that_of_the_set_reached(n, k):
    # Real: a k-plane, k(n - k), and a rotation in it, k(k - 1)/2.
    assert build(n, reflections=k).info.dimension(n) == k * (n - k) + k * (k - 1) // 2
    p = build(n, reflections=k, field="complex")
    counted = 2 * k * (n - k) + k * k - 1 + n
    assert p.info.dimension(n) == min(n * n, counted)
    assert build(n, reflections=k, field="complex", determinant=1).info.dimension(n) == (
        p.info.dimension(n) - 1
    )


@pytest.mark.parametrize(("n", "k"), [(n, k) for n in SIZES for k in (n, n - 1) if k >= 1])
@pytest.mark.parametrize("field", ["real", "complex"])
def test_assign_is_exact_for_any_matrix_of_the_group(n, k, field):
    rng = np.random.default_rng(n)
    g = rng.standard_normal((n, n)) + (
        1j * rng.standard_normal((n, n)) if field == "complex" else 0
    )
    haar = np.linalg.qr(g)[0]
    flip = np.eye(n)
    flip[0, 0] = -1
    near = np.eye(n) + 1e-9 * (g - g.conj().T)
    points = [haar, haar @ flip, np.eye(n), -np.eye(n), flip, np.roll(np.eye(n), 1, 0)]
    points.append(np.linalg.qr(near)[0] * np.sign(np.diag(np.linalg.qr(near)[1]).real))
    for w in points:
        p = build(n, reflections=k, field=field)
        assert p.info.reach == ("O(n)" if field == "real" else "U(n)")
        p.assign_(torch.from_numpy(w))
        assert np.abs(as_numpy(p.matrix()) - w).max() <= 40 * n * EPS[torch.float64]
        lengths = np.linalg.norm(columns(p), axis=0)
        assert np.abs(lengths - 1).max() <= 1e-12  # no column is zero: each can learn


@pytest.mark.parametrize("dtype", list(EPS))
@pytest.mark.parametrize(("n", "k"), [(5, 1), (5, 2), (9, 4), (17, 3), (33, 8)])
def test_assign_is_exact_for_few_real_reflections(n, k, dtype):
    source = build(n, dtype, seed=k, reflections=k)
    for lost in range(3):  # of lower rank, too
        w = source.matrix().detach()
        p = build(n, dtype, seed=99, reflections=k)
        assert p.assign_(w) <= 100 * n * EPS[dtype]
        with torch.no_grad():
            if k >= 2 * lost + 2:
                source.reflectors[:, 2 * lost].copy_(source.reflectors[:, 2 * lost + 1])


def test_assign_refuses_what_few_reflections_cannot_represent():
    p = build(6, reflections=2)
    before = as_numpy(p.matrix())
    with pytest.raises(NotRepresentableError, match="householder cannot represent"):
        p.assign_(torch.diag(torch.tensor([-1.0, -1, -1, -1, 1, 1], dtype=torch.float64)))
    np.testing.assert_array_equal(as_numpy(p.matrix()), before)
    # -1 on four axes: two of them can be made right, and no more.
    w = torch.diag(torch.tensor([-1.0, -1, -1, -1, 1, 1], dtype=torch.float64))
    assert p.assign_(w, nearest=True) == pytest.approx(2.0, abs=1e-12)
    assert int((p.matrix().diagonal() < -0.99).sum()) == 2


def test_assign_fits_few_complex_reflections():
    source = build(4, reflections=1, field="complex")
    p = build(4, reflections=1, field="complex")
    p.load_state_dict(source.state_dict())
    with torch.no_grad():
        p.reflectors.add_(0.1 * torch.randn_like(p.reflectors))
    start = float(torch.linalg.matrix_norm((p.matrix() - source.matrix()).detach(), 2))
    # The fit stops where the squared distance changes by less than 1e-9.
    assert p.assign_(source.matrix().detach(), nearest=True) <= 1e-4 < start
    with pytest.raises(NotRepresentableError, match="init='haar'"):
        p.reset_parameters("haar")


def test_weight_decay_leaves_the_matrix():
    for field in ("real", "complex"):
        p = build(9, torch.float32, field=field)
        before = as_numpy(p.matrix())
        optimizer = torch.optim.AdamW([p.reflectors], lr=1e-3, weight_decay=1e2)
        for _ in range(50):  # 0.9 each time
            (0.0 * p.matrix().abs().sum()).backward()
            optimizer.step()
        assert p.reflectors.abs().max() < 0.1
        # The same reflections but for the rounding of each step in each of them.
        assert np.abs(as_numpy(p.matrix()) - before).max() <= 50 * 9 * EPS[torch.float32]


def test_zero_reflector_is_the_identity_without_a_gradient():
    p = build(9, reflections=3)
    with torch.no_grad():
        p.reflectors[:, 1] = 0
    p.matrix()[:, 0].sum().backward()
    assert torch.isfinite(p.reflectors.grad).all()
    assert not p.reflectors.grad[:, 1].any()
    assert p.reflectors.grad[:, [0, 2]].any(dim=0).all()
    q = build(9, reflections=2)
    with torch.no_grad():
        q.reflectors.copy_(p.reflectors[:, [0, 2]])
        q.sign.copy_(p.sign)
    np.testing.assert_allclose(as_numpy(p.matrix()), as_numpy(q.matrix()), rtol=0, atol=1e-14)


def test_forward_writes_no_square_matrix():
    n, k = 16384, 8
    with Written() as written:
        p = Parametrization.create("householder", n, reflections=k)
        h = torch.randn(3, n)
        back = p.adjoint(p(h))
        back.sum().backward()
    assert written.largest <= n * k
    assert torch.allclose(back, h, atol=1e-4)
    assert p.info.cost == "O(n)"


# ------------------------------------------------------------------------- columns of tall weights


def tall_targets(n, k, field):
    """Orthonormal columns: at random, and where columns are in their place, opposite, or near."""
    rng = np.random.default_rng(100 * n + k)
    g = rng.standard_normal((n, k)) + (0j if field == "real" else 1j * rng.standard_normal((n, k)))
    g = g.real if field == "real" else g
    eye = np.eye(n, k)
    yield np.linalg.qr(g)[0]
    yield eye
    yield -eye
    yield eye * (-1) ** np.arange(k)
    yield np.roll(np.eye(n), 1, 0)[:, :k]
    for off in (1e-6, 1e-9, 1e-12, 1e-15):  # where q_j - e_j has lost its digits
        q, r = np.linalg.qr(eye + off * g)
        yield q * np.sign(np.diag(r).real)


@pytest.mark.parametrize(("n", "k"), [(2, 1), (5, 1), (7, 3), (7, 5), (7, 6), (33, 8), (33, 20)])
@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("determinant", [None, 1])
@pytest.mark.parametrize("dtype", list(EPS))
def test_assign_columns_is_exact_for_k_columns_of_k_reflections(n, k, field, determinant, dtype):
    p = Householder.for_columns(n, k, field=field, determinant=determinant, dtype=dtype)
    assert p.reflections == k
    assert p.reaches_columns(k)
    before = np.linalg.det(naive_product(p))
    for w in tall_targets(n, k, field):
        # k reflections that round their reflectors, as in the explicit product.
        limit = 20 * math.sqrt(n) * EPS[dtype]
        assert p.assign_columns_(torch.from_numpy(w)) <= limit
        product = naive_product(p)
        assert np.abs(product[:, :k] - w).max() <= limit
        np.testing.assert_allclose(as_numpy(p.columns(k)), w, rtol=0, atol=limit)
        if field == "real" or determinant:
            assert np.linalg.det(product) == pytest.approx(before, abs=100 * limit)
        # No column is zero, which would never learn.
        assert np.abs(np.linalg.norm(columns(p), axis=0) - 1).max() <= 10 * EPS[dtype]


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("k", [1, 3, 4])
def test_assign_columns_is_exact_with_more_reflections_than_columns(field, k):
    p = build(9, reflections=5, field=field)
    for w in tall_targets(9, k, field):
        assert p.assign_columns_(torch.from_numpy(w)) <= 60 * EPS[torch.float64]
        assert np.abs(naive_product(p)[:, :k] - w).max() <= 60 * EPS[torch.float64]


@pytest.mark.parametrize("k", [3, 5, 7])
def test_assign_columns_is_exact_for_columns_of_fewer_reflections(k):
    source, p = build(9, reflections=2), build(9, reflections=2, seed=5)
    w = source.columns(k).detach()
    assert p.assign_columns_(w) <= 100 * 9 * EPS[torch.float64]
    np.testing.assert_allclose(naive_product(p)[:, :k], as_numpy(w), rtol=0, atol=1e-13)
    # Both reflections left over, and one of them.
    for r in (0, 1):
        w = np.eye(9)
        w[r, r] = 1 - 2 * r
        assert p.assign_columns_(torch.from_numpy(w[:, :k])) <= 1e-13


@pytest.mark.parametrize("field", ["real", "complex"])
def test_assign_columns_refuses_what_too_few_reflections_cannot_represent(field):
    p = Householder.for_columns(9, 5, reflections=2, field=field, dtype=torch.float64)
    assert p.reflections == 2
    assert not p.reaches_columns(5)
    before = {key: value.clone() for key, value in p.state_dict().items()}
    w = torch.from_numpy(next(tall_targets(9, 5, field)))
    with pytest.raises(NotRepresentableError, match="householder cannot represent") as refused:
        p.assign_columns_(w)
    assert all(torch.equal(before[key], value) for key, value in p.state_dict().items())
    found = p.assign_columns_(w, nearest=True)
    assert found == pytest.approx(np.linalg.norm(as_numpy(p.columns(5) - w), 2), abs=1e-12)
    assert found == pytest.approx(refused.value.residual, abs=1e-12)


@pytest.mark.parametrize(("n", "k"), [(5, 2), (7, 3), (9, 4)])
@pytest.mark.parametrize("field", ["real", "complex"])
def test_columns_move_in_all_directions(n, k, field):
    """The rank of d(columns)/dtheta is the dimension of the Stiefel manifold."""
    p = Householder.for_columns(n, k, field=field, dtype=torch.float64)
    p.assign_columns_(torch.from_numpy(next(tall_targets(n, k, field))))
    leaves, step, rows = [p.reflectors, *([p.phases] if field == "complex" else [])], 1e-6, []
    with torch.no_grad():
        for leaf in leaves:
            flat = leaf.view(-1)
            for i in range(flat.numel()):
                ends = []
                for sign in (1, -2):
                    flat[i] += sign * step
                    ends.append(naive_product(p)[:, :k])
                flat[i] += step
                d = ((ends[0] - ends[1]) / (2 * step)).ravel()
                rows.append(np.concatenate([d.real, d.imag]))
    wanted = n * k - k * (k + 1) // 2 if field == "real" else 2 * n * k - k * k
    assert np.linalg.matrix_rank(np.array(rows), tol=1e-6) == wanted


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("layer", [(3000, 50), (50, 3000)], ids=["tall", "wide"])
def test_long_weight_writes_no_square_matrix(layer, field):
    dtype = torch.complex64 if field == "complex" else torch.float32
    module, start = torch.nn.Module(), torch.randn(*layer, dtype=dtype)
    module.weight = torch.nn.Parameter(start)
    parts = 2 if field == "complex" else 1
    with Written() as written:
        orthogonal(module, "weight", "householder")
        module.weight.abs().sum().backward()
        other = torch.linalg.qr(torch.randn(3000, 50, dtype=dtype)).Q
        module.weight = other if layer[0] > layer[1] else other.mT
        reset = module.parametrizations.weight[0].reset_parameters
        reset("haar")
    # In bytes of float32, as copy.deepcopy handles them; n x n would be 9 million entries.
    assert written.largest <= 4 * parts * 3000 * 50
    # Each reflection passes over all columns when they are assigned, which is done three times.
    assert written.total <= (3 * 50 * 2 + 200) * parts * 3000 * 50
    assert sum(q.numel() for q in module.parameters()) == parts * 3000 * 50 + 3000 * (parts - 1)


def test_tall_weight_takes_the_nearest_of_its_values():
    layer = torch.nn.Linear(4, 20, bias=False, dtype=torch.float64)
    u, _, vh = np.linalg.svd(layer.weight.detach().numpy(), full_matrices=False)
    orthogonal(layer, "weight", "householder")
    np.testing.assert_allclose(as_numpy(layer.weight), u @ vh, rtol=0, atol=1e-14)
    x = torch.randn(20, 4, dtype=torch.float64)
    layer.weight = x
    u, _, vh = np.linalg.svd(x.numpy(), full_matrices=False)
    np.testing.assert_allclose(as_numpy(layer.weight), u @ vh, rtol=0, atol=1e-14)


@pytest.mark.parametrize("field", ["real", "complex"])
def test_tall_weight_starts_from_initialisers(field):
    p = Householder.for_columns(12, 3, field=field, dtype=torch.float64)
    p.reset_parameters("identity")
    np.testing.assert_allclose(as_numpy(p.columns(3)), np.eye(12, 3), rtol=0, atol=1e-14)
    p.reset_parameters("torus" if field == "complex" else "henaff")
    assert np.abs(naive_product(p)[2:, :2]).max() <= 1e-14  # a block of two for the first two
    with pytest.raises(ValueError, match="nonsense"):
        p.reset_parameters("nonsense")
    # Of Haar columns every entry has the mean square 1/n, those on the diagonal too.
    generator, squares = torch.Generator().manual_seed(0), []
    for _ in range(400):
        p.reset_parameters("haar", generator=generator)
        squares.append(np.abs(as_numpy(p.columns(3))) ** 2)
    # The variance of a square is 2/n^2 at most.
    assert np.abs(np.mean(squares, 0) * 12 - 1).max() <= 5 * math.sqrt(2 / 400)


def test_for_columns_takes_one_reflection_a_column():
    assert Householder.for_columns(6, 6).reflections == 6
    assert Householder.for_columns(6, 2, reflections=None).reflections == 2
    assert Householder.for_columns(6, 2, reflections=4).reflections == 4


def test_matrix_in_su_ignores_the_mean_of_the_phases():
    p = build(7, field="complex", determinant=1)
    w = as_numpy(p.matrix())
    with torch.no_grad():
        p.phases.add_(0.7)
    np.testing.assert_allclose(as_numpy(p.matrix()), w, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("k", "error"), [(0, ValueError), (5, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_reflections_out_of_range_are_refused(k, error):
    with pytest.raises(error, match=f"reflections={k}"):
        build(4, reflections=k)
