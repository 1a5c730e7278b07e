"""The library on a CUDA device equals itself on the CPU: scans."""

import pytest
import torch

from tests.cuda.helpers import (
    DEVICE,
    DTYPES,
    SCHEMES,
    B,
    M,
    N,
    OnlyOnTheDevice,
    T,
    assert_near,
    build,
    copy_on,
    functional,
    gradients,
    size_for,
)
from unitary_zoo import nonlinearities
from unitary_zoo.scan import gated_scan, recurrent_scan
from unitary_zoo.testing.subject import haar, normal

ACTIVATIONS = [(name, "real") for name in nonlinearities.NONLINEARITIES.names()]
ACTIVATIONS += [("modrelu", "complex"), ("identity", "complex")]


@DEVICE
@pytest.mark.parametrize("backend", ["portable", "reference"])
@pytest.mark.parametrize("checkpoint", [None, 2])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize("v", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "field"), ACTIVATIONS)
def test_scan_equals_the_loop_on_the_cpu(
    name, field, dtype, v, return_sequence, checkpoint, backend, device
):
    """Every backend there equals the plain loop here: states and all gradients."""
    state = dtype.to_complex() if field == "complex" else dtype
    tensors = {
        "x": normal(T, B, M if v else N, dtype=state, seed=1),
        "W": haar(N, state),
        "h0": normal(B, N, dtype=state, seed=3),
        **({"weight_ih": normal(N, M, dtype=state, seed=4)} if v else {}),
        "bias": normal(N, dtype=state, seed=5),
        # Below zero the slopes of modReLU are at most 1.
        **({"threshold": -0.1 * normal(N, dtype=dtype, seed=6).abs()} if name == "modrelu" else {}),
    }
    options = {"nonlinearity": name, "return_sequence": return_sequence}
    leaves = {key: t.clone().requires_grad_() for key, t in tensors.items()}
    moved = {key: t.to(device).requires_grad_() for key, t in tensors.items()}
    wanted = recurrent_scan(**leaves, **options, backend="reference")
    with OnlyOnTheDevice(device):
        got = recurrent_scan(**moved, **options, backend=backend, checkpoint=checkpoint)
    # T steps of sums of N + M terms; gradients sum over steps and rows.
    assert_near(got, wanted, T * (N + M), device)
    mine = torch.autograd.grad(functional(got), list(moved.values()))
    theirs = torch.autograd.grad(functional(wanted), list(leaves.values()))
    for a, b in zip(mine, theirs, strict=True):
        assert_near(a, b, T * B * T * (N + M), device)
    with torch.no_grad(), OnlyOnTheDevice(device):
        bare = recurrent_scan(**moved, **options, backend=backend)
    assert_near(bare, wanted, T * (N + M), device)


@SCHEMES
def test_scan_with_a_map_equals_the_cpu(name, field, device):
    n = size_for(name)
    here = build(name, field, torch.float64)
    there = copy_on(here, device)
    x, h0 = normal(T, B, n, dtype=here.dtype), normal(B, n, dtype=here.dtype, seed=2)
    wanted = recurrent_scan(x, here.matrix(), h0, "identity", backend="reference")
    got = recurrent_scan(x.to(device), there.prepare(), h0.to(device), "identity")
    assert_near(got, wanted, 10 * T * n, device)
    theirs = gradients(functional(wanted), here)
    for key, grad in gradients(functional(got), there).items():
        assert_near(grad, theirs[key], 10 * T * B * T * 4 * n, device)


@DEVICE
@pytest.mark.parametrize("name", ["tanh", "modrelu"])
def test_scan_second_derivatives_equal_the_cpu(name, device):
    field = torch.complex128 if name == "modrelu" else torch.float64
    results = []
    for where in ("cpu", device):
        x = normal(T, B, N, dtype=field).to(where).requires_grad_()
        w, h0 = haar(N, field).to(where).requires_grad_(), normal(B, N, dtype=field, seed=2)
        out = recurrent_scan(x, w, h0.to(where), name)
        first = torch.autograd.grad(functional(out.abs().square()), (x, w), create_graph=True)
        second = torch.autograd.grad(sum(g.abs().square().sum() for g in first), (x, w))
        results.append([*first, *second])
    for wanted, got in zip(*results, strict=True):
        # Second derivatives sum over steps and rows twice.
        assert_near(got, wanted, (T * B * (N + M)) ** 2, device)


@DEVICE
@pytest.mark.parametrize("checkpoint", [None, 2])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gated_scan_equals_the_loop_on_the_cpu(dtype, return_sequence, checkpoint, device):
    """Its backward pass there equals the plain loop here, first and second derivatives."""
    tensors = {
        "x": normal(T, B, M, dtype=dtype, seed=1),
        "W": torch.cat([haar(N, dtype, seed=seed) for seed in (2, 3, 4)]),
        "h0": normal(B, N, dtype=dtype, seed=5),
        "weight_ih": normal(3 * N, M, dtype=dtype, seed=6),
        "bias": normal(3 * N, dtype=dtype, seed=7),
        "bias_hn": normal(N, dtype=dtype, seed=8),
    }
    results = []
    for where, backend in (("cpu", "reference"), (device, "portable")):
        moved = {key: t.to(where, copy=True).requires_grad_() for key, t in tensors.items()}
        options = {"backend": backend, "return_sequence": return_sequence}
        with OnlyOnTheDevice(where):
            out = gated_scan(**moved, **options, checkpoint=checkpoint)
        values = list(moved.values())
        first = torch.autograd.grad(functional(out), values, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), values)
        results.append([out, *first, *second])
    # Sums of N + M terms in T steps; gradients sum over steps and rows, and once more.
    terms = [T * (N + M)] + [T * B * T * (N + M)] * 6 + [(T * B * (N + M)) ** 2] * 6
    for wanted, got, count in zip(*results, terms, strict=True):
        assert_near(got, wanted, count, device)
