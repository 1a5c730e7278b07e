"""Distances from the unitary group."""

import numpy as np
import pytest
import torch

from tests.oracles import DTYPES, F64, as_numpy, normal
from unitary_zoo import linalg


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (9, 4), (3, 5, 5), (2, 3, 6, 2)])
def test_unitarity_defect_equals_the_spectral_norm(shape, dtype):
    w = normal(*shape, dtype=dtype, seed=4).requires_grad_()
    found = linalg.unitarity_defect(w)
    assert found.dtype == F64
    assert found.shape == shape[:-2]
    assert not found.requires_grad
    x = as_numpy(w).reshape(-1, *shape[-2:])
    wanted = [np.linalg.norm(y.conj().T @ y - np.eye(shape[-1]), 2) for y in x]
    # Evaluated in double precision, whatever the dtype: ten roundings of W^H W.
    np.testing.assert_allclose(found.reshape(-1).numpy(), wanted, rtol=0, atol=1e-13)


def test_unitarity_defect_resolves_less_than_single_precision():
    w = torch.eye(3)
    w[0, 0] = 1 - 2**-24  # the float below one
    assert float(linalg.unitarity_defect(w)) == pytest.approx(2**-23, rel=1e-6)
