"""Nonlinearities against closed forms in Python's own math, and their gradients at zero."""

import cmath
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unitary_zoo import UnitaryRNN, UnitaryRNNCell, nonlinearities
from unitary_zoo.nonlinearities import NONLINEARITIES, modrelu
from unitary_zoo.scan import recurrent_scan
from unitary_zoo.testing import strategies
from unitary_zoo.testing.subject import normal, usable_backends

DTYPES = [torch.float32, torch.float64]
REAL_ONLY = ["relu", "leaky_relu", "abs", "tanh", "sigmoid"]
THRESHOLDS = [-0.5, 0.0, 0.5]

# name -> (value, derivative), both of a Python float off the kinks.
CLOSED = {
    "relu": (lambda z: max(z, 0.0), lambda z: float(z > 0)),
    "leaky_relu": (lambda z: z if z > 0 else 0.01 * z, lambda z: 1.0 if z > 0 else 0.01),
    "abs": (abs, lambda z: math.copysign(1.0, z)),
    "tanh": (math.tanh, lambda z: 1 / math.cosh(z) ** 2),
    "sigmoid": (
        lambda z: 1 / (1 + math.exp(-z)),
        lambda z: math.exp(-z) / (1 + math.exp(-z)) ** 2,
    ),
    "identity": (lambda z: z, lambda z: 1.0),
}


def closed_modrelu(z: complex, b: float) -> complex:
    r, phase = cmath.polar(z)
    return cmath.rect(max(r + b, 0.0), phase)


def closed_modrelu_gradients(z: complex, b: float, g: complex) -> tuple[complex, float]:
    """Gradients of Re(conj(g) phi(z)): along the ray slope 1, across it |h|/|z|."""
    r, phase = cmath.polar(z)
    if r + b <= 0:
        return 0j, 0.0
    u = cmath.rect(1.0, phase)
    along = (u.conjugate() * g).real
    across = (u.conjugate() * g).imag
    return u * complex(along, across * (r + b) / r), along


def differentiate(z: torch.Tensor, b: torch.Tensor, g: torch.Tensor) -> tuple:
    """modReLU of ``z``, and the gradients of Re<g, .> in z and b."""
    z, b = z.clone().requires_grad_(), b.clone().requires_grad_()
    h = modrelu(z, b)
    return h.detach(), *torch.autograd.grad((g.conj() * h).real.sum(), (z, b))


def test_registry_has_the_names_of_the_contract():
    assert set(NONLINEARITIES.names()) == {"modrelu", *CLOSED}
    assert nonlinearities.get("modrelu").has_threshold
    assert not any(nonlinearities.get(name).has_threshold for name in CLOSED)
    assert {n for n in NONLINEARITIES.names() if nonlinearities.get(n).accepts_complex} == {
        "modrelu",
        "identity",
    }


# ------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CLOSED)
def test_nonlinearity_has_its_value_and_derivative(name, dtype):
    value, derivative = CLOSED[name]
    z = torch.tensor([-9.0, -2.5, -1.0, -1e-3, 1e-3, 0.5, 3.0, 9.0], dtype=dtype).view(2, 4)
    z.requires_grad_()
    h = nonlinearities.get(name).function(z)
    (dz,) = torch.autograd.grad(h.sum(), z)
    assert h.shape == z.shape
    assert h.dtype == dtype
    # Elementary functions are right to a few units in the last place of 1; a derivative such as
    # 1 - tanh^2 is right to a few eps of its terms, not of itself.
    eps = torch.finfo(dtype).eps
    for point, got, slope in zip(*(x.flatten().tolist() for x in (z, h, dz)), strict=True):
        wanted = value(point)
        assert abs(got - wanted) <= 8 * eps * max(1.0, abs(wanted))
        assert abs(slope - derivative(point)) <= 8 * eps


@pytest.mark.parametrize("name", [name for name in CLOSED if name != "sigmoid"])
def test_nonlinearity_at_zero_is_zero(name):
    z = torch.zeros(3, requires_grad=True)
    h = nonlinearities.get(name).function(z)
    (dz,) = torch.autograd.grad(h.sum(), z)
    assert torch.equal(h, torch.zeros(3))
    # The derivatives from below and above at 0 are these or enclose 0, which is then the choice.
    wanted = {"relu": 0.0, "abs": 0.0, "leaky_relu": 0.01, "tanh": 1.0, "identity": 1.0}[name]
    assert torch.equal(dz, torch.full((3,), wanted))


def magnitudes(dtype: torch.dtype) -> list[float]:
    """Numbers from the smallest normal one to the largest; some squares over- or underflow."""
    single = [2e-38, 1e-30, 1e-23, 1e-19, 1e-10, 0.3, 2.0, 1e10, 1e18, 1e20, 1e30, 1e38]
    double = [3e-308, 1e-300, 1e-200, 1e-160, 1e-155, 1e-9, 0.3, 2.0, 1e100, 1e160, 1e308]
    return single if dtype == torch.float32 else double


