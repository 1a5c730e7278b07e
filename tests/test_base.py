"""Parametrization and its families: assignment, dtypes, devices, torch.func, the guard of W."""

import contextlib
import copy
import dataclasses
import io
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, jacrev

from unitary_zoo import (
    NotProjectedError,
    NotRepresentableError,
    Parametrization,
    attach,
)
from unitary_zoo.base import DenseMap, Determinant, Group
from unitary_zoo.testing.strategies import dtypes, parametrizations, seeds
from unitary_zoo.testing.subject import Subject

CASES = [
    (name, field)
    for name in Parametrization.names()
    for field in Parametrization.get(name).info.fields
    if Parametrization.get(name).__module__.startswith("unitary_zoo.")
]
EXACT = [(name, field) for name, field in CASES if Parametrization.get(name).info.exact]
WHOLE_GROUP = [
    (name, field)
    for name, field in EXACT
    if Parametrization.get(name).info.assignable
    and Parametrization.get(name).info.claims[field].whole
]
every_case = pytest.mark.parametrize(("name", "field"), CASES)
every_exact_case = pytest.mark.parametrize(("name", "field"), EXACT)
every_whole_group = pytest.mark.parametrize(("name", "field"), WHOLE_GROUP)


def build(name, n, field, dtype=torch.float64, seed=0, **options):
    """One of the size wanted, or of the next that the scheme accepts."""
    torch.manual_seed(seed)
    info = Parametrization.get(name).info
    if len(info.fields) > 1:
        options["field"] = field
    n = next(k for k in range(n, 4 * n + 1) if info.accepts(k))
    return Parametrization.create(name, n, dtype=dtype, **options)


def moved(name, n, field, dtype=torch.float64, **options):
    """One whose parameters are away from the start, and cared for."""
    p = build(name, n, field, dtype, **options)
    with torch.no_grad():
        for q in p.parameters():
            q.add_(0.1 * torch.randn_like(q))
    p.step_()
    return p


def numpy(w):
    w = w.detach()
    return w.to(torch.complex128 if w.is_complex() else torch.float64).numpy()


def defect(w):
    w = numpy(w)
    return np.linalg.norm(w.conj().T @ w - np.eye(len(w)), 2)


def state(p):
    return {key: value.clone() for key, value in p.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def haar(n, field, seed=0, determinant=1):
    rng = np.random.default_rng(seed)
    g = rng.standard_normal((n, n))
    q = np.linalg.qr(g + 1j * rng.standard_normal((n, n)) if field == "complex" else g)[0]
    if field == "real" and np.linalg.det(q) * determinant < 0:
        q[:, 0] *= -1
    return torch.from_numpy(q)


# -------------------------------------------------------------------------- info and description


def test_info_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Parametrization.get("cayley").info.name = "mine"


def test_info_of_an_instance_follows_its_field_and_that_of_the_class_does_not():
    scheme = Parametrization.get("expm")
    real, complex_ = scheme(4), scheme(4, field="complex")
    assert (real.info.group, real.info.dimension(4)) == (Group.SPECIAL_ORTHOGONAL, 6)
    assert real.info.determinant is Determinant.PLUS_ONE
    assert (complex_.info.group, complex_.info.dimension(4)) == (Group.UNITARY, 16)
    assert complex_.info.determinant is Determinant.UNIT_CIRCLE
    assert complex_.info.fields == ("real", "complex")
    assert scheme.info.field == "real"
    assert scheme(4).info is scheme.info


def test_tolerance_follows_the_roundoff_of_the_dtype_and_grows_with_the_size():
    tolerance = Parametrization.get("expm").info.tolerance
    single, double = tolerance(10, torch.float32), tolerance(10, torch.float64)
    assert single == pytest.approx(2**29 * double)
    assert tolerance(10, torch.complex64) == single
    assert tolerance(10, torch.complex128) == double
    assert 2**-52 < tolerance(1, torch.float64) < double < tolerance(100, torch.float64)


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


def test_module_repr_states_size_field_and_group():
    assert repr(build("lie_exp", 4, "complex")) == "LieExp(n=4, complex, U(n))"


# ---------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("determinant", "error"),
    [(True, TypeError), ("yes", TypeError), (1.0, TypeError), (0, ValueError), (2, ValueError)],
)
@pytest.mark.parametrize("name", ["lie_exp", "svd_projection", "eigenphase", "expm"])
def test_determinant_must_be_a_sign(name, determinant, error):
    with pytest.raises(error, match=f"{name}.*determinant="):
        Parametrization.create(name, 4, field="real", determinant=determinant)


