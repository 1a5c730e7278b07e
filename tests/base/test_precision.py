"""Unitary buffers and weights under change of precision."""

import io

import numpy as np
import pytest
import torch

from tests.base.common import build, every_case, every_exact_case, moved
from tests.oracles import as_numpy, defect
from unitary_zoo import Parametrization


@every_exact_case
def test_to_double_is_unitary_in_double_precision(name, field):
    p = moved(name, 7, field, torch.float32)
    w = as_numpy(p.matrix())
    p.double()
    assert p.dtype == (torch.complex128 if field == "complex" else torch.float64)
    assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)
    # The same matrix but for the rounding of single precision.
    assert np.abs(as_numpy(p.matrix()) - w).max() <= p.info.tolerance(p.n, torch.float32)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
@every_exact_case
def test_to_half_precision_and_back_is_unitary_in_single_precision(name, field, low):
    p = moved(name, 7, field, torch.float32)
    w = as_numpy(p.matrix())
    p.to(low)
    # There are no complex numbers of half precision: complex matrices are single precision.
    assert p.dtype == (torch.complex64 if field == "complex" else low)
    assert p.matrix().dtype == p.dtype
    if field == "complex":
        assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)
    p.float()
    assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)
    # Parameters, of size up to 4, were rounded; W moves by no more than the norm of A does.
    assert np.abs(as_numpy(p.matrix()) - w).max() <= 4 * p.n * torch.finfo(low).eps


@pytest.mark.parametrize("name", ["eigenphase", "lie_exp", "full_capacity"])
def test_load_state_dict_of_half_precision_is_unitary(name):
    p = Parametrization.create(name, 16)
    half = {k: v.bfloat16() if v.is_floating_point() else v for k, v in p.state_dict().items()}
    p.load_state_dict(half)
    assert defect(p.matrix()) <= p.info.tolerance(16, p.dtype)


@every_case
def test_load_state_dict_works_with_weights_only(name, field):
    p, q = moved(name, 4, field), build(name, 4, field, seed=9)
    buffer = io.BytesIO()
    torch.save(p.state_dict(), buffer)
    buffer.seek(0)
    q.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(q.matrix(), p.matrix())
