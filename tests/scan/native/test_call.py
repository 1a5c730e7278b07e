"""What a call of the kernel keeps in memory, and the tensors that it takes."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.scan.memory import saved_bytes
from tests.scan.native.helpers import ACTIVATIONS, ISAS, inputs
from tests.torch_internals import gradient_of_zeros
from unitary_zoo.scan import recurrent_scan
from unitary_zoo.scan.native import base_call, library


class Allocations:
    """Bytes of the largest tensor that the native path allocates, and of those that it saves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.largest = 0
        for owner, name in [(torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")]:
            monkeypatch.setattr(owner, name, self._watched(getattr(owner, name)))

    def _watched(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args, **kwargs):
            out = function(*args, **kwargs)
            self.largest = max(self.largest, out.untyped_storage().nbytes())
            return out

        return call


@pytest.mark.parametrize("checkpoint", [None, 50])
@pytest.mark.parametrize(("name", "is_complex"), ACTIVATIONS)
def test_call_for_the_last_state_saves_a_fraction_of_the_sequence(
    name, is_complex, checkpoint, monkeypatch
):
    n, batch, steps = 16, 8, 2000
    tensors = inputs(n, batch, steps, name, is_complex=is_complex, dtype=torch.float32, m=1)
    tensors["x"].requires_grad_(False)
    state = batch * n * tensors["W"].element_size()
    watch = Allocations(monkeypatch)
    h, saved = saved_bytes(
        lambda: recurrent_scan(
            **tensors, nonlinearity=name, return_sequence=False, checkpoint=checkpoint,
            backend="native",
        ),
        tensors.values(),
    )  # fmt: skip
    torch.autograd.grad(h.abs().sum(), [t for t in tensors.values() if t.requires_grad])
    # |x| also saves the sign of each pre-activation, one bit for each unit and step.
    signs = math.ceil(steps / 32) * batch * n * 4 if name == "abs" else 0
    assert saved <= steps // (checkpoint or 2) * state + signs
    # The workspace recomputes a segment at a time.
    assert watch.largest <= steps * state / 2


@pytest.mark.parametrize("budget", [1, 100, 10**9])
def test_call_saves_fewer_states_of_a_long_sequence(budget, monkeypatch):
    """Half of the states, as many as the budget allows, or the root of T of them."""
    tensors, state = inputs(4, 2, 10_000, "tanh", m=1), 2 * 4 * 8
    monkeypatch.setattr(base_call, "_KEPT_BYTES", budget * state)
    options = {"nonlinearity": "tanh", "return_sequence": False}
    h, saved = saved_bytes(lambda: recurrent_scan(**tensors, **options), tensors.values())
    assert saved // state == {1: 99, 100: 99, 10**9: 4999}[budget]
    (dw,) = torch.autograd.grad(h.sum(), tensors["W"])
    (wanted,) = torch.autograd.grad(
        recurrent_scan(**tensors, **options, backend="portable").sum(), tensors["W"]
    )
    torch.testing.assert_close(dw, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("checkpoint", [10, 100])
def test_call_with_checkpoints_saves_fewer_states_of_a_returned_sequence(checkpoint):
    tensors = inputs(16, 8, 1000, "tanh", m=1)
    state = 8 * 16 * 8
    out, saved = saved_bytes(
        lambda: recurrent_scan(**tensors, nonlinearity="tanh", checkpoint=checkpoint),
        tensors.values(),
    )
    assert out.shape == (1000, 8, 16)
    assert saved == (1000 // checkpoint - 1) * state
    out, saved = saved_bytes(
        lambda: recurrent_scan(**tensors, nonlinearity="tanh"), tensors.values()
    )
    assert saved == 1000 * state  # the result itself


@pytest.mark.skipif(len(ISAS) < 2, reason="has one instruction set")
def test_call_backward_uses_the_instruction_set_of_the_forward_pass(monkeypatch):
    tensors = inputs(5, 3, 40, "abs")
    for first, second in itertools.permutations(ISAS, 2):
        monkeypatch.setenv(library.ENVIRONMENT, first)
        out = recurrent_scan(**tensors, nonlinearity="abs")
        monkeypatch.setenv(library.ENVIRONMENT, second)
        (dw,) = torch.autograd.grad(out, tensors["W"], torch.ones_like(out))
        (true,) = torch.autograd.grad(
            recurrent_scan(**tensors, nonlinearity="abs", backend="reference").sum(), tensors["W"]
        )
        torch.testing.assert_close(dw, true, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [0, 3])
def test_call_without_features_equals_the_loop(n):
    x, w, h0, v = (torch.ones(*s, dtype=torch.float64) for s in ((5, 2, 0), (n, n), (2, n), (n, 0)))
    leaves = {"W": w / 4, "h0": h0, "weight_ih": v}
    leaves = {key: t.requires_grad_() for key, t in leaves.items()}
    found = [
        recurrent_scan(x, **leaves, nonlinearity="tanh", backend=backend)
        for backend in ("native", "reference")
    ]
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)
    for a, b in zip(
        *(torch.autograd.grad(out.sum(), list(leaves.values())) for out in found), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_call_takes_a_gradient_without_memory_as_zero():
    tensors = inputs(3, 2, 4, "tanh")
    w = tensors["W"]
    out = recurrent_scan(**tensors, nonlinearity="tanh", backend="native")
    zero = gradient_of_zeros(out.shape, out.dtype)
    (dw,) = torch.autograd.grad(out, w, zero)
    assert not dw.any()
