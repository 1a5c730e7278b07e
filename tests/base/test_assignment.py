"""Assignment of matrices and columns, exact, nearest and refused."""

import math

import numpy as np
import pytest
import torch

from tests.base.common import build, every_exact_case, every_whole_group, haar, moved, same, state
from tests.oracles import as_numpy, defect
from unitary_zoo import NotRepresentableError, Parametrization
from unitary_zoo.base import Group


def residual_of_the_nearest(x, group):
    """Closed form: the nearest member keeps the singular bases and sets the values to one.

    On SO(n), where the bases have determinant -1, the least value is set to minus one instead.
    """
    s = np.linalg.svd(x, compute_uv=False)
    if group is Group.SPECIAL_ORTHOGONAL and np.linalg.det(x) < 0:
        return max(abs(s[:-1] - 1).max(initial=0.0), s[-1] + 1)
    return abs(s - 1).max()


@every_whole_group
@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_assign_nearest_has_the_residual_of_the_closed_form(name, field, n):
    p = build(name, n, field)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = haar(n, field, seed).numpy() + 0.2 * rng.standard_normal((n, n)) / math.sqrt(n)
        x = x if seed % 2 or field == "complex" else -x[::-1]  # both signs of the determinant
        wanted = residual_of_the_nearest(x, p.info.group)
        residual = p.assign_(torch.from_numpy(x.copy()), nearest=True)
        # Maps and inverses with conditions of 1/(pi - angle), below 1e4 for these seeds.
        assert residual == pytest.approx(wanted, abs=1e-9)
        assert residual == pytest.approx(np.linalg.norm(as_numpy(p.matrix()) - x, 2), abs=1e-13)
        assert defect(p.matrix()) <= p.info.tolerance(n, p.dtype)


@every_whole_group
@pytest.mark.parametrize("n", [1, 2, 7, 33])
def test_assign_is_exact_for_members_of_the_group(name, field, n):
    p, w = build(name, n, field), haar(n, field, seed=3)
    parameters = list(p.parameters())
    assert p.assign_(w) <= 100 * n * 2.3e-16  # the limit that assign_ states
    assert np.abs(as_numpy(p.matrix()) - w.numpy()).max() <= 100 * n * 2.3e-16
    # The optimizer holds the very same parameters, and they still learn.
    assert all(a is b for a, b in zip(p.parameters(), parameters, strict=True))
    assert all(q.requires_grad for q in p.learnable_parameters())


@every_exact_case
def test_assign_refusal_restores_and_carries_the_residual(name, field):
    p = moved(name, 5, field)
    before, w, parameters = state(p), p.matrix().detach().clone(), list(p.parameters())
    foreign = torch.eye(p.n, dtype=p.dtype)
    foreign[0, 0] = 3.0
    with pytest.raises(NotRepresentableError, match=rf"{name} cannot.*residual.*nearest=True") as e:
        p.assign_(foreign)
    assert same(state(p), before)
    assert torch.equal(p.matrix(), w)
    assert all(a is b for a, b in zip(p.parameters(), parameters, strict=True))
    assert isinstance(e.value, ValueError)
    # No unitary matrix is nearer than 2, by the first column alone.
    assert e.value.residual >= 2 - 1e-12
    assert f"residual {e.value.residual:.3g}" in str(e.value)
    assert p.assign_(foreign, nearest=True) == pytest.approx(e.value.residual, abs=1e-9)


@pytest.mark.parametrize("name", ["cayley", "expm"])
@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_assign_refuses_a_reflection_into_rotations(name, n):
    p, w = build(name, n, "real"), haar(n, "real", seed=1, determinant=-1)
    with pytest.raises(NotRepresentableError) as e:
        p.assign_(w)
    # Some vector has W v = -R v for every rotation R, since det(R^T W) = -1.
    assert e.value.residual == pytest.approx(2.0, abs=1e-9)
    assert p.assign_(w, nearest=True) == pytest.approx(2.0, abs=1e-9)
    assert np.linalg.det(as_numpy(p.matrix())) == pytest.approx(1.0, abs=1e-12)


def test_assign_refuses_a_complex_matrix_into_a_real_scheme():
    for name in ("cayley", "expm", "lie_exp", "svd_projection"):
        p = build(name, 3, "real")
        with pytest.raises(NotRepresentableError):
            p.assign_(haar(3, "complex"))
        w = haar(3, "real")
        assert p.assign_(w.to(torch.complex128)) <= 1e-13  # nothing imaginary in it
        assert np.abs(as_numpy(p.matrix()) - w.numpy()).max() <= 1e-13