@pytest.mark.parametrize(("special", "new"), [(True, "1"), (False, "-1"), (None, "None")])
def test_special_is_refused_with_the_determinant_that_it_means(special, new):
    with pytest.raises(TypeError, match=f"special={special}.*pass determinant={new}$"):
        Parametrization.create("lie_exp", 4, special=special)


def test_determinant_is_refused_where_there_is_no_choice():
    with pytest.raises(ValueError, match=r"expm.*reaches SO\(n\).*determinant=-1.*lie_exp"):
        Parametrization.create("expm", 5, determinant=-1)
    p = Parametrization.create("expm", 5, determinant=1)  # no choice, but the truth
    assert p.determinant == 1
    assert p.info is type(p).info


@pytest.mark.parametrize("name", ["expm", "lie_exp", "svd_projection", "eigenphase"])
def test_determinant_minus_one_is_not_for_complex_schemes(name):
    with pytest.raises(ValueError, match=f"{name} with field='complex'.*determinant=-1"):
        Parametrization.create(name, 4, field="complex", determinant=-1)


@pytest.mark.parametrize("determinant", [1, -1])
def test_determinant_shows_in_the_claims_of_the_instance_only(determinant):
    p = Parametrization.create("lie_exp", 4, determinant=determinant)
    assert p.determinant == determinant
    wanted = ("SO(n)", "+1") if determinant == 1 else ("O(n) with det -1", "-1")
    assert (p.info.reach, str(p.info.determinant), p.info.fields) == (*wanted, ("real",))
    assert Parametrization.get("lie_exp").info.reach == "O(n)"


@pytest.mark.parametrize("name", ["expm", "lie_exp"])
def test_special_unitary(name):
    p = Parametrization.create(name, 5, field="complex", determinant=1, dtype=torch.float64)
    assert (p.info.group, p.info.dimension(5)) == (Group.SPECIAL_UNITARY, 24)
    w = p.matrix().detach()
    assert complex(torch.linalg.det(w)) == pytest.approx(1, abs=1e-13)
    turned = w * complex(np.exp(0.3j))
    with pytest.raises(NotRepresentableError):
        p.assign_(turned)
    # |e^{0.3 i} - 1|: the phase is all that SU(n) lacks
    assert p.assign_(turned, nearest=True) == pytest.approx(2 * np.sin(0.15), abs=1e-12)
    torch.testing.assert_close(p.matrix(), w, rtol=0, atol=1e-12)


def test_svd_projection_with_a_determinant_takes_the_nearest_rotation():
    from scipy.spatial.transform import Rotation

    p = Parametrization.create("svd_projection", 3, determinant=1, dtype=torch.float64)
    source, target = np.random.default_rng(3).normal(size=(2, 20, 3))
    target[:, 0] *= -1  # a reflection fits best
    correlation = torch.from_numpy(target.T @ source)
    with torch.no_grad():
        p.weight.copy_(correlation)
    p.step_()
    wanted = Rotation.align_vectors(target, source)[0].as_matrix()
    np.testing.assert_allclose(p.matrix().detach().numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "2", -math.inf, math.nan])
def test_rebase_every_must_be_a_positive_int(every):
    with pytest.raises(ValueError, match=r"rebase_every=.*at least 1"):
        Parametrization.create("lie_exp", 4, rebase_every=every)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0, math.nan])
