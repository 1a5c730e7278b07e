"""LinearMap: fields, dtypes and shapes of what it is applied to."""

import numpy as np
import pytest
import torch

from tests.base.common import build
from tests.oracles import as_numpy
from unitary_zoo.base import DenseMap


def test_linear_map_real_keeps_imaginary_parts():
    p = build("expm", 3, "real")
    h = torch.randn(2, 3, dtype=torch.complex128)
    wanted = torch.complex(h.real @ p.matrix().mT, h.imag @ p.matrix().mT)
    for f in (p, p.prepare(), DenseMap(p.matrix())):
        torch.testing.assert_close(f(h), wanted)


def test_linear_map_complex_takes_real_states():
    p = build("full_capacity", 3, "complex")
    h = torch.randn(2, 3, dtype=torch.float64)
    w = as_numpy(p.matrix())
    assert np.abs(as_numpy(p(h)) - h.numpy() @ w.T).max() <= 1e-14
    assert np.abs(as_numpy(p.adjoint(h)) - h.numpy() @ w.conj()).max() <= 1e-14


def test_linear_map_returns_half_precision_for_half_precision():
    p = build("cayley", 4, "real", torch.float32)
    h = torch.randn(3, 4).to(torch.bfloat16)
    assert p(h).dtype == torch.bfloat16
    # Computed in single precision and rounded once.
    assert torch.equal(p(h), (h.float() @ p.matrix().mT).to(torch.bfloat16))


def test_linear_map_refuses_a_wrong_width_with_both_sizes():
    with pytest.raises(ValueError, match=r"\(3,\), but W is 4 x 4; pass h of shape \(\.\.\., 4\)"):
        build("cayley", 4, "real").prepare().adjoint(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"\(\), but W is 4 x 4"):
        build("cayley", 4, "real")(torch.tensor(1.0))


def test_linear_map_refuses_integers():
    with pytest.raises(TypeError, match="int64"):
        build("cayley", 3, "real")(torch.tensor([1, 2, 3]))
