"""expm: W = exp(A), against scipy's exponential and logarithm."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.base.common import haar
from tests.oracles import F64, as_numpy
from tests.schemes.descent import build, skew


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_matrix_equals_the_exponential_of_scipy(n, field, scale):
    p = build("expm", n, field=field)
    with torch.no_grad():
        p.theta.copy_(scale * torch.randn(p.theta.shape, dtype=F64))
    a = skew(as_numpy(p.theta), n, field)
    # Rounding of A by eps |A| turns W by as much.
    limit = 10 * math.sqrt(n) * 2.3e-16 * (1 + np.linalg.norm(a, 2))
    assert np.abs(as_numpy(p.matrix()) - scipy.linalg.expm(a)).max() <= limit


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_assign_takes_the_principal_logarithm(n, field):
    p, w = build("expm", n, field=field), haar(n, field, seed=3)
    p.assign_(w)
    a = skew(as_numpy(p.theta), n, field)
    assert np.abs(np.linalg.eigvals(a).imag).max() <= math.pi
    np.testing.assert_allclose(a, scipy.linalg.logm(w.numpy()), atol=1e-12)


@pytest.mark.parametrize("n", [2, 5])
def test_matrix_in_su_ignores_the_trace(n):
    p = build("expm", n, field="complex", determinant=1)
    before = as_numpy(p.matrix())
    with torch.no_grad():
        p.theta[-n:] += 0.3  # the diagonal of A stands last
    assert np.abs(as_numpy(p.matrix()) - before).max() <= 1e-14