def test_rms_decay_must_be_below_one(decay):
    with pytest.raises(ValueError, match=r"rms_decay=.*\[0, 1\)"):
        Parametrization.create("full_capacity", 4, rms_decay=decay)


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        ("fourier", "basis='fourier'"),
        (torch.eye(3), r"shape \(3, 3\).*shape \(4, 4\)"),
        (2 * torch.eye(4), "unitarity defect 3.*linalg.qr"),
        (torch.full((4, 4), math.nan), "basis"),
        (torch.eye(4, dtype=torch.complex64), "real matrix"),
    ],
    ids=["name", "shape", "not unitary", "nan", "complex for real"],
)
def test_eigenphase_refuses_a_bad_basis(basis, message):
    with pytest.raises(ValueError, match=message):
        Parametrization.create("eigenphase", 4, field="real", basis=basis)


def test_unknown_options_are_refused():
    for name in Parametrization.names():
        with pytest.raises(TypeError, match="no_such_option"):
            Parametrization.create(name, 4, no_such_option=1)


# ------------------------------------------------------------------------------------ assignment


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
def test_nearest_matrix_has_the_residual_of_the_closed_form(name, field, n):
    p = build(name, n, field)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = haar(n, field, seed).numpy() + 0.2 * rng.standard_normal((n, n)) / math.sqrt(n)
        x = x if seed % 2 or field == "complex" else -x[::-1]  # both signs of the determinant
        wanted = residual_of_the_nearest(x, p.info.group)
        residual = p.assign_(torch.from_numpy(x.copy()), nearest=True)
        # Maps and inverses with conditions of 1/(pi - angle), below 1e4 for these seeds.
        assert residual == pytest.approx(wanted, abs=1e-9)
        assert residual == pytest.approx(np.linalg.norm(numpy(p.matrix()) - x, 2), abs=1e-13)
        assert defect(p.matrix()) <= p.info.tolerance(n, p.dtype)


@every_whole_group
@pytest.mark.parametrize("n", [1, 2, 7, 33])
def test_a_member_of_the_group_is_taken_exactly(name, field, n):
    p, w = build(name, n, field), haar(n, field, seed=3)
    parameters = list(p.parameters())
    assert p.assign_(w) <= 100 * n * 2.3e-16  # the limit that assign_ states
    assert np.abs(numpy(p.matrix()) - w.numpy()).max() <= 100 * n * 2.3e-16
    # The optimizer holds the very same parameters, and they still learn.
    assert all(a is b for a, b in zip(p.parameters(), parameters, strict=True))
    assert all(q.requires_grad for q in p.parameters())


@every_exact_case
def test_a_refusal_changes_nothing_and_carries_the_residual(name, field):
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
def test_a_reflection_into_rotations(name, n):
    p, w = build(name, n, "real"), haar(n, "real", seed=1, determinant=-1)
    with pytest.raises(NotRepresentableError) as e:
        p.assign_(w)
    # Some vector has W v = -R v for every rotation R, since det(R^T W) = -1.
    assert e.value.residual == pytest.approx(2.0, abs=1e-9)
    assert p.assign_(w, nearest=True) == pytest.approx(2.0, abs=1e-9)
    assert np.linalg.det(numpy(p.matrix())) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("field", ["real", "complex"])
def test_cayley_stops_just_short_of_the_eigenvalue_minus_one(field, dtype):
    p = build("cayley", 4, field, dtype)
    w = haar(4, field)
    w = w @ torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=w.dtype)) @ w.mH
    with pytest.raises(NotRepresentableError):
        p.assign_(w)
    residual = p.assign_(w, nearest=True)
    # All angles are shrunk by a factor 1 - sqrt(eps): pi sqrt(eps) off, and rounding magnified by
    # the coordinates, of size 2 / (pi sqrt(eps)), is of the same order.
    assert residual <= 2 * math.pi * math.sqrt(torch.finfo(dtype).eps)
    assert defect(p.matrix()) <= p.info.tolerance(4, p.dtype)


def test_a_complex_matrix_into_a_real_scheme():
    for name in ("cayley", "expm", "lie_exp", "svd_projection"):
        p = build(name, 3, "real")
        with pytest.raises(NotRepresentableError):
            p.assign_(haar(3, "complex"))
        w = haar(3, "real")
        assert p.assign_(w.to(torch.complex128)) <= 1e-13  # nothing imaginary in it
        assert np.abs(numpy(p.matrix()) - w.numpy()).max() <= 1e-13


