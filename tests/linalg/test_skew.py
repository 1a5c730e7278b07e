"""Coordinates of skew matrices."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import C128, DTYPES, F64, FIELDS, SIZES, as_numpy, normal, rounding
from unitary_zoo import linalg
from unitary_zoo.testing.strategies import batch_shapes, dtypes, seeds


@given(
    shape=batch_shapes(), n=st.integers(1, 17), dtype=dtypes(), seed=seeds(),
    field=st.sampled_from(FIELDS),
)  # fmt: skip
def test_skew_coordinates_round_trip_and_scale_lengths_by_root_two(shape, n, dtype, seed, field):
    d = n * n if field == "complex" else n * (n - 1) // 2
    assert linalg.skew_dimension(n, field) == d
    theta = normal(*shape, d, dtype=dtype, seed=seed)
    a = linalg.skew_from_coordinates(theta, n, field)
    assert a.shape == (*shape, n, n)
    assert a.dtype == (dtype.to_complex() if field == "complex" else dtype)
    assert torch.equal(a, -a.mH)
    # The diagonal is multiplied and divided by the root of two: one rounding each.
    eps = torch.finfo(dtype).eps
    assert torch.allclose(linalg.skew_to_coordinates(a), theta, rtol=2 * eps, atol=0)
    lengths = as_numpy(a).reshape(*shape, -1)
    wanted = math.sqrt(2) * np.linalg.norm(theta.double().numpy(), axis=-1)
    np.testing.assert_allclose(np.linalg.norm(lengths, axis=-1), wanted, rtol=4 * eps)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_skew_from_coordinates_has_an_orthogonal_basis(n, field):
    d = linalg.skew_dimension(n, field)
    basis = as_numpy(linalg.skew_from_coordinates(torch.eye(d, dtype=F64), n, field)).reshape(
        d, n * n
    )
    gram = (basis.conj() @ basis.T).real
    np.testing.assert_allclose(gram, 2 * np.eye(d), atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_skew_to_coordinates_takes_the_skew_part(n, dtype):
    x = normal(2, n, n, dtype=dtype)
    field = "complex" if dtype.is_complex else "real"
    back = linalg.skew_from_coordinates(linalg.skew_to_coordinates(x), n, field)
    limit = 4 * torch.finfo(dtype).eps * float(x.abs().max())
    assert (back - (x - x.mH) / 2).abs().max() <= limit


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("n", [1, 2, 3, 17])
def test_map_of_coordinates_equals_that_of_the_matrix_with_its_gradient(n, field):
    theta = normal(linalg.skew_dimension(n, field), seed=3).requires_grad_()
    weight = normal(n, n, dtype=C128 if field == "complex" else F64, seed=4)
    for fused, function in (
        (linalg.expm_of_coordinates, linalg.expm_skew),
        (linalg.cayley_of_coordinates, linalg.cayley),
    ):
        wanted = function(linalg.skew_from_coordinates(theta, n, field))
        found = fused(theta, n, field)
        assert torch.equal(found, wanted)
        # The gradient in the coordinates by torch's own derivatives of skew_from_coordinates.
        grads = [
            torch.autograd.grad((weight.conj() * w).real.sum(), theta)[0] for w in (found, wanted)
        ]
        torch.testing.assert_close(*grads, rtol=0, atol=rounding(n, F64, 10))
