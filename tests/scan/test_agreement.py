"""Every backend of recurrent_scan against the loop of loop.py: states and all gradients.

How far two correct implementations may differ is measured, not guessed: the loop is run in
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
from torch import Tensor

from tests.scan.loop import Inputs, loop
from unitary_zoo.scan import recurrent_scan
from unitary_zoo.testing.subject import normal, usable_backends

REAL = ["modrelu", "relu", "leaky_relu", "abs", "tanh", "sigmoid", "identity"]
ACTIVATIONS = [(name, "real") for name in REAL] + [("modrelu", "complex"), ("identity", "complex")]
DTYPES = [torch.float32, torch.float64]
SIZES = [1, 2, 3, 7, 17, 33]
INPUT_SIZE = 2


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


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("name", "field"), ACTIVATIONS)
def test_scan_equals_the_loop(name, field, n):
    """Two of the eight choices of V, b and the result at each T and B; the sizes meet all eight."""
    choices = list(itertools.product((True, False), repeat=3))
    for i, (steps, batch) in enumerate(itertools.product((1, 2, 9), (1, 2, 5))):
        for offset in (0, 4):
            v, b, return_sequence = choices[(i + SIZES.index(n) + offset) % 8]
            case = make_case(n, steps, batch, name, field, v, b, return_sequence)
            for backend, dtype in itertools.product(usable_backends(), DTYPES):
                where = f"{backend}, {dtype}, T={steps}, B={batch}, V {v}, b {b}, "
                where += f"{return_sequence=}"
                run = lambda p: case.scan(p, backend=backend)
                case.check(results(run, case.inputs.to(dtype)), dtype, where)


@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("name", "field"), ACTIVATIONS)
def test_scan_gives_the_gradient_of_a_single_input(name, field, return_sequence):
    case = make_case(7, 5, 3, name, field, True, True, return_sequence)
    for backend, one in itertools.product(usable_backends(), case.inputs.named()):
        found = results(lambda p: case.scan(p, backend=backend), case.inputs.to(torch.float64, one))
        assert set(found) == {"states", one}
        case.check(found, torch.float64, f"{backend}, {one} alone")


@pytest.mark.parametrize("checkpoint", [1, 2, 9, 100])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("name", "field"), ACTIVATIONS)
def test_scan_with_checkpoints_equals_the_loop(name, field, return_sequence, checkpoint):
    case = make_case(7, 9, 2, name, field, True, True, return_sequence)
    for backend, dtype in itertools.product(usable_backends(), DTYPES):
        found = results(
            lambda p: case.scan(p, backend=backend, checkpoint=checkpoint),
            case.inputs.to(dtype),
        )
        case.check(found, dtype, f"{backend}, {dtype}")


@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("name", "field"), ACTIVATIONS)
def test_scan_derivatives_equal_finite_differences(name, field, return_sequence):
    case = make_case(3, 3, 2, name, field, True, True, return_sequence)
    p = case.inputs.to(torch.float64)
    for backend in usable_backends():

        def run(*tensors: Tensor) -> Tensor:
            inputs = replace(p, **dict(zip(p.named(), tensors, strict=True)))
            return case.scan(inputs, backend=backend)

        leaves = tuple(p.named().values())
        if backend == "reference":  # the others are compared with the loop, to rounding
            assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
        assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("backend", usable_backends())
@pytest.mark.parametrize("b", [-0.5, 0.0, 0.5])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("modrelu", torch.float64), ("modrelu", torch.complex128), ("abs", torch.float64),
     ("relu", torch.float64)],
)  # fmt: skip
def test_scan_of_zero_preactivations_gives_zero_states_and_gradients(name, dtype, b, backend):
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
def test_scan_with_complex_modrelu_is_right_at_every_magnitude(dtype, b, backend):
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


@pytest.mark.parametrize("backend", usable_backends())
def test_scan_gradient_of_w_equals_its_closed_form_over_a_thousand_steps(backend):
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


@pytest.mark.parametrize("backend", usable_backends())
def test_scan_with_complex_modrelu_is_zero_at_zero_with_a_large_threshold(backend):
    z = torch.zeros(2, 1, 3, dtype=torch.complex64, requires_grad=True)
    h = recurrent_scan(
        z, torch.eye(3) + 0j, torch.zeros(1, 3), "modrelu", threshold=torch.full((3,), 50.0),
        backend=backend,
    )  # fmt: skip
    assert not h.detach().abs().any()
    (grad,) = torch.autograd.grad(h.real.sum(), z)
    assert not grad.abs().any()
