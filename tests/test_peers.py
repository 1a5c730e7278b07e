"""What other libraries test of their parametrizations, for every registered scheme.

The sources are torch's tests of parametrizations, geotorch's and geoopt's integration tests,
pymanopt's groups and diagnostics, and the product oracles of torch-householder and fasth.
"""

import copy
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

import unitary_zoo
from tests.oracles import C128, F64, defect, learned
from tests.weights.layers import size
from unitary_zoo import NotRepresentableError, Parametrization, linalg, orthogonal
from unitary_zoo.base import Determinant, Group, Projected, Rebased
from unitary_zoo.testing.subject import Subject

CASES = [
    (name, field)
    for name in Parametrization.names()
    for field in Parametrization.get(name).info.fields
]
EXACT = [case for case in CASES if Parametrization.get(case[0]).info.exact]
ASSIGNABLE = [case for case in EXACT if Parametrization.get(case[0]).info.assignable]
REBASED = [case for case in CASES if issubclass(Parametrization.get(case[0]), Rebased)]
PROJECTED = [case for case in EXACT if issubclass(Parametrization.get(case[0]), Projected)]
REAL = [case for case in EXACT if case[1] == "real"]


def sizes(name, *wanted):
    return [n for n in wanted if Parametrization.get(name).info.accepts(n)]


def build(name, n, field, seed=0, dtype=F64, **options):
    return Subject(Parametrization.get(name), options).build(n, field, dtype, seed)


def layer_of(name, rows, columns, field, dtype=torch.float32):
    dtype = dtype.to_complex() if field == "complex" else dtype
    torch.manual_seed(0)
    return orthogonal(nn.Linear(columns, rows, dtype=dtype), "weight", name)


