"""Networks that are trained: a recurrent layer and a read-out, of this library and of its peers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import geotorch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from comparisons.benchmarks.configurations import CHECKED_SIZES
from comparisons.benchmarks.correctness import CorrectnessError
from comparisons.benchmarks.recurrences import (
    GATED,
    Constrain,
    Layer,
    OrthogonalLoop,
    Recurrence,
    by_role,
    our_recurrence,
)
from unitary_zoo import UnitaryGRU, UnitaryGRUCell, UnitaryRNN, UnitaryRNNCell, as_real
from unitary_zoo.base import FactoredMap

# Error of a gradient in float64, relative to its largest entry; any mistake lies orders above it.
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Problem:
    """Sequences and the classes that are to be told from the states.

    Attributes:
        title: Name of the task that has this size.
        n: Units of a state.
        batch: Sequences.
        steps: Their length.
        features: Features of an input.
        classes: Classes of a target.
        last_only: Whether the last state alone is read, or all of them.
    """

    title: str
    n: int
    batch: int
    steps: int
    features: int
    classes: int
    last_only: bool = False

    def __str__(self) -> str:
        """The line that names it in a table."""
        read = "last state" if self.last_only else "all states"
        return f"{self.title}: n={self.n} B={self.batch} T={self.steps}, {read}"

    def draw(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Inputs (T, B, m) and target classes (T, B), or (B) for the last state."""
        x = torch.randn(self.steps, self.batch, self.features, dtype=dtype)
        shape = (self.batch,) if self.last_only else (self.steps, self.batch)
        return x, torch.randint(self.classes, shape)


class Network(nn.Module):
    """The mean cross entropy of classes that a linear read-out tells from the states of a layer.

    Args:
        layer: A layer of this library or of torch, or a loop that returns states.
        width: Real features of a state.
        problem: The classes, and the states that are read.
        dtype: Dtype of the read-out.
    """

    def __init__(
        self, layer: nn.Module, width: int, problem: Problem, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.layer, self.last_only = layer, problem.last_only
        self.readout = nn.Linear(width, problem.classes, dtype=dtype)

    def states(self, x: Tensor) -> Tensor:
        """The states that are read: (T, B, n), or the last ones (B, n)."""
        found = self.layer(x)
        if isinstance(found, Tensor):
            return found
        sequence, last = found
        if not self.last_only:
            return sequence
        return (last[0] if isinstance(last, tuple) else last)[0]

    def loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """The loss, given the states."""
        logits = self.readout(as_real(states))
        return nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten())

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        """The loss, given the inputs."""
        return self.loss(self.states(x), targets)


Build = Callable[[Problem, torch.dtype | None], Network]


def _ours(
    cls: type[Layer], options: Mapping[str, Any], problem: Problem, dtype: torch.dtype | None
) -> Network:
    p = problem
    layer = cls(p.features, p.n, return_sequence=not p.last_only, dtype=dtype, **options)
    return Network(layer, layer.output_size, p, dtype)


def _torch(cls: Callable[..., nn.RNNBase], problem: Problem, dtype: torch.dtype | None) -> Network:
    return Network(cls(problem.features, problem.n, dtype=dtype), problem.n, problem, dtype)


def _loop(constrain: Constrain, problem: Problem, dtype: torch.dtype | None) -> Network:
    p = problem
    loop = OrthogonalLoop(p.features, p.n, constrain, "relu", p.last_only)
    return Network(loop.to(dtype), p.n, p, dtype)


EXPM, CAYLEY, LIE_EXP = "UnitaryRNN expm", "UnitaryRNN cayley", "UnitaryRNN lie_exp"
ARJOVSKY, EUNN, UGRU = "UnitaryRNN arjovsky", "UnitaryRNN eunn", "UnitaryGRU expm"
RNN, LSTM, GRU = "nn.RNN", "nn.LSTM", "nn.GRU"
GEOTORCH, ORTHOGONAL = "geotorch loop", "torch orthogonal loop"

OURS: dict[str, Build] = {
    EXPM: partial(_ours, UnitaryRNN, {"scheme": "expm"}),
    CAYLEY: partial(_ours, UnitaryRNN, {"scheme": "cayley"}),
    LIE_EXP: partial(_ours, UnitaryRNN, {"scheme": "lie_exp"}),
    ARJOVSKY: partial(_ours, UnitaryRNN, {"scheme": "arjovsky"}),
    EUNN: partial(_ours, UnitaryRNN, {"scheme": "eunn"}),
    UGRU: partial(_ours, UnitaryGRU, {"scheme": "expm"}),
}
"""Layers of this library, with their default nonlinearity."""

PEERS: dict[str, Build] = {
    RNN: partial(_torch, nn.RNN),
    LSTM: partial(_torch, nn.LSTM),
    GRU: partial(_torch, nn.GRU),
    GEOTORCH: partial(_loop, geotorch.orthogonal),
    ORTHOGONAL: partial(_loop, parametrizations.orthogonal),
}
"""Layers of torch, and loops that keep W orthogonal, which is built once for each sequence."""


def build(name: str, problem: Problem, dtype: torch.dtype | None = None) -> Network:
    """A network by its name in :data:`OURS` or :data:`PEERS`, the same at each call."""
    torch.manual_seed(0)
    return (OURS | PEERS)[name](problem, dtype)


def our_layer_of(network: Network) -> Layer:
    """The layer, for a network of :data:`OURS`."""
    layer = network.layer
    assert isinstance(layer, (UnitaryRNN, UnitaryGRU))
    return layer


def factors_of(cell: UnitaryRNNCell | UnitaryGRUCell) -> FactoredMap | None:
    """The factors that the recurrence of a cell applies at every step, or None."""
    product = None if isinstance(cell, UnitaryGRUCell) else cell.recurrent.prepare()
    return product if isinstance(product, FactoredMap) else None


def recurrence_of(layer: Layer, problem: Problem) -> Recurrence:
    """What the layer computes, as the forms of a recurrence describe it."""
    p = problem
    if isinstance(layer, UnitaryGRU):
        return Recurrence(p.n, p.batch, p.steps, GATED, p.last_only)
    cell = layer.cells[0]
    is_complex = cell.weight_ih.is_complex()
    return Recurrence(p.n, p.batch, p.steps, cell.nonlinearity, p.last_only, is_complex)


def check_networks() -> None:
    """Compare the gradients of our networks with those of the plain loop, in float64.

    Raises:
        CorrectnessError: A gradient is off by more than rounding.
    """
    for name in OURS:
        for last_only in (False, True):
            _check(name, last_only)


def _check(name: str, last_only: bool) -> None:
    small = Problem("check", min(CHECKED_SIZES), 3, 7, features=4, classes=5, last_only=last_only)
    network = build(name, small, torch.float64)
    x, targets = small.draw(torch.float64)
    parameters = {key: p for key, p in network.named_parameters() if p.requires_grad}
    layer = our_layer_of(network)
    plain = our_recurrence(
        recurrence_of(layer, small), by_role(layer.cells[0]), x, backend="reference"
    )
    losses = {"found": network(x, targets), "wanted": network.loss(plain.forward(), targets)}
    of = {key: torch.autograd.grad(loss, list(parameters.values())) for key, loss in losses.items()}
    for parameter, got, wanted in zip(parameters, of["found"], of["wanted"], strict=True):
        error, limit = float((got - wanted).abs().max()), TOLERANCE * float(wanted.abs().max())
        if not error <= limit:  # so that NaN fails
            raise CorrectnessError(
                f"{name}, {small}: gradient of {parameter} off by {error:.3g}, limit {limit:.3g}"
            )
