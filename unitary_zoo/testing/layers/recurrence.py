"""Checks of recurrent layers: every gate is orthogonal, and the forward pass uses the weight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

from unitary_zoo.testing.checks.registry import holds
from unitary_zoo.testing.layers.building import learn
from unitary_zoo.testing.layers.measures import on_group, same
from unitary_zoo.testing.layers.registry import REAL, layer_check
from unitary_zoo.testing.layers.subject import SQUARE, LayerSubject
from unitary_zoo.testing.subject import Measure, distance


def _recurrent(subject: LayerSubject, kind: type[nn.RNNBase], blocks: int) -> tuple[Any, Any]:
    """A layer with an orthogonal recurrent weight, and a plain one of the same size."""
    n = subject.shape(SQUARE)[0]
    sizes: dict[str, Any] = {"input_size": 3, "hidden_size": n, "batch_first": True}
    return subject.make_orthogonal(kind(**sizes), "weight_hh_l0", blocks=blocks), kind(**sizes)


def _three_steps(subject: LayerSubject, module: Any) -> None:
    x = torch.randn(2, 7, 3)
    goal = torch.randn(2, 7, module.hidden_size)

    def loss() -> torch.Tensor:
        return (module(x)[0] - goal).square().mean()

    learn(subject, module, lambda p: SGD(p, lr=0.5), 3, loss=loss)


@layer_check(shapes=(SQUARE,), fields=REAL)
def gates_of_lstm(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A gate of an LSTM with orthogonal recurrent weights is not orthogonal by itself."""
    module, _ = _recurrent(subject, nn.LSTM, 4)
    for when in ("at the start", "after 3 steps"):
        for gate in module.weight_hh_l0.chunk(4):
            yield on_group(subject, gate, f"a gate {when}")
        _three_steps(subject, module)


def _forward_uses(subject: LayerSubject, kind: type[nn.RNNBase], blocks: int) -> Iterator[Measure]:
    module, layer = _recurrent(subject, kind, blocks)
    x = torch.randn(2, 7, 3)
    for when in ("at the start", "after 3 steps"):
        before = module.weight_hh_l0.detach().clone()
        layer.load_state_dict({key: getattr(module, key) for key in layer.state_dict()})
        yield same(module(x)[0], layer(x)[0], f"the output {when}", 1e-5)
        _three_steps(subject, module)
        yield holds(distance(module.weight_hh_l0, before) > 1e-4, "the weight does not learn")


@layer_check(shapes=(SQUARE,), fields=REAL)
def lstm_forward(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """The forward pass of an LSTM ignores the orthogonal weight, or what it learns."""
    return _forward_uses(subject, nn.LSTM, 4)


@layer_check(shapes=(SQUARE,), fields=REAL)
def gru_forward(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """The forward pass of a GRU ignores the orthogonal weight, or what it learns."""
    return _forward_uses(subject, nn.GRU, 3)