def test_real_and_integer_matrices_into_complex_schemes():
    p = build("full_capacity", 3, "complex")
    w = haar(3, "real", determinant=-1)
    assert p.assign_(w) <= 1e-13
    assert np.abs(numpy(p.matrix()) - w.numpy()).max() <= 1e-13
    assert p.assign_(torch.eye(3, dtype=torch.int64)) <= 1e-13


def test_a_single_precision_matrix_into_a_double_precision_scheme():
    # It is unitary to single precision only, and taken as such.
    p, w = build("expm", 7, "real"), haar(7, "real").float()
    assert 1e-9 < p.assign_(w) <= 100 * 7 * 2**-23
    assert defect(p.matrix()) <= p.info.tolerance(7, torch.float64)


def test_assigning_a_matrix_that_requires_grad_takes_its_value():
    w = haar(3, "real").requires_grad_()
    p = build("lie_exp", 3, "real")
    p.assign_(w)
    assert p.theta.is_leaf
    assert not p.base.requires_grad


def test_reset_to_a_matrix_is_assignment():
    p, w = build("expm", 4, "real"), haar(4, "real", seed=5)
    p.reset_parameters(w)
    assert np.abs(numpy(p.matrix()) - w.numpy()).max() <= 1e-13
    with pytest.raises(NotRepresentableError):
        p.reset_parameters(2 * w)


@pytest.mark.parametrize("field", ["real", "complex"])
def test_contractions_are_taken_as_they_are_and_the_rest_is_clipped(field):
    p = build("svd_projection", 4, field, contractive=True)
    x = 0.7 * haar(4, field) + 0.1 * haar(4, field, seed=1)
    assert p.assign_(x) <= 1e-14
    assert np.abs(numpy(p.matrix()) - x.numpy()).max() <= 1e-14
    with pytest.raises(NotRepresentableError):
        p.assign_(3 * x)
    s = np.linalg.svd(3 * x.numpy(), compute_uv=False)
    assert p.assign_(3 * x, nearest=True) == pytest.approx(max(s.max() - 1, 0.0), abs=1e-13)
    assert p.info.exact is False


@pytest.mark.parametrize("options", [{"rms_normalize": True}, {"rebase_every": 4}])
def test_reset_starts_anew_buffers_included(options):
    p = build("full_capacity", 4, "complex", **options)
    fresh = {key: value for key, value in state(p).items() if key in ("steps", "square_average")}
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    attach(p, optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        p.matrix().real.square().sum().backward()
        optimizer.step()
    p.reset_parameters()
    assert same({key: value for key, value in state(p).items() if key in fresh}, fresh)


# ------------------------------------------------------------------------------ devices and dtypes


@every_exact_case
def test_built_on_meta_then_emptied_and_reset(name, field):
    p = build(name, 5, field, torch.float32, device="meta")
    assert p.device.type == "meta"
    p.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*p.parameters(), *p.buffers()):  # memory holds anything
            tensor.fill_(math.nan if tensor.is_floating_point() else 1)
    p.reset_parameters()
    assert p.device.type == "cpu"
    for key, value in p.state_dict().items():
        assert torch.isfinite(value).all(), key
    assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)


def test_meta_by_context_manager():
    with torch.device("meta"):
        p = Parametrization.create("expm", 4)
    assert p.device.type == "meta"


@every_exact_case
def test_to_double_is_unitary_in_double_precision(name, field):
    p = moved(name, 7, field, torch.float32)
    w = numpy(p.matrix())
    p.double()
    assert p.dtype == (torch.complex128 if field == "complex" else torch.float64)
    assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)
    # The same matrix but for the rounding of single precision.
    assert np.abs(numpy(p.matrix()) - w).max() <= p.info.tolerance(p.n, torch.float32)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
@every_exact_case
def test_to_half_precision_and_back_is_unitary_in_single_precision(name, field, low):
    p = moved(name, 7, field, torch.float32)
    w = numpy(p.matrix())
    p.to(low)
    # There are no complex numbers of half precision: complex matrices are single precision.
    assert p.dtype == (torch.complex64 if field == "complex" else low)
    assert p.matrix().dtype == p.dtype
    if field == "complex":
        assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)
    p.float()
    assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)
    # Parameters, of size up to 4, were rounded; W moves by no more than the norm of A does.
    assert np.abs(numpy(p.matrix()) - w).max() <= 4 * p.n * torch.finfo(low).eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_case
