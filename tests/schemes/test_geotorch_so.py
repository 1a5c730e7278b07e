"""geotorch_so against geotorch and against its formula."""

import sys

import geotorch
import numpy as np
import pytest
import scipy.linalg
import torch

from tests.oracles import F64, SIZES, normal
from unitary_zoo import Parametrization, linalg


def build(n, dtype=F64, **options):
    return Parametrization.create("geotorch_so", n, dtype=dtype, **options)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("triv", ["expm", "cayley"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_matrix_and_gradient_equal_geotorch(n, triv, dtype):
    p = build(n, dtype, triv=triv)
    layer = torch.nn.Linear(n, n, bias=False, dtype=dtype)
    geotorch.orthogonal(layer, "weight", triv=triv)
    layer.to(dtype)
    layer.weight = p.matrix().detach()
    x = normal(n, n, seed=n, dtype=dtype)
    with torch.no_grad():
        p.original.copy_(x)
        layer.parametrizations.weight.original.copy_(x)
    # The same operations on a base that was read back from ours.
    limit = 20 * n**0.5 * linalg.eps(dtype)
    torch.testing.assert_close(p.matrix(), layer.weight, rtol=0, atol=limit)
    weight = normal(n, n, seed=5, dtype=dtype)
    (ours,) = torch.autograd.grad((p.matrix() * weight).sum(), p.original)
    (theirs,) = torch.autograd.grad(
        (layer.weight * weight).sum(), layer.parametrizations.weight.original
    )
    limit *= 10 * max(1.0, float(theirs.abs().max()))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=limit)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("triv", ["expm", "cayley"])
def test_matrix_equals_the_formula(n, triv):
    p = build(n, triv=triv)
    base = p.matrix().detach().numpy()
    with torch.no_grad():
        p.original.copy_(normal(n, n, seed=n))
    lower = np.tril(p.original.detach().numpy(), -1)
    a, eye = lower - lower.T, np.eye(n)
    f = scipy.linalg.expm(a) if triv == "expm" else np.linalg.solve(eye - a / 2, eye + a / 2)
    # torch.matrix_exp stops its series early: see the tolerance.
    np.testing.assert_allclose(p.matrix().detach().numpy(), base @ f, rtol=0, atol=2e-11)


def test_assign_of_its_own_matrix_equals_update_base():
    layer = torch.nn.Linear(5, 5, bias=False, dtype=F64)
    geotorch.orthogonal(layer, "weight")
    layer.to(F64)
    p = build(5)
    layer.weight = p.matrix().detach()
    with torch.no_grad():
        for x in (p.original, layer.parametrizations.weight.original):
            x.copy_(normal(5, 5, seed=3))
    geotorch.update_base(layer, "weight")
    p.assign_(p.matrix().detach())
    assert not p.original.any()
    torch.testing.assert_close(p.base, layer.parametrizations.weight[0].base, rtol=0, atol=1e-11)


def test_manifold_changes_neither_draws_nor_state():
    before = torch.random.get_rng_state()
    first = build(4).matrix()
    after = torch.random.get_rng_state()
    torch.random.set_rng_state(before)
    haar = Parametrization.create("svd_projection", 4, dtype=F64)  # draws one Haar matrix, too
    torch.testing.assert_close(haar.matrix(), first, rtol=0, atol=1e-14)
    assert torch.equal(torch.random.get_rng_state(), after)
    assert set(build(4).state_dict()) == {"original", "base"}


def test_triv_unknown_is_refused():
    with pytest.raises(ValueError, match=r"triv='qr'.*'cayley'"):
        build(3, triv="qr")


def test_scheme_is_listed_but_not_built_without_geotorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "geotorch", None)  # so import raises ImportError
    assert "geotorch_so" in Parametrization.names()
    assert Parametrization.get("geotorch_so").info.reach == "SO(n)"
    with pytest.raises(ImportError, match="pip install geotorch"):
        build(3)
