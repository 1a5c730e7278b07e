"""Eigenvalues and singular values of matrices that may hold anything."""

import math

import numpy as np
import pytest
import torch

from unitary_zoo import linalg


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_spectrum_equals_that_of_numpy(dtype):
    x = torch.randn(3, 5, 5, dtype=dtype, generator=torch.Generator().manual_seed(0))
    for found, w in zip(linalg.eigenvalues(x), x, strict=True):
        wanted = np.linalg.eigvals(w.numpy())
        np.testing.assert_allclose(np.sort_complex(found.numpy()), np.sort_complex(wanted), 1e-12)
    for found, w in zip(linalg.eigenphases(x), x, strict=True):
        wanted = np.sort(np.angle(np.linalg.eigvals(w.numpy())))
        np.testing.assert_allclose(found.numpy(), wanted, 1e-12)
    for found, w in zip(linalg.singular_values(x), x, strict=True):
        np.testing.assert_allclose(found, np.linalg.svd(w.numpy(), compute_uv=False), 1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_svd_multiplies_to_the_matrix_or_is_nan(dtype):
    x = torch.randn(2, 4, 4, dtype=dtype, generator=torch.Generator().manual_seed(1))
    x[1, 0, 3] = math.inf
    u, s, vh = linalg.svd(x)
    np.testing.assert_allclose((u * s.unsqueeze(-2) @ vh)[0], x[0], atol=1e-14)
    np.testing.assert_allclose(s[0], np.linalg.svd(x[0].numpy(), compute_uv=False), 1e-13)
    for factor in (u, s, vh):
        assert factor[1].isnan().all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("function", ["eigenvalues", "eigenphases", "singular_values"])
def test_spectrum_of_a_matrix_that_is_not_finite_is_nan(function, dtype, value):
    x = torch.eye(6, dtype=dtype).repeat(3, 1, 1)
    x[0] = value
    x[1, 2, 3] = value
    found = getattr(linalg, function)(x)
    assert found[:2].isnan().all()
    assert found[2].isfinite().all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_polar_of_a_matrix_that_is_not_finite_is_nan(value):
    x = torch.eye(4, dtype=torch.float64)
    x[0, 3] = value
    assert linalg.polar(x).isnan().all()
    assert linalg.reunitarized(x)[1:].isfinite().all(), "shown as it is"
    assert linalg.log_unitary(x).isnan().all()