def test_dtypes_of_parameters_and_of_the_matrix(name, field, dtype):
    p = build(name, 3, field, dtype)
    assert all(q.dtype == dtype for q in p.parameters())
    assert p.dtype == p.matrix().dtype == (dtype.to_complex() if field == "complex" else dtype)


def test_default_dtype_is_that_of_torch():
    torch.set_default_dtype(torch.float64)
    try:
        assert Parametrization.create("full_capacity", 3).dtype == torch.complex128
    finally:
        torch.set_default_dtype(torch.float32)


# -------------------------------------------------------------------------------------- linear maps


def test_a_real_map_drops_no_imaginary_part():
    p = build("expm", 3, "real")
    h = torch.randn(2, 3, dtype=torch.complex128)
    wanted = torch.complex(h.real @ p.matrix().mT, h.imag @ p.matrix().mT)
    for f in (p, p.prepare(), DenseMap(p.matrix())):
        with contextlib.suppress(TypeError, ValueError):  # to refuse it would do as well
            torch.testing.assert_close(f(h), wanted)


def test_a_complex_map_of_real_states():
    p = build("full_capacity", 3, "complex")
    h = torch.randn(2, 3, dtype=torch.float64)
    w = numpy(p.matrix())
    assert np.abs(numpy(p(h)) - h.numpy() @ w.T).max() <= 1e-14
    assert np.abs(numpy(p.adjoint(h)) - h.numpy() @ w.conj()).max() <= 1e-14


def test_half_precision_states_come_back_in_half_precision():
    p = build("cayley", 4, "real", torch.float32)
    h = torch.randn(3, 4).to(torch.bfloat16)
    assert p(h).dtype == torch.bfloat16
    # Computed in single precision and rounded once.
    assert torch.equal(p(h), (h.float() @ p.matrix().mT).to(torch.bfloat16))


def test_a_wrong_width_is_refused_with_both_sizes():
    with pytest.raises(ValueError, match=r"\(3,\), but W is 4 x 4; pass h of shape \(\.\.\., 4\)"):
        build("cayley", 4, "real").prepare().adjoint(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"\(\), but W is 4 x 4"):
        build("cayley", 4, "real")(torch.tensor(1.0))


# --------------------------------------------------------------------------------------- torch.func


@every_case
def test_functional_call_uses_the_parameters_given_and_leaves_its_own(name, field):
    p, other = moved(name, 4, field), moved(name, 4, field)
    with torch.no_grad():
        for q in other.parameters():
            q.add_(0.2)
    other.step_()
    before, h = state(p), torch.randn(2, 4, dtype=p.dtype)
    given_state = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    found = functional_call(p, given_state, (h,))
    torch.testing.assert_close(found, other(h))
    assert (found - p(h)).abs().max() > 1e-3
    assert same(state(p), before)


# A projected scheme's W is its parameter; only its projection inside a step has a derivative, and
# that one is not open to the transforms of torch.func, which say so.
@pytest.mark.parametrize(
    ("name", "field"),
    [case for case in CASES if Parametrization.get(case[0]).info.family != "projected"],
)
def test_functional_jacobian_is_that_of_finite_differences(name, field):
    p = moved(name, Subject(Parametrization.get(name)).sizes(3)[0], field)
    h = torch.randn(p.n, dtype=p.dtype)
    parameters = {key: q.detach().clone() for key, q in p.named_parameters()}

    def function(parameters):
        out = functional_call(p, parameters, (h,))
        return torch.cat([out.real, out.imag]) if out.is_complex() else out

    for key, jacobian in jacrev(function)(parameters).items():
        flat = parameters[key].view(-1)
        columns, step = [], 1e-6
        for i in range(flat.numel()):
            start = float(flat[i])
            ends = []
            for sign in (1, -1):
                flat[i] = start + sign * step
                ends.append(function(parameters).detach())
            flat[i] = start
            columns.append((ends[0] - ends[1]) / (2 * step))
        # Truncation step^2 f''' / 6 and rounding eps / step are below 1e-9 for f''' of order 100.
        wanted = torch.stack(columns, -1)
        assert (jacobian.reshape(wanted.shape) - wanted).abs().max() <= 1e-8


