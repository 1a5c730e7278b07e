"""polar_newton_schulz against the polar factor by SVD, whatever the condition of X."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch.func import functional_call, grad, vmap

from tests.oracles import F64, SIZES, as_numpy
from unitary_zoo import Parametrization, attach, linalg

fields = pytest.mark.parametrize("field", ["real", "complex"])


def build(n, field="real", seed=0, dtype=F64, **options):
    torch.manual_seed(seed)
    return Parametrization.create("polar_newton_schulz", n, field=field, dtype=dtype, **options)


def random(n, field, condition, seed=1):
    """U diag(s) V^H with singular values from 1 down to 1 / condition."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((2, n, n))
    if field == "complex":
        z = z + 1j * rng.standard_normal((2, n, n))
    u, v = np.linalg.qr(z)[0]
    s = np.geomspace(1, 1 / min(condition, 1e300), n)
    if condition == np.inf:
        s[-1] = 0.0
    return (u * s) @ v.conj().T, u @ v.conj().T


@torch.no_grad()
def put(p, x):
    p.x.copy_(linalg.view_as_real_parts(torch.from_numpy(x)))
    return p


@fields
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 1e6, 1e10])
def test_matrix_is_the_polar_factor(n, field, condition):
    for seed in range(3):
        x, w = random(n, field, condition, seed)
        found = as_numpy(put(build(n, field), 3 * x).matrix())
        # A perturbation of X by eps turns W by eps / (sigma_i + sigma_j): up to n eps condition.
        # The floor is that of a scaled step, which takes 1 to 0.1, a few times.
        assert np.abs(found - w).max() <= 2.3e-16 * (20 * condition + 200) * np.sqrt(n)


@fields
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e5, 1e9, 1e20, np.inf])
def test_matrix_is_unitary_at_any_condition(field, dtype, condition):
    for n in SIZES:
        p = put(build(n, field, dtype=dtype), random(n, field, condition)[0])
        assert linalg.unitarity_defect(p.matrix()) <= p.info.tolerance(n, dtype)
    p.x.data.zero_()
    w = p.matrix()
    assert linalg.unitarity_defect(w) <= p.info.tolerance(n, dtype)
    w.abs().sum().backward()
    assert torch.isfinite(p.x.grad).all()


def test_matrix_takes_no_svd_up_to_the_condition_stated(monkeypatch):
    calls = []
    svd = torch.linalg.svd
    monkeypatch.setattr(torch.linalg, "svd", lambda *a: (calls.append(1), svd(*a))[1])
    for iterations in (None, 4, 20):
        p = build(9, iterations=iterations)
        # The bound of the norm, that of (X^H X)^2, exceeds it by n^(1/8) = 1.3 at most.
        for fraction, wanted in ((0.7, 0), (0.01, 0), (3.0, 1)):
            calls.clear()
            condition = max(1.0, p.condition * fraction)
            put(p, random(9, "real", condition)[0]).matrix()
            assert len(calls) == wanted, (iterations, fraction)
    assert 1e3 < build(9).condition < 1e5


@fields
@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("condition", [1.0, 30.0, 1e5])
def test_gradient_is_that_of_the_polar_factor(n, field, condition):
    x, _ = random(n, field, condition)
    p, c = put(build(n, field), x), np.random.default_rng(5).standard_normal((n, n))
    (p.matrix() * torch.from_numpy(c)).real.sum().backward()
    found = as_numpy(linalg.from_real_parts(p.x.grad, field))
    # W (sigma_i + sigma_j)-weighted skew part of W^H C in the singular basis, the closed form.
    u, s, vh = np.linalg.svd(x)
    m = u.conj().T @ c @ vh.conj().T
    wanted = u @ ((m - m.conj().T) / (s[:, None] + s[None, :])) @ vh
    scale = np.abs(wanted).max() + 1e-300
    # The derivative is conditioned like 1 / (sigma_i + sigma_j)^2: two powers of it.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13 * scale * condition + 1e-13)


@pytest.mark.parametrize("n", [2, 3])
def test_gradient_equals_differences(n):
    x, _ = random(n, "real", 10.0)
    p, c = put(build(n), x), np.random.default_rng(5).standard_normal((n, n))
    (p.matrix() * torch.from_numpy(c)).sum().backward()
    h = 1e-5
    for i in range(n):
        for j in range(n):
            e = np.zeros((n, n))
            e[i, j] = h
            above, below = ((scipy.linalg.polar(x + t * e)[0] * c).sum() for t in (1, -1))
            # Truncation h^2 f'''/6 with f''' up to 10^3 |c|, rounding 1e-16/h.
            assert float(p.x.grad[i, j]) == pytest.approx((above - below) / (2 * h), abs=1e-6)


@pytest.mark.parametrize("determinant", [1, -1])
def test_gradient_equals_differences_where_a_direction_is_reversed(determinant):
    for seed in range(4):  # both signs of the determinant of x
        p = build(4, determinant=determinant)
        x = torch.randn(4, 4, dtype=F64, generator=torch.Generator().manual_seed(seed))

        def value(x, p=p):
            return functional_call(p, {"x": x}, (torch.eye(4, dtype=F64),))

        assert torch.autograd.gradcheck(value, x.requires_grad_(), rtol=1e-5)
        assert torch.autograd.gradgradcheck(value, x, rtol=1e-4)