def test_assign_takes_real_and_integer_matrices_into_complex_schemes():
    p = build("full_capacity", 3, "complex")
    w = haar(3, "real", determinant=-1)
    assert p.assign_(w) <= 1e-13
    assert np.abs(as_numpy(p.matrix()) - w.numpy()).max() <= 1e-13
    assert p.assign_(torch.eye(3, dtype=torch.int64)) <= 1e-13


def test_assign_takes_a_single_precision_matrix_in_double_precision():
    # It is unitary to single precision only, and taken as such.
    p, w = build("expm", 7, "real"), haar(7, "real").float()
    assert 1e-9 < p.assign_(w) <= 100 * 7 * 2**-23
    assert defect(p.matrix()) <= p.info.tolerance(7, torch.float64)


def test_assign_takes_the_value_of_a_matrix_that_requires_grad():
    w = haar(3, "real").requires_grad_()
    p = build("lie_exp", 3, "real")
    p.assign_(w)
    assert p.theta.is_leaf
    assert not p.base.requires_grad


@pytest.mark.parametrize("name", ["expm", "cayley"])
def test_assign_refuses_distant_matrices_in_half_precision(name):
    # 100 n eps is past 2 in half precision, and no two unitary matrices are further apart.
    p = build(name, 8, "real", torch.bfloat16)
    before = p.matrix()
    flipped = torch.diag(torch.tensor([-1.0] + [1.0] * 7))
    for foreign in (flipped, torch.zeros(8, 8)):
        with pytest.raises(NotRepresentableError):
            p.assign_(foreign)
    assert torch.equal(p.matrix(), before)


@pytest.mark.parametrize("shape", [(5,), (4, 2), (5, 6), (5, 0), (2, 5, 1)])
def test_assign_columns_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="pass from 1 to 5 columns of length 5"):
        Parametrization.create("cayley", 5).assign_columns_(torch.zeros(shape))


def test_assign_columns_refuses_entries_that_are_not_finite():
    p = Parametrization.create("cayley", 5)
    before = p.theta.detach().clone()
    with pytest.raises(ValueError, match="not finite; nothing was assigned"):
        p.assign_columns_(torch.full((5, 2), torch.nan))
    assert torch.equal(p.theta, before)


@pytest.mark.parametrize("n", [2, 4, 6])
def test_assign_takes_a_reflection_into_normal_blocks_of_even_size_as_the_nearest(n):
    # Every block has a determinant of at least 0, so this one is not reached; 0 is 1 away.
    p, w = build("nnrnn", n, "real"), haar(n, "real", seed=2, determinant=-1)
    before = state(p)
    with pytest.raises(NotRepresentableError, match=r"nnrnn cannot.*residual"):
        p.assign_(w)
    assert same(state(p), before)
    residual = p.assign_(w, nearest=True)
    assert residual == pytest.approx(np.linalg.norm(as_numpy(p.matrix()) - w.numpy(), 2), abs=1e-13)
    # A rotation is 2 away; the fit may end in a local optimum between.
    assert 1e-3 < residual <= 2 + 1e-9


@pytest.mark.parametrize("value", [-1.0, -0.95, 0.0])
def test_assign_takes_a_negative_number_into_a_band_as_the_nearest(value):
    p, w = build("spectral_band", 1, "real"), torch.tensor([[value]], dtype=torch.float64)
    with pytest.raises(NotRepresentableError):
        p.assign_(w)
    # The numbers reached are in 1 +- 0.1.
    assert p.assign_(w, nearest=True) == pytest.approx(0.9 - value, abs=1e-12)
    assert float(p.matrix().detach()) == pytest.approx(0.9, abs=1e-12)


def test_assign_refuses_entries_beyond_the_dtype_even_as_the_nearest():
    p = build("nnrnn", 3, "real", torch.float32)
    before = state(p)
    for n, nearest in ((3, True), (3, False)):
        w = 1e300 * torch.ones(n, n, dtype=torch.float64)
        with pytest.raises(NotRepresentableError, match="nnrnn cannot represent this matrix"):
            p.assign_(w, nearest=nearest)
        assert same(state(p), before)


def test_assign_says_whose_error_a_map_raised():
    class Logarithm(Parametrization.get("expm")):
        def _nearest(self, w):
            return self._in_own_field(w)

    p = Logarithm(3, dtype=torch.float64)
    before = state(p)
    with pytest.raises(NotRepresentableError, match=r"expm cannot.*no parameters.*logarithm") as e:
        p.assign_(haar(3, "real", determinant=-1), nearest=True)
    assert isinstance(e.value.__cause__, ValueError)
    assert same(state(p), before)
