"""recurrent_scan: the precision it computes in, and the dtype of its result."""

import pytest
import torch

from tests.scan.recurrent_helpers import CLOSE, EVERY, REAL, N, gradients, inputs, leaves
from unitary_zoo import Parametrization
from unitary_zoo.scan import recurrent_scan


@EVERY
@pytest.mark.parametrize("name", REAL)
def test_scan_under_autocast_changes_no_bit(name, backend):
    tensors = leaves(inputs(name, torch.float32))
    wanted = recurrent_scan(**tensors, nonlinearity=name, backend=backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = recurrent_scan(**tensors, nonlinearity=name, backend=backend)
        assert (tensors["x"] @ tensors["weight_ih"].mT).dtype == torch.bfloat16  # it is on
    assert got.dtype == torch.float32
    assert torch.equal(got, wanted)
    for a, b in zip(gradients(got, tensors), gradients(wanted, tensors), strict=True):
        assert torch.equal(a, b)


@EVERY
def test_scan_with_checkpoints_under_autocast_changes_no_bit(backend):
    tensors = leaves(inputs("tanh", torch.float32))
    options = {"nonlinearity": "tanh", "backend": backend, "checkpoint": 2}
    wanted = gradients(recurrent_scan(**tensors, **options), tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = recurrent_scan(**tensors, **options)
    for a, b in zip(gradients(out, tensors), wanted, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("checkpoint", [None, 2])
@pytest.mark.parametrize("backend", ["auto", "portable"])
@pytest.mark.parametrize("name", REAL)
def test_scan_backward_under_autocast_changes_no_bit(name, backend, checkpoint):
    """The reverse loop runs in the precision of the forward one, even where autocast is on."""
    tensors = leaves(inputs(name, torch.float32))
    options = {"nonlinearity": name, "backend": backend, "checkpoint": checkpoint}
    wanted = gradients(recurrent_scan(**tensors, **options), tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = gradients(recurrent_scan(**tensors, **options), tensors)
    for a, b in zip(got, wanted, strict=True):
        assert torch.equal(a, b)


@EVERY
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", REAL)
def test_scan_of_half_precision_computes_in_single_and_rounds_once(name, low, backend):
    given = {key: t.to(low) for key, t in inputs(name, torch.float32).items()}
    got = recurrent_scan(**given, nonlinearity=name, backend=backend)
    wanted = recurrent_scan(
        **{key: t.float() for key, t in given.items()}, nonlinearity=name, backend=backend
    )
    assert got.dtype == low
    assert torch.equal(got, wanted.to(low))
    given = leaves(given)
    for key, grad in zip(
        given,
        gradients(recurrent_scan(**given, nonlinearity=name, backend=backend), given),
        strict=True,
    ):
        assert grad.dtype == low, key
        assert torch.isfinite(grad).all(), key


@EVERY
def test_scan_of_half_precision_inputs_is_complex_with_a_complex_w(backend):
    tensors = inputs("modrelu", torch.complex64)
    tensors["x"] = tensors["x"].real.bfloat16()
    got = recurrent_scan(**tensors, nonlinearity="modrelu", backend=backend)
    tensors["x"] = tensors["x"].to(torch.complex64)
    assert got.dtype == torch.complex64
    assert torch.equal(got, recurrent_scan(**tensors, nonlinearity="modrelu", backend=backend))


@EVERY
@pytest.mark.parametrize("key", ["x", "W", "h0", "weight_ih", "bias"])
def test_scan_result_has_the_widest_dtype(key, backend):
    """One complex double tensor among real single ones makes all of them complex doubles."""
    tensors = inputs("modrelu", torch.float32)
    tensors[key] = tensors[key].to(torch.complex128) * (0.6 + 0.8j)
    wide = {
        key: t.to(torch.float64 if key == "threshold" else torch.complex128)
        for key, t in tensors.items()
    }
    tensors, wide = leaves(tensors), leaves(wide)
    got = recurrent_scan(**tensors, nonlinearity="modrelu", backend=backend)
    wanted = recurrent_scan(**wide, nonlinearity="modrelu", backend=backend)
    assert got.dtype == torch.complex128
    assert torch.equal(got, wanted)
    for name, a, b in zip(tensors, gradients(got, tensors), gradients(wanted, wide), strict=True):
        # A real tensor gets the real part of the gradient of its complex copy, rounded.
        assert torch.equal(a, (b if a.is_complex() else b.real).to(tensors[name].dtype)), name


@EVERY
def test_scan_takes_a_map_of_another_precision(backend):
    p = Parametrization.create("cayley", N)  # single precision
    tensors = inputs()
    tensors["W"] = p.prepare()
    got = recurrent_scan(**tensors, nonlinearity="tanh", backend=backend)
    tensors["W"] = p.matrix().double()
    wanted = recurrent_scan(**tensors, nonlinearity="tanh", backend=backend)
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, wanted, **CLOSE)
