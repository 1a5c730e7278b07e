"""Fill and empty the list of weights that a recurrent layer of torch keeps."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn


def rnn_members(base: Any) -> dict[str, Any]:
    """Members of a subclass of the recurrent layer ``base`` whose weights may be computed.

    A recurrent layer keeps a list of its weights for the forward pass. The subclass fills the list
    with the weights as they are now, each computed once, and fills it again after unpickling.
    """

    def _update_flat_weights(self: Any) -> None:
        self._flat_weights = [getattr(self, name) for name in self._flat_weights_names]

    def __setstate__(self: Any, state: dict[str, Any]) -> None:
        base.__setstate__(self, state)
        self._init_flat_weights()

    return {"_update_flat_weights": _update_flat_weights, "__setstate__": __setstate__}


def without_computed_weights(
    rnn: nn.RNNBase, state: dict[str, Any], computed: Collection[str]
) -> dict[str, Any]:
    """The ``state`` of a recurrent layer whose list of weights has None for the computed ones."""
    weights = [
        None if name in computed else weight
        for name, weight in zip(rnn._flat_weights_names, rnn._flat_weights, strict=True)
    ]
    return {**state, "_flat_weights": weights}
