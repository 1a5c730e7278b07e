"""What recurrent_scan refuses."""

import pytest
import torch

from tests.scan.recurrent_helpers import EVERY, REAL, B, M, N, T, inputs
from unitary_zoo.scan import recurrent_scan


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("x", (T, B)),
        ("x", (T, B, M + 1)),
        ("x", (T, B, N)),
        ("W", (N, N + 1)),
        ("W", (N + 1, N + 1)),
        ("W", (2, N, N)),
        ("h0", (N,)),
        ("h0", (B + 1, N)),
        ("h0", (1, N)),
        ("h0", (B, N + 1)),
        ("weight_ih", (N, M + 1)),
        ("weight_ih", (N + 1, M)),
        ("bias", (N + 1,)),
        ("bias", (1,)),
        ("threshold", (N + 1,)),
        ("threshold", ()),
    ],
)
@EVERY
def test_scan_refuses_wrong_shapes(key, shape, backend):
    tensors = inputs("modrelu")
    tensors[key] = torch.zeros(shape, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"has shape \(.*pass "):
        recurrent_scan(**tensors, nonlinearity="modrelu", backend=backend)


@EVERY
@pytest.mark.parametrize("key", ["W", "h0", "weight_ih", "bias", "threshold"])
def test_scan_refuses_tensors_on_several_devices(key, backend):
    tensors = inputs("modrelu")
    tensors[key] = tensors[key].to("meta")
    with pytest.raises(ValueError, match=f"{key} is on meta, and x is on cpu"):
        recurrent_scan(**tensors, nonlinearity="modrelu", backend=backend)


def test_scan_without_input_weights_refuses_another_width_than_the_state():
    tensors = inputs()
    del tensors["weight_ih"]
    with pytest.raises(ValueError, match=rf"x has shape \({T}, {B}, {M}\); pass \(T, B, {N}\)"):
        recurrent_scan(**tensors, nonlinearity="tanh")


@EVERY
def test_scan_refuses_no_steps(backend):
    tensors = inputs()
    tensors["x"] = tensors["x"][:0]
    with pytest.raises(ValueError, match="T = 0"):
        recurrent_scan(**tensors, nonlinearity="tanh", backend=backend)


@pytest.mark.parametrize("checkpoint", [0, -1, True, 2.5, "3"])
def test_scan_refuses_a_bad_checkpoint(checkpoint):
    with pytest.raises(ValueError, match="checkpoint="):
        recurrent_scan(**inputs(), nonlinearity="tanh", checkpoint=checkpoint)


@pytest.mark.parametrize("name", [name for name in REAL if name != "modrelu"])
def test_scan_refuses_a_threshold_of_other_nonlinearities(name):
    with pytest.raises(ValueError, match=f"threshold.*'{name}'"):
        recurrent_scan(**inputs(), nonlinearity=name, threshold=torch.zeros(N))


@EVERY
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_scan_with_modrelu_takes_threshold_zero_for_none(dtype, backend):
    tensors = inputs(dtype=dtype)
    zero = torch.zeros(N, dtype=torch.float64)
    assert torch.equal(
        recurrent_scan(**tensors, nonlinearity="modrelu", backend=backend),
        recurrent_scan(**tensors, nonlinearity="modrelu", threshold=zero, backend=backend),
    )
