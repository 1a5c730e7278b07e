"""What describe() returns."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.base.common import build


def test_description_of_a_known_rotation():
    p = build("expm", 3, "real")
    c, s = math.cos(0.5), math.sin(0.5)
    p.assign_(torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64))
    found = p.describe()
    np.testing.assert_allclose(found.eigenphases, [-0.5, 0.0, 0.5], atol=1e-14)
    assert found.determinant == pytest.approx(1.0, abs=1e-14)
    assert (found.scheme, found.n, found.field, found.group) == ("expm", 3, "real", "SO(n)")
    assert (found.parameters, found.dimension) == (3, 3)
    assert (found.dtype, found.device) == (torch.float64, torch.device("cpu"))
    assert found.defect <= found.tolerance == p.info.tolerance(3, torch.float64)
    lines = repr(found).splitlines()
    assert lines[0] == "expm:"
    rows = {line[2:20].strip(): line[20:].strip() for line in lines[1:]}
    assert rows["size"] == "3 x 3, real, torch.float64, cpu"
    assert rows["group"] == "SO(n), dimension 3"
    assert rows["parameters"] == "3"
    assert rows["determinant"] == "+1.000000"
    assert rows["unitarity defect"].endswith(f"(tolerance {found.tolerance:.2e})")
    assert rows["eigenphases"] == "-0.5000 to +0.5000 rad"


def test_description_of_a_known_unitary():
    p = build("full_capacity", 2, "complex")
    p.assign_(torch.diag(torch.tensor([1j, (1 + 1j) / math.sqrt(2)], dtype=torch.complex128)))
    found = p.describe()
    np.testing.assert_allclose(found.eigenphases, [math.pi / 4, math.pi / 2], atol=1e-14)
    assert found.determinant == pytest.approx((-1 + 1j) / math.sqrt(2), abs=1e-14)
    assert "-0.707107+0.707107i" in repr(found)


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("field", ["real", "complex"])
def test_description_of_a_matrix_that_is_not_finite_is_nan(field, value):
    # In a process of its own: LAPACK used to end it, or print on the standard output.
    code = f"""
import torch
from unitary_zoo import Parametrization
p = Parametrization.create("expm", 6, field="{field}")
with torch.no_grad():
    p.theta.fill_(float("{value}"))
d = p.describe()
assert d.defect != d.defect and d.determinant != d.determinant, d
assert d.eigenphases.isnan().all()
assert "nan" in repr(d)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_module_repr_states_size_field_and_group():
    assert repr(build("lie_exp", 4, "complex")) == "LieExp(n=4, complex, U(n))"