# ------------------------------------------------------------------ torch: test_parametrization.py


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize(("name", "field"), EXACT, ids=str)
def test_torch_layer_stays_orthogonal_and_uses_the_weight(name, field, shape):
    shape = tuple(size(name, side) for side in shape)
    layer = layer_of(name, *shape, field)
    # torch allows 10 n eps; a scheme may claim more, and then its claim counts.
    info = Parametrization.get(name).info
    eps = torch.finfo(torch.float32).eps
    limit = max(10 * max(shape) * eps, 2 * info.tolerance(max(shape), torch.float32))
    assert defect(layer.weight) <= limit
    x = torch.randn(8, shape[1], dtype=layer.weight.dtype)
    torch.testing.assert_close(layer(x), x @ layer.weight.mT + layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    unitary_zoo.attach(layer, optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        layer(x).abs().square().sum().backward()
        optimizer.step()
        assert defect(layer.weight) <= limit


@pytest.mark.parametrize(("name", "field"), ASSIGNABLE, ids=str)
def test_torch_assigned_orthogonal_matrix_is_the_weight(name, field):
    n = size(name, 4)
    layer = layer_of(name, n, n, field)
    # A copy, for what is drawn once and not learned, as the basis of "eigenphase".
    other = copy.deepcopy(layer.parametrizations.weight[0].schemes[0])
    with torch.no_grad():
        for q in other.parameters():
            q.add_(0.3 * torch.randn(q.shape, generator=torch.Generator().manual_seed(4)))
    other.step_()
    w = other.matrix().detach()
    layer.weight = w
    torch.testing.assert_close(layer.weight.detach(), w, rtol=0, atol=1e-4)


# ------------------------------------------------------------------- geotorch: test_integration.py


@pytest.mark.parametrize(("name", "field"), EXACT, ids=str)
def test_geotorch_layer_stays_orthogonal_for_sizes_up_to_eight(name, field):
    # A square weight of each size, and tall and wide ones; a pair of sizes adds nothing to these.
    for rows, columns in [(1, 1), (2, 2), (3, 3), (8, 8), (8, 1), (1, 8), (8, 3), (3, 8), (2, 1)]:
        if not sizes(name, max(rows, columns)):
            continue
        layer = layer_of(name, rows, columns, field, F64)
        limit = 2 * Parametrization.get(name).info.tolerance(max(rows, columns), F64)
        optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
        unitary_zoo.attach(layer, optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            layer(torch.ones(columns, dtype=layer.weight.dtype)).abs().sum().backward()
            optimizer.step()
            assert defect(layer.weight) <= limit, (rows, columns)


@pytest.mark.parametrize(("name", "field"), REBASED, ids=str)
def test_geotorch_rebase_keeps_the_weight(name, field):
    p = build(name, size(name, 5), field)
    with torch.no_grad():
        p.theta.add_(0.3 * torch.randn(p.theta.shape, dtype=p.theta.dtype))
    before = p.matrix().detach()
    for _ in range(min(p.rebase_every or 1, 200)):
        p.step_()
    torch.testing.assert_close(p.matrix().detach(), before, rtol=0, atol=1e-13)


# ---------------------------------------------------------- geoopt: test_manifold_basic, test_adam


@pytest.mark.parametrize(("name", "field"), PROJECTED, ids=str)
def test_geoopt_projection_is_idempotent(name, field):
    p = build(name, size(name, 5), field)
    with torch.no_grad():
        p.weight.add_(0.5 * torch.randn(p.weight.shape, dtype=F64))
    p.retract_()
    w = p.matrix().detach()
    assert defect(w) <= p.info.tolerance(p.n, F64)
    p.retract_()
    torch.testing.assert_close(p.matrix().detach(), w, rtol=0, atol=1e-13)


FULL = [
    (name, field)
    for name, field in EXACT
    if (claims := Parametrization.get(name).info.claims[field]).whole
    and claims.group in (Group.SPECIAL_ORTHOGONAL, Group.ORTHOGONAL, Group.UNITARY)
    and Parametrization.get(name).info.assignable
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "field"), FULL, ids=str)
def test_geoopt_optimizer_finds_a_target(name, field):
    """Procrustes: min ||W - W*||, whose minimum is the target; half a turn away is a saddle."""
    n = size(name, 4)
    p = build(name, n, field)
    if name == "cayley":  # its default has angles near pi, where a coordinate moves W by little
        p.reset_parameters("cayley")
    coordinates = torch.randn(
        linalg.skew_dimension(n, field), dtype=F64, generator=torch.Generator().manual_seed(9)
    )
    a = linalg.skew_from_coordinates(coordinates, n, field)
    target = linalg.expm_skew(a / torch.linalg.matrix_norm(a, 2)) @ p.matrix().detach()
    optimizer = torch.optim.SGD(p.parameters(), lr=0.05)
    unitary_zoo.attach(p, optimizer)
    distances = []
    for _ in range(6000):
        optimizer.zero_grad()
        loss = (p.matrix() - target).abs().square().sum()
        loss.backward()
        optimizer.step()
        distances.append(float(loss.detach()) ** 0.5)
        if distances[-1] < 1e-5:
            break
    assert distances[-1] < 1e-5, f"{distances[0]:.2g} -> {distances[-1]:.2g}"


# --------------------------------------------------------------- pymanopt: test_group, diagnostics


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_pymanopt_exponential_and_logarithm_are_inverse(n, field):
    for seed in range(5):
        p = build("lie_exp", n, field, seed)
        p.reset_parameters("haar", generator=torch.Generator().manual_seed(seed))
        w = p.matrix().detach()
        a = linalg.log_unitary(w)
        a = a.resolve_conj()
        np.testing.assert_allclose(a.mH.resolve_conj().numpy(), -a.numpy(), atol=1e-13)
        np.testing.assert_allclose(scipy.linalg.expm(a.numpy()), w.numpy(), atol=1e-12)
        torch.testing.assert_close(linalg.expm_skew(a), w, rtol=0, atol=1e-12)
        # Within the radius of injectivity the logarithm gives the argument back.
        coordinates = torch.randn(linalg.skew_dimension(n, field), dtype=F64)
        x = linalg.skew_from_coordinates(coordinates, n, field)
        x = x * (3.0 / max(3.0, float(torch.linalg.matrix_norm(x, 2)) if n > 1 else 3.0))
        torch.testing.assert_close(linalg.log_unitary(linalg.expm_skew(x)), x, rtol=0, atol=1e-11)


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_pymanopt_tangent_projection_is_idempotent_and_self_adjoint(n, field):
    """G -> skew(G W^H) W is tangent, idempotent and self-adjoint (the check that PR 298 lacks)."""

    def project(g, w):
        coordinates = linalg.skew_to_coordinates(g @ w.mH)
        return linalg.skew_from_coordinates(coordinates, n, field) @ w

    dtype = C128 if field == "complex" else F64
    p = build("lie_exp", n, field)
    p.reset_parameters("haar")
    w = p.matrix().detach()
    g, h = torch.randn(2, n, n, dtype=dtype)
    tangent = project(g, w)
    np.testing.assert_allclose((w.mH @ tangent + tangent.mH @ w).numpy(), 0, atol=1e-13)
    torch.testing.assert_close(project(tangent, w), tangent, rtol=0, atol=1e-13)
    left = torch.vdot(project(g, w).flatten(), h.flatten()).real
    right = torch.vdot(g.flatten(), project(h, w).flatten()).real
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "field"), CASES, ids=str)
def test_pymanopt_gradient_is_a_first_order_model(name, field):
    """|f(x + t d) - f(x) - t <grad f, d>| falls like t^2: slope 2 in a log-log plot."""
    p = build(name, size(name, 4), field)
    parameters = learned(p)
    if not p.info.dimension(p.n):
        pytest.skip("no direction to go in")
    if isinstance(p, Projected):
        p.begin_step_()  # reads project
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for q in parameters:
            q.add_(0.1 * torch.randn(q.shape, dtype=F64, generator=rng))
    shape = torch.view_as_real(p.matrix()).shape if field == "complex" else p.matrix().shape
    functional = torch.randn(shape, dtype=F64, generator=rng)

    def value():
        w = p.matrix()
        return ((torch.view_as_real(w.resolve_conj()) if w.is_complex() else w) * functional).sum()

    start = value()
    grads = torch.autograd.grad(start, parameters, allow_unused=True)
    directions = [torch.randn(q.shape, dtype=F64, generator=rng) for q in parameters]
    length = math.sqrt(sum(float(d.square().sum()) for d in directions))
    directions = [d / length for d in directions]
    pairs = zip(grads, directions, strict=True)
    slope = sum(float((g * d).sum()) for g, d in pairs if g is not None)
    origin = [q.detach().clone() for q in parameters]
    steps, errors = [4e-3, 2e-3, 1e-3], []
    with torch.no_grad():
        for t in steps:
            for q, o, d in zip(parameters, origin, directions, strict=True):
                q.copy_(o + t * d)
            errors.append(abs(float(value()) - float(start) - t * slope))
    if errors[0] < 1e-12:
        return  # linear along this line, up to rounding
    # The next order bends the slope by a few per cent at these steps.
    found = math.log(errors[0] / errors[-1]) / math.log(steps[0] / steps[-1])
    assert found > 1.9, f"slope {found:.2f}, errors {errors}"


