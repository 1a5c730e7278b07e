"""Dtypes of one precision, and real and imaginary parts."""

import numpy as np
import pytest
import torch

from tests.oracles import C64, C128, DTYPES, F32, F64, normal
from unitary_zoo import linalg


@pytest.mark.parametrize("dtype", DTYPES)
def test_as_real_gives_real_then_imaginary_parts(dtype):
    h = normal(2, 3, dtype=dtype)
    found = linalg.as_real(h).numpy()
    if dtype.is_complex:
        np.testing.assert_array_equal(found[:, :3], h.numpy().real)
        np.testing.assert_array_equal(found[:, 3:], h.numpy().imag)
    else:
        np.testing.assert_array_equal(found, h.numpy())


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_from_real_parts_accepts_a_slice_of_a_flat_parameter(offset):
    # torch.view_as_complex refuses odd offsets.
    flat = normal(offset + 12).requires_grad_()
    z = linalg.from_real_parts(flat[offset:].view(2, 3, 2), "complex")
    pairs = flat.detach()[offset:].view(2, 3, 2).numpy()
    np.testing.assert_array_equal(z.detach().numpy(), pairs[..., 0] + 1j * pairs[..., 1])
    assert torch.equal(linalg.view_as_real_parts(z), flat[offset:].view(2, 3, 2))
    (z * (2 + 3j)).real.sum().backward()
    wanted = torch.cat([torch.zeros(offset), torch.tensor([2.0, -3.0]).repeat(6)])
    assert torch.equal(flat.grad, wanted.double())


def test_view_as_real_parts_keeps_real_tensors():
    x = normal(3, 2)
    assert linalg.view_as_real_parts(x) is x
    assert linalg.from_real_parts(x, "real") is x


@pytest.mark.parametrize(
    ("dtype", "real", "complex"),
    [
        (torch.float16, torch.float16, C64),
        (torch.bfloat16, torch.bfloat16, C64),
        (F32, F32, C64),
        (F64, F64, C128),
        (C64, F32, C64),
        (C128, F64, C128),
    ],
)
def test_dtypes_of_the_same_precision(dtype, real, complex):
    assert linalg.real_dtype(dtype) == real
    assert linalg.complex_dtype(dtype) == complex
    assert linalg.eps(dtype) == torch.finfo(real).eps
