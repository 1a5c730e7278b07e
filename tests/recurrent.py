"""Checks that every recurrent layer passes, gated or not."""

import copy
import io
import pickle
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.oracles import named_learned
from unitary_zoo import Parametrization
from unitary_zoo.testing.subject import Subject

T, B, M, N = 7, 4, 3, 5


def size_for(scheme: str) -> int:
    """N, or the next size that the scheme accepts."""
    return Subject(Parametrization.get(scheme)).sizes(N)[0]


def check_serialises(make: Callable[[], nn.Module], x: Tensor) -> None:
    """Assert that every kind of copy gives the layer's outputs and shares no memory with it."""
    layer = make()
    wanted = layer(x)[0]
    buffers = io.BytesIO(), io.BytesIO()
    torch.save(layer, buffers[0])
    torch.save(layer.state_dict(), buffers[1])
    for buffer in buffers:
        buffer.seek(0)
    other = make()
    other.reset_parameters(torch.Generator().manual_seed(9))
    assert not torch.equal(other(x)[0], wanted)
    other.load_state_dict(torch.load(buffers[1], weights_only=True))
    copies = {
        "state_dict": other,
        "torch.save": torch.load(buffers[0], weights_only=False),
        "pickle": pickle.loads(pickle.dumps(layer)),
        "deepcopy": copy.deepcopy(layer),
    }
    for name, clone in copies.items():
        assert torch.equal(clone(x)[0], wanted), name
        clone.reset_parameters()
        assert torch.equal(layer(x)[0], wanted), f"{name} shares memory"


def check_trains(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]
) -> None:
    """Assert that all parameters have gradients, and that five small steps each lower the loss."""
    losses = []
    for _ in range(5):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        for name, q in named_learned(model):
            assert torch.isfinite(q.grad).all(), name
            assert float(q.grad.abs().max()) > 0, name
        optimizer.step()
        losses.append(value.item())
    losses.append(loss().item())
    # A small step against the gradient lowers the loss to first order.
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