# ----------------------------------------------------------------------- torch-householder, fasth


@pytest.mark.parametrize(("name", "field"), EXACT, ids=str)
def test_fasth_adjoint_inverts_the_map(name, field):
    for n in sizes(name, 1, 2, 7, 16, 33):
        p = build(name, n, field, dtype=torch.float32)
        h = torch.randn(5, n, dtype=p.dtype)
        torch.testing.assert_close(p.adjoint(p(h)), h, rtol=0, atol=2e-5)
        torch.testing.assert_close(p(h), h @ p.matrix().mT, rtol=0, atol=2e-5)


@pytest.mark.parametrize("k", [1, 3, 9])
@pytest.mark.parametrize("n", [2, 17, 100])
def test_torch_householder_float32_equals_the_product_in_float64(n, k):
    v = np.random.default_rng(n * k).normal(size=(n, k))
    wanted = np.eye(n)
    for i in range(k):
        wanted = wanted @ (np.eye(n) - 2 * np.outer(v[:, i], v[:, i]) / (v[:, i] @ v[:, i]))
    found = linalg.householder(torch.from_numpy(v).float())
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)


# ----------------------------------------------------------------------------- Emerging-Optimizers


@pytest.mark.parametrize(("name", "field"), REAL, ids=str)
def test_emerging_optimizers_bfloat16_weight_is_the_cast_of_float32(name, field):
    n = size(name, 8)
    layer = layer_of(name, n, n, field)
    wanted = layer.weight.detach()
    assert torch.equal(layer.bfloat16().weight, wanted.bfloat16())


def test_assign_refuses_the_wrong_component():
    for name, field in EXACT:
        info = Parametrization.get(name).info
        if field == "real" and info.determinant is Determinant.PLUS_ONE and info.assignable:
            p = build(name, size(name, 4), field)
            reflection = torch.eye(p.n, dtype=F64)
            reflection[0, 0] = -1
            with pytest.raises(NotRepresentableError):
                p.assign_(reflection)
