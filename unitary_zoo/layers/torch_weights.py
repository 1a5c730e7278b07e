"""Weights of nn.RNN and nn.GRU, read into layers of this library and written back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from unitary_zoo.cells import RecurrentCell
from unitary_zoo.cells.torch_weights import NAMES, Scheme, check_kind, options_of, weights_of

if TYPE_CHECKING:
    from unitary_zoo.layers._base import RecurrentLayers

L = TypeVar("L", bound="RecurrentLayers[Any]")
T = TypeVar("T", bound=nn.RNNBase)


def suffixes(num_layers: int, bidirectional: bool) -> list[str]:
    """The ends of the names of torch's weights, in the order of the cells."""
    ends = ("", "_reverse") if bidirectional else ("",)
    return [f"_l{layer}{end}" for layer in range(num_layers) for end in ends]


def load_torch(
    layer: RecurrentLayers[Any],
    source: nn.Module | Mapping[str, Tensor],
    kind: type[nn.RNNBase],
    stacklevel: int = 3,
) -> dict[str, float]:
    """Load ``source``, of ``kind``, into ``layer``; see :meth:`RecurrentLayers.load_torch`."""
    if isinstance(source, nn.Module):
        weights = _weights_of_same_network(layer, source, kind)
    else:
        weights = dict(source)
    ends = suffixes(layer.num_layers, layer.bidirectional)
    cells: list[RecurrentCell] = list(layer.cells)
    found = []
    for cell, end in zip(cells, ends, strict=True):
        own = {name: weights.pop(name + end) for name in NAMES if name + end in weights}
        try:
            found.append(cell.convert(own))
        except ValueError as error:
            raise ValueError(f"weights of torch with names in {end!r}: {error}") from None
    if weights:
        raise ValueError(
            f"there are also {', '.join(sorted(weights))}; this layer has "
            f"num_layers={layer.num_layers} and bidirectional={layer.bidirectional}, so build it "
            "as the other one, and pass only the entries of that"
        )
    for cell, conversion, end in zip(cells, found, ends, strict=True):
        cell.load_state_dict(conversion.state)
        conversion.warn(f"weight_hh{end}", stacklevel)
    return {f"weight_hh{end}": one.residual for end, one in zip(ends, found, strict=True)}


def _weights_of_same_network(
    layer: RecurrentLayers[Any], source: nn.Module, kind: type[nn.RNNBase]
) -> dict[str, Tensor]:
    """The weights of ``source``; an error unless it is a ``kind`` with the mode of ``layer``."""
    rnn = check_kind(source, kind)
    if rnn.mode != layer.mode:
        raise ValueError(
            f"the layer of torch has mode={rnn.mode!r}, and this one has mode={layer.mode!r}; "
            "build it with the nonlinearity of the other, or use from_torch"
        )
    ends = suffixes(rnn.num_layers, rnn.bidirectional)
    return weights_of(rnn, [name + end for end in ends for name in NAMES])


def _common_options(layer: RecurrentLayers[Any] | nn.RNNBase) -> dict[str, Any]:
    """The options of a layer that ours and torch's have in common."""
    return {
        "bias": layer.bias,
        "batch_first": layer.batch_first,
        # A layer with dropout has warned already if it is single, where dropout has no effect.
        "dropout": layer.dropout if layer.num_layers > 1 else 0.0,
        "bidirectional": layer.bidirectional,
    }


def from_torch(
    build: Callable[..., L],
    rnn: nn.RNNBase,
    kind: type[nn.RNNBase],
    scheme: Scheme | None,
    **options: Any,
) -> L:
    """Build a layer with the options and weights of ``rnn``, a ``kind``."""
    check_kind(rnn, kind)
    v: Any = rnn.weight_ih_l0
    layer = build(
        rnn.input_size,
        rnn.hidden_size,
        rnn.num_layers,
        **_common_options(rnn),
        **options_of(v, scheme),
        **options,
    )
    layer.dropout = rnn.dropout
    load_torch(layer, rnn, kind, stacklevel=4)
    return layer.train(rnn.training)


def to_torch(layer: RecurrentLayers[Any], build: Callable[..., T], **options: Any) -> T:
    """Build a layer of torch with the options and the weights of ``layer``."""
    ends = suffixes(layer.num_layers, layer.bidirectional)
    weights = {
        name + end: weight
        for cell, end in zip(layer.cells, ends, strict=True)
        for name, weight in cell.torch_weights().items()
    }
    v = weights["weight_ih_l0"]
    # Built on the meta device, since it would draw weights elsewhere.
    rnn = build(
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        **_common_options(layer),
        device="meta",
        dtype=v.dtype,
        **options,
    ).to_empty(device=v.device)
    rnn.dropout = layer.dropout
    rnn.load_state_dict(weights)
    return rnn.train(layer.training)
