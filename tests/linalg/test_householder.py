"""householder against products of single reflections, and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linalg.common import product_of_reflections
from tests.oracles import C128, DTYPES, F64, SIZES, as_numpy, defect, gap, normal, rounding
from unitary_zoo import linalg
from unitary_zoo.testing.strategies import batch_shapes, seeds


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_householder_is_the_product_of_its_reflections(n, dtype):
    for k in (0, 1, n // 2, n, n + 3):
        v = normal(n, k, dtype=dtype, seed=k)
        w = linalg.householder(v)
        assert w.dtype == dtype
        # k reflections one after the other round by k eps at most in each entry, and as a rule
        # by its root.
        limit = rounding(max(n, k), dtype, 10)
        assert gap(w, product_of_reflections(v)) <= limit
        assert defect(w) <= limit
        if not dtype.is_complex:
            assert np.linalg.det(as_numpy(w)).real == pytest.approx((-1) ** k, abs=n * limit)


@pytest.mark.parametrize("dtype", [F64, C128])
def test_householder_and_its_gradient_equal_torch(dtype):
    n, k = 17, 17
    v = normal(n, k, dtype=dtype).tril(-1) + torch.eye(n, dtype=dtype)
    weight = normal(n, n, dtype=dtype, seed=1)
    pairs = []
    for own in (True, False):
        x = v.clone().requires_grad_()
        tau = (2 / x.abs().square().sum(0)).to(dtype)
        w = linalg.householder(x) if own else torch.linalg.householder_product(x, tau)
        (grad,) = torch.autograd.grad((weight.conj() * w).real.sum(), x)
        # LAPACK reads what is below the diagonal.
        pairs.append((w, grad.tril(-1)))
    for found, wanted in zip(*pairs, strict=True):
        assert gap(found, wanted) <= rounding(n, dtype, 100)


@pytest.mark.parametrize("dtype", [F64, C128])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 1), (2, 3), (3, 3), (4, 2)])
def test_householder_has_first_and_second_derivatives(n, k, dtype):
    v = normal(2, n, k, dtype=dtype).requires_grad_()

    def function(v):
        return linalg.view_as_real_parts(linalg.householder(v))

    assert torch.autograd.gradcheck(function, v)
    assert torch.autograd.gradgradcheck(function, v)


@pytest.mark.parametrize("dtype", DTYPES)
def test_householder_takes_a_column_of_zeros_as_the_identity(dtype):
    v = normal(5, 4, dtype=dtype)
    v[:, 1] = 0
    v.requires_grad_()
    w = linalg.householder(v)
    assert gap(w, linalg.householder(v[:, [0, 2, 3]])) <= rounding(5, dtype, 10)
    (grad,) = torch.autograd.grad((normal(5, 5, dtype=dtype, seed=1).conj() * w).real.sum(), v)
    assert torch.equal(grad[:, 1], torch.zeros_like(grad[:, 1]))
    assert torch.isfinite(grad).all()
    assert (grad[:, 0] != 0).all()
    nothing = torch.zeros(5, 4, dtype=dtype)
    assert torch.equal(linalg.householder(nothing), torch.eye(5, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_householder_ignores_the_length_of_reflectors(dtype):
    v = normal(7, 5, dtype=dtype)
    lengths = torch.tensor([1e-30, 1e30, 1e-18, 1e25, 1.0], dtype=linalg.real_dtype(dtype))
    found = linalg.householder(v * lengths)
    assert gap(found, linalg.householder(v)) <= rounding(7, dtype, 10)


@pytest.mark.parametrize("spread", [0.0, 1e-7, 1e-3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_householder_of_nearly_parallel_reflectors_is_unitary(dtype, spread):
    n = 33
    v = normal(n, 1, dtype=dtype) + spread * normal(n, n, dtype=dtype, seed=1)
    w = linalg.householder(v)
    assert defect(w) <= n * rounding(n, dtype, 10)
    assert gap(w, product_of_reflections(v)) <= n * rounding(n, dtype, 10)


@given(
    shape=batch_shapes(), n=st.integers(1, 9), k=st.integers(1, 12), dtype=st.sampled_from(DTYPES),
    seed=seeds(),
)  # fmt: skip
@settings(max_examples=30)
def test_householder_of_a_batch_equals_that_of_its_members(shape, n, k, dtype, seed):
    v = normal(*shape, n, k, dtype=dtype, seed=seed)
    found = linalg.householder(v)
    assert found.shape == (*shape, n, n)
    for w, x in zip(found.reshape(-1, n, n), v.reshape(-1, n, k), strict=True):
        assert gap(w, product_of_reflections(x)) <= rounding(max(n, k), dtype, 20)
