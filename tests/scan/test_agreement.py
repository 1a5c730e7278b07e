"""Every scan backend against a loop written here: states and all gradients.

How far two correct implementations may differ is measured, not guessed: the loop below is run in
single and in double precision on the same numbers. The difference is what rounding does to this
very problem, in units of the single precision eps; another order of the same sums must stay within
a small multiple of it, in either precision. Problems with a pre-activation near a kink, where that
is no measure, are drawn again.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unitary_zoo import Parametrization
from unitary_zoo.base import DenseMap
from unitary_zoo.scan import dispatch, recurrent_scan
from unitary_zoo.testing import strategies
from unitary_zoo.testing.subject import Subject, normal, usable_backends

REAL = ["modrelu", "relu", "leaky_relu", "abs", "tanh", "sigmoid", "identity"]
ACTIVATIONS = [(name, "real") for name in REAL] + [("modrelu", "complex"), ("identity", "complex")]
DTYPES = [torch.float32, torch.float64]
SIZES = [1, 2, 3, 7, 17, 33]
INPUT_SIZE = 2


@dataclass(frozen=True)
class Inputs:
    """The tensors of one recurrence; from `weight_ih` on they may be None."""

    x: Tensor
    w: Tensor
    h0: Tensor
    weight_ih: Tensor | None
    bias: Tensor | None
    threshold: Tensor | None

    def named(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}

    def to(self, dtype: torch.dtype, *requiring: str) -> "Inputs":
        """Leaves in the dtype of that precision; all require a gradient, or those named."""
        leaves = {}
        for name, tensor in self.named().items():
            leaf = tensor.detach().to(
                dtype.to_complex() if tensor.is_complex() else dtype, copy=True
            )
            leaves[name] = leaf.requires_grad_(not requiring or name in requiring)
        return replace(self, **leaves)


# ------------------------------------------------------------------------------------ the loop


def phi(name: str, z: Tensor, b: Tensor | None) -> Tensor:
    """The activations by their formulas, off their kinks."""
    if name == "modrelu" and z.is_complex():
        r = (z.real**2 + z.imag**2) ** 0.5
        return torch.where(r + b > 0, (r + b) * (z / r), 0 * z)
    if name == "modrelu":
        return torch.where(z.abs() + b > 0, torch.where(z > 0, z + b, z - b), 0 * z)
    return {
        "relu": lambda: torch.where(z > 0, z, 0 * z),
        "leaky_relu": lambda: torch.where(z > 0, z, 0.01 * z),
        "abs": lambda: torch.where(z > 0, z, -z),
        "tanh": lambda: 1 - 2 / (torch.exp(2 * z) + 1),
        "sigmoid": lambda: 1 / (1 + torch.exp(-z)),
        "identity": lambda: z,
    }[name]()


def loop(name: str, p: Inputs, return_sequence: bool) -> tuple[Tensor, float]:
    """The states, and the least distance of a pre-activation to a kink."""
    h, states, margin = p.h0, [], math.inf
    for x_t in p.x:
        z = torch.einsum("ij,bj->bi", p.w, h)
        z = z + (x_t if p.weight_ih is None else torch.einsum("ij,bj->bi", p.weight_ih, x_t))
        z = z if p.bias is None else z + p.bias
        margin = min(margin, kink_distance(name, z.detach(), p.threshold))
        h = phi(name, z, p.threshold)
        states.append(h)
    return torch.stack(states) if return_sequence else h, margin


def kink_distance(name: str, z: Tensor, b: Tensor | None) -> float:
    if name in ("tanh", "sigmoid", "identity"):
        return math.inf
    distance = z.abs()
    if b is not None:
        distance = torch.minimum(distance, (distance + b.detach()).abs())
        if z.is_complex():
            # Where |z| << b the complex modReLU turns a rounding of z into a turn of h. Points
            # where its slope |h|/|z| exceeds 10 count as kinks.
            distance = torch.minimum(distance, z.abs() - b.detach() / 9)
    return float(distance.min())


# ----------------------------------------------------------------------------------- comparing


def draw(
    n: int, steps: int, batch: int, name: str, field: str, v: bool, b: bool, seed: int
) -> Inputs:
    """Numbers that single precision holds exactly, in double precision; W near orthogonal."""
    generator = torch.Generator().manual_seed(seed)
    single = torch.complex64 if field == "complex" else torch.float32

    def random(*shape: int, dtype: torch.dtype = single) -> Tensor:
        exact = torch.randn(*shape, dtype=dtype, generator=generator)
        return exact.to(torch.complex128 if dtype.is_complex else torch.float64)

    return (
        Inputs(
            x=random(steps, batch, INPUT_SIZE if v else n),
            w=torch.linalg.qr(random(n, n))[0].to(single).to(random(0).dtype),
            h0=random(batch, n),
            weight_ih=random(n, INPUT_SIZE) if v else None,
            bias=random(n) if b else None,
            threshold=(
                0.25 * random(n, dtype=torch.float32).clamp(-2, 0.375)
                if name == "modrelu"
                else None
            ),
        )
        .to(torch.float64)
        .to(torch.float32)
        .to(torch.float64)
    )


def results(run: Callable[[Inputs], Tensor], p: Inputs) -> dict[str, Tensor]:
    """The states, and the gradient of a fixed functional of them in each input requiring one."""
    out = run(p)
    cotangent = normal(*out.shape, dtype=torch.complex64, seed=99)
    cotangent = (cotangent if out.is_complex() else cotangent.real).to(out.dtype)
    wanted = {name: tensor for name, tensor in p.named().items() if tensor.requires_grad}
    grads = torch.autograd.grad((cotangent.conj() * out).real.sum(), list(wanted.values()))
    return {"states": out.detach(), **dict(zip(wanted, grads, strict=True))}


@dataclass(frozen=True)
class Case:
    """One recurrence, its true results, and what rounding does to each, in units of eps."""

    name: str
    inputs: Inputs
    return_sequence: bool
    true: dict[str, Tensor]
    rounding: dict[str, float]

    def scan(self, p: Inputs, **options) -> Tensor:
        return recurrent_scan(
            p.x, p.w, p.h0, self.name, weight_ih=p.weight_ih, bias=p.bias, threshold=p.threshold,
            return_sequence=self.return_sequence, **options,
        )  # fmt: skip

    def check(self, found: dict[str, Tensor], dtype: torch.dtype, where: str) -> None:
        for name, got in found.items():
            assert got.shape == self.true[name].shape, f"{where}: shape of {name}"
            assert got.dtype == self.true[name].to(got.dtype).dtype
            assert got.real.dtype == dtype, f"{where}: dtype of {name}"
            error = float((got.to(self.true[name].dtype) - self.true[name]).abs().max())
            # 16: two roundings of one kind may differ by that, and hardly by more.
            limit = 16 * self.rounding[name] * torch.finfo(dtype).eps
            assert error <= limit, f"{where}: {name} off by {error:.3g}, limit {limit:.3g}"


def make_case(
    n: int, steps: int, batch: int, name: str, field: str, v: bool, b: bool, return_sequence: bool
) -> Case:
    eps = torch.finfo(torch.float32).eps
    for seed in range(100):
        p = draw(n, steps, batch, name, field, v, b, seed)
        margin = math.inf

        def run(q: Inputs) -> Tensor:
            nonlocal margin
            out, distance = loop(name, q, return_sequence)
            margin = min(margin, distance)
            return out

        true = results(run, p.to(torch.float64))
        rough = results(run, p.to(torch.float32))
        rounding = {
            # At least that of a sum of n terms of the size of the result: few entries may happen
            # to be right.
            key: max(
                float((rough[key] - true[key]).abs().max()) / eps,
                math.sqrt(n) * max(1.0, float(true[key].abs().max())),
            )
            for key in true
        }
        if margin > 100 * rounding["states"] * eps:
            # With teeth: an error of a hundredth of a result is always found.
            for key, value in true.items():
                assert 16 * rounding[key] * eps < 1e-2 * max(1.0, float(value.abs().max()))
            return Case(name, p, return_sequence, true, rounding)
    raise AssertionError("no problem off the kinks in 100 draws")


# --------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("name", "field"), ACTIVATIONS)
def test_equals_the_loop(name, field, n):
    options = itertools.product((1, 2, 9), (1, 2, 5), *[(True, False)] * 3)
    for steps, batch, v, b, return_sequence in options:
        case = make_case(n, steps, batch, name, field, v, b, return_sequence)
        for backend, dtype in itertools.product(usable_backends(), DTYPES):
            where = f"{backend}, {dtype}, T={steps}, B={batch}, V {v}, b {b}, {return_sequence=}"
            run = lambda p: case.scan(p, backend=backend)
            case.check(results(run, case.inputs.to(dtype)), dtype, where)


@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("name", "field"), ACTIVATIONS)
def test_gradient_of_one_input_alone(name, field, return_sequence):
    case = make_case(7, 5, 3, name, field, True, True, return_sequence)
    for backend, one in itertools.product(usable_backends(), case.inputs.named()):
        found = results(lambda p: case.scan(p, backend=backend), case.inputs.to(torch.float64, one))
        assert set(found) == {"states", one}
        case.check(found, torch.float64, f"{backend}, {one} alone")


@pytest.mark.parametrize("checkpoint", [1, 2, 5, 9, 100])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("name", "field"), ACTIVATIONS)
def test_checkpoint_changes_nothing(name, field, return_sequence, checkpoint):
    case = make_case(7, 9, 2, name, field, True, True, return_sequence)
    for backend, dtype in itertools.product(usable_backends(), DTYPES):
        found = results(
            lambda p: case.scan(p, backend=backend, checkpoint=checkpoint),
            case.inputs.to(dtype),
        )
        case.check(found, dtype, f"{backend}, {dtype}")


@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("name", "field"), ACTIVATIONS)
def test_first_and_second_derivatives(name, field, return_sequence):
    case = make_case(3, 3, 2, name, field, True, True, return_sequence)
    p = case.inputs.to(torch.float64)
    for backend in usable_backends():

        def run(*tensors: Tensor) -> Tensor:
            inputs = replace(p, **dict(zip(p.named(), tensors, strict=True)))
            return case.scan(inputs, backend=backend)

        leaves = tuple(p.named().values())
        assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
        assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("backend", usable_backends())
@pytest.mark.parametrize("b", [-0.5, 0.0, 0.5])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("modrelu", torch.float64), ("modrelu", torch.complex128), ("abs", torch.float64),
     ("relu", torch.float64)],
)  # fmt: skip
def test_zero_preactivations_give_exactly_zero(name, dtype, b, backend):
    threshold = torch.full((3,), b, dtype=torch.float64) if name == "modrelu" else None
    p = Inputs(
        x=torch.zeros(4, 2, 3, dtype=dtype),
        w=torch.linalg.qr(normal(3, 3, dtype=dtype))[0],
        h0=torch.zeros(2, 3, dtype=dtype),
        weight_ih=None,
        bias=torch.zeros(3, dtype=dtype),
        threshold=threshold,
    ).to(torch.float64)
    run = lambda p: recurrent_scan(
        p.x, p.w, p.h0, name, bias=p.bias, threshold=p.threshold, backend=backend
    )
    for result in results(run, p).values():
        assert torch.equal(result, torch.zeros_like(result))


@pytest.mark.parametrize("backend", usable_backends())
@pytest.mark.parametrize("b", [-0.5, -0.01, 0.0, 0.01, 0.5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_complex_modrelu_at_every_magnitude(dtype, b, backend):
    """One step from rest, so that z is the input: against the closed form."""
    b = float(torch.tensor(b, dtype=dtype))
    eps = torch.finfo(dtype).eps
    g = complex(1.0, -0.5)
    largest = 30 if dtype == torch.float32 else 290
    for size in [3 * 10.0**k for k in (-largest, -20, -12, -6, -4, -3, -2, -1, 0, 3, 20, largest)]:
        # Off |z| = -b, where one rounding decides.
        z = torch.tensor([[[0.6 * size + 0.8j * size]]], dtype=dtype.to_complex())
        threshold = torch.full((1,), b, dtype=dtype)
        h = recurrent_scan(
            z.requires_grad_(), torch.zeros(1, 1, dtype=z.dtype), torch.zeros(1, 1), "modrelu",
            threshold=threshold.requires_grad_(), backend=backend,
        )  # fmt: skip
        dz, db = torch.autograd.grad((g.conjugate() * h).real.sum(), (z, threshold))
        u, r = complex(0.6, 0.8), abs(z.item())
        k = max(r + b, 0.0) / r
        along, across = (u.conjugate() * g).real, (u.conjugate() * g).imag
        active = float(r + b > 0)
        where = f"|z|={size:g}, b={b:g}"
        # z is rounded, and a modulus, a sum, a quotient and a product follow.
        assert abs(h.item() - k * r * u) <= 16 * eps * k * r, where
        # The threshold moves h along the ray, whatever |z|.
        assert abs(db.item() - active * along) <= 16 * eps * abs(g), where
        assert math.isfinite(abs(dz.item())), where
        # |z| = |h| - b from the state loses the digits of k = |h|/|z|, as any z = W h + x that
        # was computed near 0 has: a relative error of k eps, all digits where k > 1/eps.
        if k * eps < 1e-3:
            wanted = u * complex(active * along, across * k)
            assert abs(dz.item() - wanted) <= 16 * eps * max(1.0, k) ** 2 * abs(g), where


# ----------------------------------------------------------------------------- maps of schemes


def scheme_cases():
    for name in Parametrization.names():
        for field in Parametrization.get(name).info.fields:
            yield pytest.param(Subject(Parametrization.get(name)), field, id=f"{name}-{field}")
    dft = Subject(Parametrization.get("eigenphase"), {"basis": "dft"})
    yield pytest.param(dft, "complex", id="eigenphase_dft-complex")


@pytest.mark.parametrize("factors", [True, False])
@pytest.mark.parametrize(("subject", "field"), list(scheme_cases()))
def test_map_of_a_scheme_equals_its_matrix(subject, field, factors, monkeypatch):
    """Made dense or applied by its factors: the loop with the matrix, down to the parameters."""
    monkeypatch.setattr(dispatch, "by_factors", lambda *args: factors)
    for n in subject.sizes(1, 2, 3, 7, 17):
        p = subject.build(n, field, torch.float64)
        x, h0 = normal(5, 2, n, dtype=p.dtype), normal(2, n, dtype=p.dtype, seed=2)
        threshold = -0.1 * normal(n, dtype=torch.float64, seed=3).abs()
        cotangent = normal(5, 2, n, dtype=p.dtype, seed=4)
        got = recurrent_scan(x, p.prepare(), h0, "modrelu", threshold=threshold)
        wanted = loop(
            "modrelu", Inputs(x, p.matrix(), h0, None, None, threshold), return_sequence=True
        )[0]
        size = float(wanted.detach().abs().max())
        # W acts without growth and modReLU with b <= 0 too, so 5 steps of sums of n terms add up;
        # a factored map does as many sums for each of at most eight factors.
        limit = 5 * 8 * n * torch.finfo(torch.float64).eps
        assert float((got - wanted).detach().abs().max()) <= limit * size
        theta = [q for q in p.parameters() if q.numel()]
        if not theta:
            continue
        for a, b in zip(
            torch.autograd.grad((cotangent.conj() * got).real.sum(), theta),
            torch.autograd.grad((cotangent.conj() * wanted).real.sum(), theta),
            strict=True,
        ):
            # dW is a sum over steps and batch of products of that accuracy; the maps
            # theta -> W have derivatives of order 1.
            terms = 5 * 2 * n * size * float(cotangent.abs().max())
            assert float((a - b).abs().max()) <= limit * terms


def structured_map(n: int = 6):
    return Parametrization.create("eigenphase", n, basis="dft", dtype=torch.float64).prepare()


@pytest.mark.parametrize("factors", [True, False])
def test_maps_are_made_dense_once_or_never(factors, monkeypatch):
    monkeypatch.setattr(dispatch, "by_factors", lambda *args: factors)
    w = structured_map()
    assert not isinstance(w, DenseMap)
    calls = {"matrix": 0, "map": 0}

    def count(what, function):
        def counted(*args):
            calls[what] += 1
            return function(*args)

        return counted

    monkeypatch.setattr(type(w), "__call__", count("map", type(w).__call__))
    monkeypatch.setattr(type(w), "matrix", count("matrix", type(w).matrix))
    recurrent_scan(torch.zeros(12, 2, 6, dtype=torch.float64), w, torch.zeros(2, 6), "identity")
    if factors:
        assert calls == {"matrix": 0, "map": 12}
    else:
        assert calls["matrix"] == 1
        assert calls["map"] <= 1  # the matrix may be the image of the identity


def test_the_cheaper_way_of_a_structured_map():
    """As comparisons/benchmarks/scan_speed.py --structured finds it, off the crossings."""
    of_size = {n: Parametrization.create("arjovsky", n).prepare() for n in (8, 128, 256, 1024)}
    for n, w in of_size.items():
        assert dispatch.by_factors(w, steps=1, batch=2)  # one step is no reason to build W
        assert dispatch.by_factors(w, steps=100, batch=20) == (n == 1024)
        assert dispatch.by_factors(w, steps=1000, batch=1) == (n == 1024)
    dense = Parametrization.create("expm", 8).prepare()
    assert dense.multiplications == 64
    assert of_size[8].multiplications < 4 * of_size[128].multiplications


def test_a_map_used_for_few_states_is_not_made_dense(monkeypatch):
    w = structured_map()
    monkeypatch.setattr(w, "matrix", lambda: pytest.fail("W built for one step"))
    recurrent_scan(torch.zeros(1, 2, 6, dtype=torch.float64), w, torch.zeros(2, 6), "identity")


# -------------------------------------------------------------------------------- long sequences


@pytest.mark.parametrize("backend", usable_backends())
def test_gradient_of_w_over_a_thousand_steps(backend):
    """W = R(t1) + R(t2) in blocks: h_T = W^T h0 and dC/dW = sum_k W'^(T-1-k) c (W^k h0)'."""
    steps, angles = 1000, np.array([0.3, 2.1])

    def power(k: int) -> np.ndarray:
        w = np.zeros((4, 4))
        for i, t in enumerate(k * angles):
            w[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [
                [math.cos(t), -math.sin(t)],
                [math.sin(t), math.cos(t)],
            ]
        return w

    h0, c = np.array([1.0, -2.0, 0.5, 1.5]), np.array([0.3, 1.0, -1.2, 0.7])
    wanted = sum(np.outer(power(k - steps + 1) @ c, power(k) @ h0) for k in range(steps))
    w = torch.from_numpy(power(1)).requires_grad_()
    h = recurrent_scan(
        torch.zeros(steps, 1, 4, dtype=torch.float64), w, torch.from_numpy(h0)[None], "identity",
        return_sequence=False, backend=backend,
    )  # fmt: skip
    (dw,) = torch.autograd.grad(h[0] @ torch.from_numpy(c), w)
    eps = torch.finfo(torch.float64).eps
    # cos and sin are rounded, and each step adds a few eps of its own: after k steps 4 k eps
    # |h0|; the gradient sums T products of a state and a gradient that each carry that.
    assert np.abs(h.detach().numpy()[0] - power(steps) @ h0).max() <= (
        4 * steps * eps * np.linalg.norm(h0)
    )
    assert np.abs(dw.numpy() - wanted).max() <= (
        8 * steps**2 * eps * np.linalg.norm(h0) * np.linalg.norm(c)
    )
    assert np.abs(wanted).max() > 100  # so the limit of about 1e-8 means something


@given(
    data=st.data(),
    name=st.sampled_from(Parametrization.names(exact=True)),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 3)),
    seed=strategies.seeds(),
)
def test_linear_network_at_rest_keeps_the_norm(data, name, shape, seed):
    p = data.draw(strategies.parametrizations(name, largest=12))
    steps, batch = shape
    h0 = normal(batch, p.n, dtype=p.dtype, seed=seed)
    states = recurrent_scan(
        torch.zeros(steps, batch, p.n, dtype=p.dtype), p.prepare(), h0, "identity"
    )
    # A step changes the norm by half the defect, and rounds sums of n terms.
    eps = torch.finfo(p.dtype).eps
    limit = steps * (p.info.tolerance(p.n, p.dtype) / 2 + p.n * eps)
    ratio = states.detach().norm(dim=-1) / h0.norm(dim=-1)
    assert float((ratio - 1).abs().max()) <= limit


@pytest.mark.parametrize("backend", usable_backends())
def test_complex_modrelu_at_zero_with_a_large_threshold(backend):
    z = torch.zeros(2, 1, 3, dtype=torch.complex64, requires_grad=True)
    h = recurrent_scan(
        z, torch.eye(3) + 0j, torch.zeros(1, 3), "modrelu", threshold=torch.full((3,), 50.0),
        backend=backend,
    )  # fmt: skip
    assert not h.detach().abs().any()
    (grad,) = torch.autograd.grad(h.real.sum(), z)
    assert not grad.abs().any()
