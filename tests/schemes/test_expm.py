"""expm: W = exp(A), against scipy's exponential and logarithm."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.base.common import haar
from tests.oracles import as_numpy as numpy
from tests.schemes.descent import (
    build,
    coordinate_basis,
)

F64 = torch.float64


def skew(coordinates, n, field):
    """A with these coordinates in the documented basis."""
    if not len(coordinates):
        return np.zeros((n, n))
    return np.tensordot(coordinates, coordinate_basis(n, field), 1)


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_expm_is_the_exponential_of_the_coordinates(n, field, scale):
    p = build("expm", n, field=field)
    with torch.no_grad():
        p.theta.copy_(scale * torch.randn(p.theta.shape, dtype=F64))
    a = skew(numpy(p.theta), n, field)
    # Rounding of A by eps |A| turns W by as much.
    limit = 10 * math.sqrt(n) * 2.3e-16 * (1 + np.linalg.norm(a, 2))
    assert np.abs(numpy(p.matrix()) - scipy.linalg.expm(a)).max() <= limit


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_assigned_coordinates_are_those_of_the_principal_logarithm(n, field):
    p, w = build("expm", n, field=field), haar(n, field, seed=3)
    p.assign_(w)
    a = skew(numpy(p.theta), n, field)
    assert np.abs(np.linalg.eigvals(a).imag).max() <= math.pi
    np.testing.assert_allclose(a, scipy.linalg.logm(w.numpy()), atol=1e-12)


@pytest.mark.parametrize("n", [2, 5])
def test_the_trace_of_a_moves_nothing_in_su(n):
    p = build("expm", n, field="complex", determinant=1)
    before = numpy(p.matrix())
    with torch.no_grad():
        p.theta[-n:] += 0.3  # the diagonal of A stands last
    assert np.abs(numpy(p.matrix()) - before).max() <= 1e-14