@fields
@pytest.mark.parametrize("condition", [1.0, 30.0, 1e4])
def test_gradient_is_the_same_with_a_graph_for_second_derivatives(field, condition):
    p = put(build(5, field), random(5, field, condition)[0])
    for create_graph in (True, False):
        graph = (p.matrix() ** 2).abs().sum()
        (p.x.grad,) = torch.autograd.grad(graph, p.x, create_graph=create_graph)
        if create_graph:
            wanted = p.x.grad.detach()
    # Without the projection onto the tangent space a rounding grows as often as the steps enlarge
    # the least singular value: by the condition, beside that of the derivative.
    assert (p.x.grad - wanted).abs().max() <= 1e-14 * condition * max(
        1.0, float(wanted.abs().max())
    )


@fields
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_matrix_ignores_the_size_of_x(field, dtype):
    p = build(5, field, dtype=dtype)
    w = p.matrix().detach()
    for factor in (2.0**-100, 2.0**-20, 2.0**100):
        with torch.no_grad():
            p.x.mul_(factor)
        assert torch.equal(p.matrix(), w)
        p.matrix().abs().sum().backward()
        assert torch.isfinite(p.x.grad).all()
        p.step_()
        assert torch.equal(p.matrix(), w)
        with torch.no_grad():
            p.x.div_(p.x.abs().max())
            w = p.matrix().detach()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64])
def test_step_rescales_a_vanishing_x_only(dtype):
    p = build(4, dtype=torch.float32).to(dtype)
    x = p.x.detach().clone()
    p.step_()
    assert torch.equal(p.x, x)
    tiny = max(torch.finfo(dtype).tiny ** 0.5, 2.0**-60) / 8
    with torch.no_grad():
        p.x.mul_(2.0 ** np.floor(np.log2(tiny)))
    small, w = p.x.detach().clone(), p.matrix().detach()
    p.step_()
    assert 0.5 <= p.x.abs().max() <= 1
    assert torch.equal(p.matrix(), w)
    ratio = (p.x.double() / small.double()).detach()
    assert torch.equal(ratio, torch.full_like(ratio, float(ratio[0, 0])))


def test_weight_decay_leaves_the_matrix():
    p = build(4, dtype=torch.float32)
    w = p.matrix().detach()
    opt = torch.optim.AdamW(p.parameters(), lr=0.5, weight_decay=0.9)
    attach(p, opt)
    for _ in range(400):  # a factor of 0.55^400 = 1e-104
        opt.zero_grad()
        (0.0 * p.matrix().sum()).backward()
        opt.step()
    # Rounding of X by half an eps in each of the steps.
    torch.testing.assert_close(p.matrix(), w, rtol=0, atol=400 * 1.2e-7)


@pytest.mark.parametrize("determinant", [1, -1])
def test_determinant_option_takes_the_nearest_of_that_sign(determinant):
    crossed = 0
    for seed in range(12):
        p = build(5, determinant=determinant)
        x = np.random.default_rng(seed).standard_normal((5, 5))
        u, _, vh = np.linalg.svd(x)
        signs = np.ones(5)
        signs[-1] = np.sign(np.linalg.det(u @ vh)) * determinant
        crossed += signs[-1] < 0
        found = as_numpy(put(p, x).matrix())
        assert np.abs(found - (u * signs) @ vh).max() < 1e-12
    assert 1 < crossed < 11


@fields
@pytest.mark.parametrize("condition", [3.0, 1e7])
def test_gradient_by_torch_func_is_the_same(field, condition):
    p = put(build(4, field), random(4, field, condition)[0])
    c = torch.randn(4, 4, dtype=F64)

    def value(x):
        return (functional_call(p, {"x": x}, (torch.eye(4, dtype=p.dtype),)) * c).real.sum()

    value(p.x).backward()
    scale = float(p.x.grad.abs().max())
    x = p.x.detach()
    # One is the derivative of the steps, the other the closed one: see the bound above.
    limit = 1e-13 * condition * scale
    torch.testing.assert_close(grad(value)(x), p.x.grad, rtol=0, atol=limit)
    both = vmap(grad(value))(torch.stack([x, x]))
    torch.testing.assert_close(both[1], p.x.grad, rtol=0, atol=limit)


def test_matrix_and_assign_do_not_depend_on_iterations():
    x, w = random(7, "real", 50.0)
    for iterations in (0, 3, None, 25):
        p = put(build(7, iterations=iterations), x)
        assert np.abs(as_numpy(p.matrix()) - w).max() < 1e-13
        p.assign_(torch.from_numpy(w))
        assert np.abs(as_numpy(p.matrix()) - w).max() < 1e-13


@pytest.mark.parametrize(("value", "kind"), [(-1, ValueError), (2.0, TypeError), (True, TypeError)])
def test_iterations_out_of_range_are_refused(value, kind):
    with pytest.raises(kind, match=f"polar_newton_schulz: iterations={value!r}"):
        build(3, iterations=value)
