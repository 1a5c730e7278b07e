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


# torch's own forward mode compiles its formulas by what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_with_unit_determinant_has_the_same_hessian_in_every_mode(n, seed):
    # torch 2.13 differentiates det twice wrongly under torch.func: by .4, or NaN, at these seeds.
    x = normal(n, n, 2, seed=seed)
    weight = normal(n, n, 2, seed=9)

    def loss(parts):
        w = linalg.gram_schmidt(torch.view_as_complex(parts))
        return (weight * torch.view_as_real(linalg.with_unit_determinant(w))).sum()

    wanted = torch.autograd.functional.hessian(loss, x)
    # The derivatives of the QR factors have the condition of x once for each order.
    condition = float(torch.linalg.cond(torch.view_as_complex(x)))
    limit = 1e-13 * condition**2
    for found in (torch.func.hessian(loss)(x), torch.func.jacrev(torch.func.jacrev(loss))(x)):
        assert np.abs(found.numpy() - wanted.numpy()).max() <= limit


def test_determinant_phase_is_that_of_numpy():
    w = normal(3, 5, 5, dtype=torch.complex128, seed=1)
    det = np.linalg.det(as_numpy(w))
    np.testing.assert_allclose(linalg.determinant_phase(w).numpy(), det / np.abs(det), atol=1e-13)
