"""What gated_scan refuses."""

import pytest
import torch

from tests.scan.gated_helpers import F64, B, M, N, T, draw
from unitary_zoo.scan import gated_scan


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("x", (T, B)),
        ("x", (T, B, M + 1)),
        ("W", (N, N)),
        ("W", (3 * N, N + 1)),
        ("W", (3, N, N)),
        ("h0", (N,)),
        ("h0", (B + 1, N)),
        ("weight_ih", (N, M)),
        ("bias", (N,)),
        ("bias_hn", (3 * N,)),
        ("bias_hn", ()),
    ],
)
def test_gated_scan_refuses_wrong_shapes(name, shape):
    with pytest.raises(ValueError, match=r"has shape \(.*pass "):
        gated_scan(**dict(draw(), **{name: torch.zeros(shape, dtype=F64)}))


@pytest.mark.parametrize("name", ["W", "h0", "weight_ih", "bias", "bias_hn"])
def test_gated_scan_refuses_tensors_on_several_devices(name):
    given = draw()
    given[name] = given[name].to("meta")
    with pytest.raises(ValueError, match=f"{name} is on meta, and x is on cpu"):
        gated_scan(**given)


@pytest.mark.parametrize("name", ["x", "W", "h0", "weight_ih", "bias", "bias_hn"])
def test_gated_scan_refuses_complex_numbers(name):
    given = draw()
    given[name] = given[name].to(torch.complex128)
    with pytest.raises(ValueError, match=rf"{name} is torch\.complex128.*as_real"):
        gated_scan(**given)


def test_gated_scan_refuses_no_steps():
    with pytest.raises(ValueError, match="T = 0"):
        gated_scan(**draw(0))


@pytest.mark.parametrize("checkpoint", [0, -1, True, 2.5, "3"])
def test_gated_scan_refuses_a_bad_checkpoint(checkpoint):
    with pytest.raises(ValueError, match="checkpoint="):
        gated_scan(**draw(), checkpoint=checkpoint)