# ---------------------------------------------------------------------------------------- rebased


@pytest.mark.parametrize("name", ["lie_exp", "full_capacity"])
def test_coordinates_move_into_the_base_at_every_kth_step(name):
    field = Parametrization.get(name).info.field
    p = build(name, 4, field, rebase_every=3)
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    attach(p, optimizer)
    target = torch.randn(4, 4, dtype=p.dtype)
    for count in range(1, 8):
        base = p.base.clone()
        optimizer.zero_grad()
        (p.matrix() * target).real.sum().backward()
        optimizer.step()
        assert int(p.steps) == count
        assert bool(p.theta.any()) == (count % 3 != 0)
        assert torch.equal(p.base, base) == (count % 3 != 0)
        assert defect(p.matrix()) <= p.info.tolerance(4, p.dtype)


def test_the_count_of_steps_goes_with_the_checkpoint():
    p, q = (build("lie_exp", 4, "real", rebase_every=3) for _ in range(2))
    p.step_()
    p.step_()
    q.load_state_dict(p.state_dict())
    with torch.no_grad():
        q.theta.add_(0.1)
    w = q.matrix().detach()
    q.step_()  # the third
    assert not q.theta.any()
    assert np.abs(numpy(q.matrix()) - numpy(w)).max() <= 1e-14


def test_a_rebased_scheme_that_was_never_attached_stays_unitary():
    p = build("lie_exp", 5, "real", torch.float32)
    optimizer = torch.optim.SGD(p.parameters(), lr=1.0)
    for _ in range(20):
        optimizer.zero_grad()
        (p.matrix() * torch.arange(25.0).view(5, 5)).sum().backward()
        optimizer.step()
    assert p.theta.abs().max() > 10  # far from the base
    assert defect(p.matrix()) <= p.info.tolerance(5, p.dtype)


# --------------------------------------------------------------------------------------- projected


def dirty(n=5, dtype=torch.float32, **options):
    p = build("svd_projection", n, options.pop("field", "real"), dtype, **options)
    with torch.no_grad():
        p.weight.mul_(1.5)
    return p


UNATTACHED = {
    "SGD": lambda q: torch.optim.SGD(q, lr=1e-2),
    "SGD by foreach": lambda q: torch.optim.SGD(q, lr=1e-2, foreach=True),
    "SGD fused": lambda q: torch.optim.SGD(q, lr=1e-2, fused=True),
    "weight decay alone": lambda q: torch.optim.SGD(q, lr=1e-2, weight_decay=0.1),
    "Adam": lambda q: torch.optim.Adam(q, lr=1e-2),
    "Adam fused": lambda q: torch.optim.Adam(q, lr=1e-2, fused=True),
}


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("optimizer", UNATTACHED)
def test_reading_after_an_unattached_step_raises_with_the_remedy(optimizer, field):
    p = build("svd_projection", 5, field, torch.float32)
    opt = UNATTACHED[optimizer](list(p.parameters()))
    (p.matrix() * (0.0 if "decay" in optimizer else 3.0)).real.sum().backward()
    opt.step()
    h = torch.zeros(5)
    remedy = r"svd_projection.*attach\(model, optimizer\).*step_\(\)"
    for read in (p.matrix, p.prepare, p.describe, lambda: p(h), lambda: p.adjoint(h)):
        with pytest.raises(NotProjectedError, match=remedy):
            read()
    p.step_()
    assert defect(p.matrix()) <= p.info.tolerance(5, p.dtype)


@pytest.mark.parametrize("n", [33, 128])
def test_steps_of_1e_minus_4_are_seen_in_single_precision(n):
    p = build("svd_projection", n, "real", torch.float32)
    optimizer = torch.optim.Adam(p.parameters(), lr=1e-4)
    (p.matrix() * torch.randn(n, n)).sum().backward()
    optimizer.step()
    with pytest.raises(NotProjectedError):
        p.matrix()


