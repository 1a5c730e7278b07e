"""The check of a recurrent layer that exchanges its weights with torch's."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.optim import SGD

from unitary_zoo import linalg
from unitary_zoo.layers import UnitaryRNN
from unitary_zoo.testing.checks.registry import holds
from unitary_zoo.testing.layers.building import learn
from unitary_zoo.testing.layers.measures import ASSIGNED, same
from unitary_zoo.testing.layers.registry import REAL, layer_check, schemes_only
from unitary_zoo.testing.layers.subject import SQUARE, LayerSubject, SchemeLayers
from unitary_zoo.testing.subject import Measure

_STEPS = 5


@layer_check(shapes=(SQUARE,), fields=REAL, applies=schemes_only)
def torch_exchange(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """An nn.RNN that is exported or loaded computes something else, and no residual says so."""
    assert isinstance(subject, SchemeLayers)
    layer, x = _layer(subject, shape), torch.randn(_STEPS, 2, 3)
    _train(subject, layer)
    wanted, exported = layer(x)[0], layer.to_torch()
    yield same(exported(x)[0], wanted, "the output of the layer exported", 1e-5)
    # A scheme that is not unitary may project what it is given. Others have their own matrix, and
    # what another copy has learned, unless they serve a part of the group only.
    own = copy.deepcopy(layer)
    yield from _loads(own, layer, "its own weights", exact=subject.exact)
    if subject.exact:
        # What W is off enters every step.
        yield same(own(x)[0], wanted, "the output with its own weights", _STEPS * ASSIGNED)
    other = copy.deepcopy(layer)
    _train(subject, other)
    exact = subject.exact and not subject.may_refuse(shape)
    yield from _loads(other, layer, "other weights", exact=exact)


def _layer(subject: SchemeLayers, shape: str) -> UnitaryRNN:
    n, _ = subject.shape(shape)
    return UnitaryRNN(3, n, 1, subject.scheme, "relu", field="real", **subject.options)


def _train(subject: SchemeLayers, layer: UnitaryRNN) -> None:
    """Take two steps of training towards random states."""
    x, goal = torch.randn(_STEPS, 2, 3), torch.randn(_STEPS, 2, layer.hidden_size)

    def loss() -> Tensor:
        return (layer(x)[0] - goal).square().mean()

    learn(subject, layer, lambda p: SGD(p, lr=0.1), 2, loss=loss)


def _loads(layer: UnitaryRNN, source: UnitaryRNN, where: str, *, exact: bool) -> Iterator[Measure]:
    """``layer`` takes the matrix of ``source`` if ``exact``, and else says how far away it is."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (residual,) = layer.load_torch(source.to_torch()).values()
    w, goal = (rnn.cells[0].recurrent.matrix().detach() for rnn in (layer, source))
    off = float(torch.linalg.matrix_norm(linalg.double(w) - linalg.double(goal), 2))
    yield Measure(abs(off - residual), ASSIGNED, f"{where}: the error of the residual")
    yield holds(off <= ASSIGNED or bool(caught), f"{where}: changed without a warning")
    if exact:
        yield Measure(off, ASSIGNED, f"{where}: the residual")
