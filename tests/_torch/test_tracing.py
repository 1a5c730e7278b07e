"""Tracers, transforms and dispatch modes are detected."""

import subprocess
import sys

import pytest
import torch
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from tests.torch_internals import TorchDispatchMode
from unitary_zoo import _torch


def seen(function, x):
    """What is_traced, is_transformed and has_functional_transforms say inside ``function``."""
    found = []

    def look(x):
        found.append(
            (_torch.is_traced(), _torch.is_transformed(), _torch.has_functional_transforms())
        )
        return 2 * x

    function(look, x)
    return found[0]  # torch.jit.trace calls it again, to check what it recorded


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_tracers_and_transforms_are_detected():
    x = torch.ones(2, 3)
    assert seen(lambda f, x: f(x), x) == (False, False, False)
    assert seen(lambda f, x: make_fx(f)(x), x) == (True, False, False)
    assert seen(torch.jit.trace, x) == (True, False, False)
    assert seen(lambda f, x: torch.func.vmap(f)(x), x) == (False, True, True)
    with forward_ad.dual_level():
        assert seen(lambda f, x: f(x), x) == (False, True, False)
        assert not _torch.has_tangent(x)
        assert _torch.has_tangent(forward_ad.make_dual(x, x))
    assert not _torch.has_values(x.to("meta"))
    assert _torch.has_values(x)


def test_recording_a_layer_by_jit_warns_of_nothing_in_the_library():
    """In a process of its own, since pytest's filters come before that of the library."""
    code = (
        "import warnings, torch, unitary_zoo\n"
        "warnings.filterwarnings('ignore', category=DeprecationWarning)  # of torch.jit itself\n"
        "layer = unitary_zoo.UnitaryRNN(2, 3)\n"
        "torch.jit.trace(layer, (torch.randn(4, 1, 2),))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_dispatch_modes_are_detected():
    assert not _torch.is_watched()
    with TorchDispatchMode():
        assert _torch.is_watched()
    assert not _torch.is_watched()


def test_batched_gradients_are_detected():
    found = []

    class Look(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            found.append(_torch.is_batched(grad))
            return grad

    x = torch.ones(2, requires_grad=True)
    y = Look.apply(x)
    torch.autograd.grad(y.sum(), x, retain_graph=True)
    torch.autograd.grad(y, x, torch.eye(2), retain_graph=True, is_grads_batched=True)
    torch.vmap(lambda v: torch.autograd.grad(y, x, v, retain_graph=True))(torch.eye(2))
    assert found == [False, True, True]
