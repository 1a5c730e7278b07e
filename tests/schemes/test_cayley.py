"""cayley: W = (I + A)^{-1} (I - A), against numpy's solve."""

import math

import numpy as np
import pytest
import torch

from tests.base.common import haar
from tests.oracles import F64, as_numpy, defect
from tests.schemes.descent import build, skew
from unitary_zoo import NotRepresentableError


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_matrix_equals_the_solve_of_numpy(n, field, scale):
    p = build("cayley", n, field=field)
    with torch.no_grad():
        p.theta.copy_(scale * torch.randn(p.theta.shape, dtype=F64))
    a = skew(as_numpy(p.theta), n, field)
    wanted = np.linalg.solve(np.eye(n) + a, np.eye(n) - a)
    # The solve rounds by the condition of I + A, at most 1 + |A|.
    limit = 10 * math.sqrt(n) * 2.3e-16 * (1 + np.linalg.norm(a, 2))
    assert np.abs(as_numpy(p.matrix()) - wanted).max() <= limit


def test_eigenphases_are_twice_the_arctangents():
    p = build("cayley", 2)
    with torch.no_grad():
        p.theta.fill_(0.7)
    found = np.sort(p.describe().eigenphases.numpy())
    np.testing.assert_allclose(found, [-2 * math.atan(0.7), 2 * math.atan(0.7)], atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("field", ["real", "complex"])
def test_assign_nearest_stops_short_of_the_eigenvalue_minus_one(field, dtype):
    p = build("cayley", 4, dtype, field=field)
    w = haar(4, field)
    w = w @ torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=w.dtype)) @ w.mH
    with pytest.raises(NotRepresentableError):
        p.assign_(w)
    residual = p.assign_(w, nearest=True)
    # All angles are shrunk by a factor 1 - sqrt(eps): pi sqrt(eps) off, and rounding magnified by
    # the coordinates, of size 2 / (pi sqrt(eps)), is of the same order.
    assert residual <= 2 * math.pi * math.sqrt(torch.finfo(dtype).eps)
    assert defect(p.matrix()) <= p.info.tolerance(4, p.dtype)