# Kept off |z| = -b, where one rounding decides on which side of the kink a point lies.
@pytest.mark.parametrize("b", [-1.3, -0.01, 0.0, 0.01, 0.7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_modrelu_complex_is_right_at_every_magnitude(dtype, b):
    directions = [complex(0.6, 0.8), complex(-0.8, 0.6), 1, -1, 1j, -1j, complex(5, 12) / 13]
    g = complex(1.0, -0.5)
    b = float(torch.tensor(b, dtype=dtype))
    for size in magnitudes(dtype):
        z = torch.tensor([size * d for d in directions], dtype=dtype.to_complex())
        h, dz, db = differentiate(z, torch.full((7,), b, dtype=dtype), torch.full_like(z, g))
        for i, point in enumerate(z.tolist()):
            value = closed_modrelu(point, b)
            slope, along = closed_modrelu_gradients(point, b, g)
            # A modulus, a sum, a quotient and a product, each within a few eps of its result; the
            # points lie off the kink, where the sum would lose digits. The gradient in z is the
            # difference of terms of the size of the slope across the ray, |h|/|z|.
            limit = 16 * torch.finfo(dtype).eps
            across = max(1.0, abs(value) / abs(point))
            where = f"z={point}, b={b}"
            assert abs(complex(h[i]) - value) <= limit * abs(value), where
            assert abs(complex(dz[i]) - slope) <= limit * across * abs(g), where
            assert abs(float(db[i]) - along) <= limit * abs(g), where


@pytest.mark.parametrize("b", [-1.3, -0.01, 0.0, 0.01, 0.7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_modrelu_real_is_right_at_every_magnitude(dtype, b):
    b = float(torch.tensor(b, dtype=dtype))
    for size in magnitudes(dtype):
        for sign in (1.0, -1.0):
            z = torch.tensor([sign * size], dtype=dtype)
            h, dz, db = differentiate(z, torch.tensor([b], dtype=dtype), torch.full_like(z, 3.0))
            wanted = math.copysign(max(abs(float(z)) + b, 0.0), sign)
            active = float(abs(float(z)) + b > 0)
            # One sum, rounded once; the derivatives are exact.
            assert abs(float(h) - wanted) <= torch.finfo(dtype).eps * abs(wanted)
            assert float(dz) == 3.0 * active
            assert float(db) == 3.0 * active * sign


def test_modrelu_complex_equals_real_on_the_real_axis():
    z, b = normal(5, 7, dtype=torch.float64), 0.5 * normal(7, dtype=torch.float64, seed=2)
    # Both round a handful of operations on numbers of order 1.
    torch.testing.assert_close(
        modrelu(z.to(torch.complex128), b),
        modrelu(z, b).to(torch.complex128),
        rtol=8 * torch.finfo(torch.float64).eps,
        atol=8 * torch.finfo(torch.float64).eps,
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_modrelu_without_threshold_has_zero(dtype):
    z = normal(4, 3, dtype=dtype)
    assert torch.equal(modrelu(z), modrelu(z, torch.zeros(3, dtype=torch.float64)))
    assert torch.equal(modrelu(z).real.sign(), z.real.sign())


# --------------------------------------------------------------------------------- at and near 0


@pytest.mark.parametrize("b", THRESHOLDS)
@pytest.mark.parametrize("dtype", [*DTYPES, torch.complex64, torch.complex128])
def test_modrelu_at_zero_is_exactly_zero(dtype, b):
    z = torch.zeros(2, 3, dtype=dtype)
    if dtype.is_complex:
        z = torch.complex(z.real, torch.tensor([[0.0, -0.0, 0.0]]).to(z.real.dtype).expand(2, 3))
    threshold = torch.full((3,), b, dtype=z.real.dtype)
    for g in (1.0, -2.0):
        h, dz, db = differentiate(z, threshold, torch.full_like(z, g))
        for result in (h, dz, db):
            assert torch.equal(result, torch.zeros_like(result))


@pytest.mark.parametrize("b", [-1.0, -1e-2, 0.0, 1e-2, 1.0])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.complex64, torch.complex128])
def test_modrelu_gradients_are_finite_everywhere(dtype, b):
    info, real_dtype = torch.finfo(dtype), torch.empty(0, dtype=dtype).real.dtype
    sizes = [info.smallest_normal * 2.0**-k for k in (23, 20, 10, 1)]  # subnormal
    sizes += [*magnitudes(real_dtype), info.max / 2]
    axis = torch.tensor([s * sign for s in sizes for sign in (1, -1, 0)], dtype=real_dtype)
    z = torch.complex(*torch.meshgrid(axis, axis, indexing="ij")) if dtype.is_complex else axis
    h, dz, db = differentiate(z, torch.full_like(z.real, b), torch.ones_like(z))
    for result in (h, dz, db):
        assert torch.isfinite(result).all()


@given(
    dtype=st.sampled_from([torch.float64, torch.complex128]),
    shape=strategies.batch_shapes(),
    n=st.integers(1, 8),
    seed=strategies.seeds(),
    scale=strategies.scales(),
    angle=st.floats(-math.pi, math.pi),
)
def test_modrelu_shrinks_the_modulus_and_keeps_the_phase(dtype, shape, n, seed, scale, angle):
    z = scale * normal(*shape, n, dtype=dtype, seed=seed)
    b = 0.1 * scale * normal(n, dtype=torch.float64, seed=seed + 1)
    h = modrelu(z, b)
    # A modulus and a product of a few roundings each, on numbers of the order of the scale.
    limit = 16 * torch.finfo(dtype).eps * scale * 10
    assert float((h.abs() - (z.abs() + b).clamp(min=0)).abs().max()) <= limit
    assert float((h * z.abs() - z * h.abs()).abs().max()) <= limit * scale * 10
    if dtype.is_complex:
        turn = cmath.rect(1.0, angle)
        assert float((modrelu(turn * z, b) - turn * h).abs().max()) <= 10 * limit


# ------------------------------------------------------------------------------------- gradients


def off_kinks(name: str, dtype: torch.dtype, b: torch.Tensor) -> torch.Tensor:
    """Points further from every kink than a hundred steps of the finite differences."""
    for seed in range(100):
        z = normal(3, b.numel(), dtype=dtype, seed=seed)
        distances = torch.stack([z.abs(), (z.abs() + b).abs()])
        if float(distances.min()) > 1e-4:
            return z.requires_grad_()
    raise AssertionError(f"no points found for {name}")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, torch.float64) for name in (*CLOSED, "modrelu")]
    + [(name, torch.complex128) for name in ("identity", "modrelu")],
)
def test_nonlinearity_passes_gradcheck(name, dtype):
    activation = nonlinearities.get(name)
    b = 0.7 * normal(4, dtype=torch.float64, seed=3)
    z = off_kinks(name, dtype, b)
    inputs = (z, b.requires_grad_()) if activation.has_threshold else (z,)
    assert torch.autograd.gradcheck(activation.function, inputs)
    assert torch.autograd.gradgradcheck(activation.function, inputs)