def test_a_change_by_way_of_data_is_seen():
    # Optimizers outside torch write to .data, which no version counter notices.
    p = build("svd_projection", 5, "real", torch.float32)
    p.matrix()
    p.weight.data.mul_(1.5)
    with pytest.raises(NotProjectedError):
        p.matrix()


@given(
    n=st.sampled_from([1, 2, 3, 7, 17, 33]), dtype=dtypes(), seed=seeds(),
    field=st.sampled_from(["real", "complex"]), exponent=st.floats(-8.0, 3.0),
    spread=st.booleans(),
)  # fmt: skip
@settings(max_examples=100)
def test_what_can_be_read_is_within_the_tolerance(n, dtype, seed, field, exponent, spread):
    p = build("svd_projection", n, field, dtype, seed=seed)
    w = numpy(p.matrix())
    size = 10**exponent * n * torch.finfo(dtype).eps
    # One singular direction moved, once of a single vector and once of W's own mean direction, in
    # which all entries change alike.
    u = np.ones(n) / math.sqrt(n) if spread else np.eye(n)[0]
    change = torch.from_numpy(size * np.outer(u, u.conj()) @ w)
    with torch.no_grad():
        p.weight.add_(torch.view_as_real(change) if field == "complex" else change)
    try:
        found = p.matrix()
    except NotProjectedError:
        p.step_()
        found = p.matrix()
    # On the edge the evaluation of the defect, here and there, rounds as well.
    rounding = 4 * math.sqrt(n) * 2.3e-16
    assert defect(found) <= p.info.tolerance(n, p.dtype) + rounding


@given(p=parametrizations("svd_projection", 48))
@settings(max_examples=60)
def test_what_was_projected_raises_no_false_alarm(p):
    p.matrix()
    copy.deepcopy(p).matrix()
    twin = build("svd_projection", p.n, p.field, p.weight.dtype)
    twin.load_state_dict(p.state_dict())
    twin.matrix()


def test_projected_large_matrices_raise_no_false_alarm():
    for dtype in (torch.float32, torch.float64):
        p = build("svd_projection", 256, "real", dtype)
        copy.deepcopy(p).matrix()


def test_a_good_checkpoint_mends_a_changed_weight():
    good = build("svd_projection", 5, "real", torch.float32)
    p = dirty()
    p.load_state_dict(good.state_dict())
    assert torch.equal(p.matrix(), good.matrix())


def test_a_changed_weight_raises_wherever_it_is_carried():
    p = dirty()
    fresh = build("svd_projection", 5, "real", torch.float32, seed=1)
    fresh.load_state_dict(p.state_dict())
    buffer = io.BytesIO()
    torch.save(p, buffer)
    buffer.seek(0)
    carried = {
        "pickle": pickle.loads(pickle.dumps(p)),
        "deepcopy": copy.deepcopy(p),
        "checkpoint": fresh,
        "saved module": torch.load(buffer, weights_only=False),
        "another dtype": copy.deepcopy(p).double(),
    }
    for how, q in carried.items():
        with pytest.raises(NotProjectedError):
            pytest.fail(f"read after {how}: {q.matrix()}")


def test_a_weight_pickled_between_steps_is_still_guarded():
    p = build("svd_projection", 5, "real", torch.float32)
    p.matrix()
    q = pickle.loads(pickle.dumps(p))
    q.matrix()
    with torch.no_grad():
        q.weight.mul_(1.5)
    with pytest.raises(NotProjectedError):
        q.matrix()


@every_case
def test_state_dict_loads_with_weights_only(name, field):
    p, q = moved(name, 4, field), build(name, 4, field, seed=9)
    buffer = io.BytesIO()
    torch.save(p.state_dict(), buffer)
    buffer.seek(0)
    q.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(q.matrix(), p.matrix())


def test_inside_a_step_reading_is_the_projection_with_its_gradient():
    p = dirty(4, torch.float64)
    p.begin_step_()
    u, _, vh = np.linalg.svd(numpy(p.weight))
    assert np.abs(numpy(p.matrix()) - u @ vh).max() <= 1e-14
    # Scaling W leaves its polar factor alone.
    (grad,) = torch.autograd.grad((p.matrix() * torch.randn(4, 4)).sum(), p.weight)
    assert (grad * p.weight).sum().abs() <= 1e-14
    p.step_()
    with torch.no_grad():
        p.weight.mul_(1.5)
    with pytest.raises(NotProjectedError):
        p.matrix()


def test_the_contractive_variant_minds_the_outside_of_the_ball_only():
    p = build("svd_projection", 4, "real", contractive=True)
    with torch.no_grad():
        p.weight.mul_(0.5)
    assert np.linalg.norm(numpy(p.matrix()), 2) == pytest.approx(0.5, abs=1e-14)
    with torch.no_grad():
        p.weight.mul_(3.0)
    with pytest.raises(NotProjectedError):
        p.matrix()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 17, 33])
def test_what_a_step_clips_is_read_without_complaint(n, field, dtype):
    # Every singular value is clipped, so all of what rounding adds to them counts.
    generator = torch.Generator().manual_seed(n)
    p = Parametrization.create("svd_projection", n, field=field, contractive=True, dtype=dtype)
    for _ in range(30):
        with torch.no_grad():
            noise = torch.randn(p.weight.shape, dtype=dtype, generator=generator)
            p.weight.mul_(1.01).add_(1e-3 * noise)
        p.step_()
        s = np.linalg.svd(numpy(p.matrix()).astype(complex), compute_uv=False)
        # Two products of orthonormal bases and the rounding of W: each moves a value by few eps.
        assert s.max() <= 1 + 4 * math.sqrt(n) * torch.finfo(dtype).eps


def test_a_matrix_that_was_read_does_not_change_with_the_next_step():
    p = build("svd_projection", 4, "real")
    w = p.matrix().detach()
    kept = w.clone()
    with torch.no_grad():
        p.weight.mul_(1.5)
    assert torch.equal(w, kept)


@pytest.mark.parametrize("name", ["expm", "cayley"])
def test_half_precision_does_not_accept_what_is_far_off(name):
    # 100 n eps is past 2 in half precision, and no two unitary matrices are further apart.
    p = build(name, 8, "real", torch.bfloat16)
    before = p.matrix()
    flipped = torch.diag(torch.tensor([-1.0] + [1.0] * 7))
    for foreign in (flipped, torch.zeros(8, 8)):
        with pytest.raises(NotRepresentableError):
            p.assign_(foreign)
    assert torch.equal(p.matrix(), before)


@pytest.mark.parametrize("name", ["eigenphase", "lie_exp", "full_capacity"])
def test_a_checkpoint_in_half_precision_loads_unitary(name):
    p = Parametrization.create(name, 16)
    half = {k: v.bfloat16() if v.is_floating_point() else v for k, v in p.state_dict().items()}
    p.load_state_dict(half)
    assert defect(p.matrix()) <= p.info.tolerance(16, p.dtype)


def test_whole_numbers_are_refused():
    with pytest.raises(TypeError, match="int64"):
        build("cayley", 3, "real")(torch.tensor([1, 2, 3]))


def test_a_guard_left_open_by_an_error_in_a_step_is_closed_by_remove():
    p = build("svd_projection", 4, "real")
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    handle = attach(p, optimizer)

    def closure():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    handle.remove()
    with torch.no_grad():
        p.weight.mul_(2)
    with pytest.raises(NotProjectedError):
        p.matrix()


@pytest.mark.parametrize("shape", [(5,), (4, 2), (5, 6), (5, 0), (2, 5, 1)])
def test_columns_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="pass from 1 to 5 columns of length 5"):
        Parametrization.create("cayley", 5).assign_columns_(torch.zeros(shape))


def test_columns_that_are_not_finite_are_refused():
    p = Parametrization.create("cayley", 5)
    before = p.theta.detach().clone()
    with pytest.raises(ValueError, match="not finite; nothing was assigned"):
        p.assign_columns_(torch.full((5, 2), torch.nan))
    assert torch.equal(p.theta, before)