# ---------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("name", REAL_ONLY)
def test_nonlinearity_refuses_complex_states_with_the_remedy(name):
    x = torch.zeros(2, 3, 4, dtype=torch.complex64)
    calls = (
        lambda: nonlinearities.get(name).check(True),
        lambda: recurrent_scan(x, torch.eye(4), torch.zeros(3, 4), name),
        lambda: recurrent_scan(x.real, torch.eye(4) + 0j, torch.zeros(3, 4), name),
        lambda: UnitaryRNNCell(2, 4, "arjovsky", nonlinearity=name),
        lambda: UnitaryRNN(2, 4, scheme="expm", field="complex", nonlinearity=name),
    )
    for call in calls:
        with pytest.raises(ValueError, match=f"'{name}'.*identity, modrelu.*real scheme"):
            call()
    nonlinearities.get(name).check(False)


@pytest.mark.parametrize("call", [
    nonlinearities.get,
    lambda name: recurrent_scan(torch.zeros(1, 1, 2), torch.eye(2), torch.zeros(1, 2), name),
    lambda name: UnitaryRNNCell(2, 4, nonlinearity=name),
    lambda name: UnitaryRNN(2, 4, nonlinearity=name),
])  # fmt: skip
def test_get_suggests_names_for_an_unknown_one(call):
    with pytest.raises(ValueError, match=r"'modrelo'.*'modrelu'"):
        call("modrelo")
    with pytest.raises(ValueError, match=r"known: .*tanh"):
        call("xyzzy")


# Smallest and smallest normal number, and one whose modulus is just representable.
EXTREMES = {
    torch.complex64: (1.4e-45, 1e-40, 1.2e-38, 3e-38, 1e38, 2e38),
    torch.complex128: (5e-324, 1e-310, 2.3e-308, 1e308),
}


@pytest.mark.parametrize("backend", [None, *usable_backends()])
@pytest.mark.parametrize("relative_threshold", [0.0, -0.5, -0.999])
@pytest.mark.parametrize("dtype", EXTREMES)
def test_modrelu_of_extreme_numbers_is_finite_and_contracts(dtype, relative_threshold, backend):
    for size in EXTREMES[dtype]:
        z = torch.full((2, 1, 1), complex(size, size / 2), dtype=dtype, requires_grad=True)
        b = torch.full((1,), relative_threshold * size, dtype=dtype.to_real(), requires_grad=True)
        if backend is None:
            h = modrelu(z, b)
        else:
            w, h0 = torch.zeros(1, 1, dtype=dtype), torch.zeros(1, 1, dtype=dtype)
            h = recurrent_scan(z, w, h0, "modrelu", threshold=b, backend=backend)
        dz, db = torch.autograd.grad(h.real.sum(), (z, b))
        assert h.isfinite().all()
        assert db.isfinite().all()
        # For b <= 0 the slopes along and across the ray are at most 1, up to rounding.
        assert (dz.abs() <= 1 + 1e-5).all()
        assert (h.abs() <= z.abs() * (1 + 1e-5)).all()
        if size < torch.finfo(dtype).tiny / 2:  # subnormal numbers count as zero
            assert not h.any()
            assert not dz.any()
