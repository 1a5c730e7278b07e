"""Run a recurrent network one step at a time, with a separate tensor for each state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from unitary_zoo import linalg
from unitary_zoo.base import LinearMap
from unitary_zoo.cells import RecurrentCell, UnitaryGRUCell, UnitaryRNNCell
from unitary_zoo.layers import RecurrentLayers

State = tuple[Tensor, ...]
"""(h,), or (h, c) for an LSTM; each (B, n)."""

Step = Callable[[Tensor, State | None], State]
"""One step of a layer: (inputs (B, m), state before, or None at the start) -> state after."""

InitialState = Tensor | Sequence[Tensor] | None
"""An initial state as torch's modules take it: (layers, B, n), or a pair of these; or None."""


def frozen(module: nn.Module, double: bool) -> nn.Module:
    """Return a copy whose parameters need no gradient."""
    module = copy.deepcopy(module)
    # .to(float64) would drop the imaginary parts of complex buffers.
    return (module.double() if double else module).requires_grad_(False)


def as_double(x: Any) -> Any:
    """Return ``x`` with its floating-point and complex tensors in double precision.

    Args:
        x: A tensor, or nested tuples and lists of tensors. Anything else is returned as it is.
    """
    if type(x) in (tuple, list):
        return type(x)(map(as_double, x))
    is_number = isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())
    return linalg.double(x) if is_number else x


def is_recurrent(module: nn.Module) -> bool:
    """Whether ``module`` is a recurrent layer of torch or of this library."""
    return isinstance(module, (nn.RNNBase, RecurrentLayers))


class Steps:
    """The layers of a recurrent module and the inputs of its steps.

    The arguments and errors are those of :func:`~unitary_zoo.theory.jacobians`.

    Args:
        rnn: The module.
        x: (T, B, m), (B, T, m) if ``rnn.batch_first``, or (T, m).
        h_0: The initial state.

    Attributes:
        x: (T, B, m).
        batch_first: Whether the module was given (B, T, m).
    """

    def __init__(self, rnn: nn.Module, x: Tensor, h_0: InitialState = None) -> None:
        if not isinstance(x, Tensor):
            raise TypeError(f"x is a {type(x).__name__}; pass padded sequences, or one at a time")
        if x.dim() not in (2, 3) or not x.numel():
            raise ValueError(f"x has shape {tuple(x.shape)}; pass (T, B, m) or (T, m), at least 1")
        if is_recurrent(rnn) and x.shape[-1] != rnn.input_size:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, and rnn reads {rnn.input_size} features a step; "
                f"pass (T, B, {rnn.input_size})"
            )
        self._layers = _layers(rnn)
        self._batched = x.dim() == 3
        self.batch_first = self._batched and getattr(rnn, "batch_first", False)
        if not self._batched:
            x = x.unsqueeze(1)
        self.x = x.transpose(0, 1) if self.batch_first else x
        self._initial = self._states_of(h_0)

    def _states_of(self, h_0: InitialState) -> Sequence[State | None]:
        """The initial state of each layer."""
        count, batch = len(self._layers), self.x.shape[1]
        if h_0 is None:
            return [None] * count
        parts = (h_0,) if isinstance(h_0, Tensor) else tuple(h_0)
        if not self._batched:
            parts = tuple(part.unsqueeze(1) for part in parts)
        if any(part.dim() != 3 or part.shape[:2] != (count, batch) for part in parts):
            raise ValueError(
                f"h_0 has shapes {[tuple(part.shape) for part in parts]}; pass ({count}, {batch}, "
                f"n), without the {batch} if unbatched"
            )
        return [tuple(part[layer] for part in parts) for layer in range(count)]

    def check(self, layer: int) -> None:
        """Raise ValueError if there is no such layer."""
        count = len(self._layers)
        if not -count <= layer < count:
            raise ValueError(f"layer={layer}, and there are {count}; pass {-count} to {count - 1}")

    def unbatched(self, result: Tensor, dim: int) -> Tensor:
        """Remove the batch dimension ``dim`` of ``result`` if the inputs had none."""
        return result if self._batched else result.squeeze(dim)

    def step(
        self, x: Tensor, states: Sequence[State | None], as_nodes: bool = False
    ) -> list[State]:
        """One step of all layers: inputs (B, m) and the states before to the states after."""
        after = []
        for step, state in zip(self._layers, states, strict=True):
            new = step(x, state)
            after.append(tuple(map(_node, new)) if as_nodes else new)
            x = linalg.as_real(after[-1][0])
        return after

    def states(self, as_nodes: bool = False) -> list[list[State]]:
        """The states of all layers after each step.

        Args:
            as_nodes: Make each state a node of the graph that all later states depend on.
        """
        found: list[list[State]] = []
        states = self._initial
        for x in self.x.unbind(0):
            found.append(self.step(x, states, as_nodes))
            states = found[-1]
        return found


def _node(x: Tensor) -> Tensor:
    """Return ``x`` as a tensor to differentiate by.

    With frozen parameters the first state needs no gradient, so it becomes a leaf.
    """
    return x if x.requires_grad else x.detach().requires_grad_()


def _layers(rnn: nn.Module) -> list[Step]:
    """One step function for each layer, the lowest first."""
    if getattr(rnn, "bidirectional", False):
        raise ValueError(
            "a bidirectional network has states in both directions of time; pass a network of one "
            "direction"
        )
    if getattr(rnn, "dropout", 0.0) and rnn.training:
        raise ValueError(
            f"dropout={rnn.dropout} between layers draws masks in training mode; call eval() first"
        )
    if isinstance(rnn, nn.RNNBase):
        return [partial(_torch_step, rnn, _weights(rnn, i)) for i in range(rnn.num_layers)]
    if isinstance(rnn, RecurrentLayers):
        return [partial(_cell_step, cell, _recurrent(cell)) for cell in rnn.cells]
    return [partial(_module_step, rnn)]


def _weights(rnn: nn.RNNBase, layer: int) -> dict[str, Tensor]:
    """The weights of one of torch's layers; parametrized ones are computed once for all steps."""
    names = ["weight_ih", "weight_hh"]
    names += ["bias_ih", "bias_hh"] if rnn.bias else []
    names += ["weight_hr"] if rnn.proj_size else []
    return {name: getattr(rnn, f"{name}_l{layer}") for name in names}


def _torch_step(rnn: nn.RNNBase, named: dict[str, Tensor], x: Tensor, state: State | None) -> State:
    """A step of one of torch's layers, by torch's function for its cell."""
    weights = [weight for name, weight in named.items() if name != "weight_hr"]
    if state is None:
        sizes = [rnn.proj_size or rnn.hidden_size]
        sizes += [rnn.hidden_size] if isinstance(rnn, nn.LSTM) else []
        state = tuple(x.new_zeros(len(x), size, dtype=weights[0].dtype) for size in sizes)
    if isinstance(rnn, nn.LSTM):
        if rnn.proj_size:
            return _projected_lstm_step(state, x, weights, named["weight_hr"])
        return torch.lstm_cell(x, state, *weights)
    if isinstance(rnn, nn.GRU):
        return (torch.gru_cell(x, *state, *weights),)
    function = torch.rnn_relu_cell if rnn.nonlinearity == "relu" else torch.rnn_tanh_cell
    return (function(x, *state, *weights),)


def _projected_lstm_step(
    state: State, x: Tensor, weights: Sequence[Tensor], weight_hr: Tensor
) -> State:
    """W_hr (o tanh c'), c': a step of an LSTM with ``proj_size``; torch has no function for it."""
    h, c = state
    biases = weights[2:] or (None, None)
    gates = linear(x, weights[0], biases[0]) + linear(h, weights[1], biases[1])
    i, f, g, o = gates.chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return linear(o.sigmoid() * c.tanh(), weight_hr), c


def _recurrent(cell: RecurrentCell) -> Tensor | LinearMap:
    """The recurrent weight of a cell, computed once for all steps."""
    if isinstance(cell, UnitaryGRUCell):
        return cell.weight_hh
    return cast(UnitaryRNNCell, cell).recurrent.prepare()


def _cell_step(
    cell: RecurrentCell, recurrent: Tensor | LinearMap, x: Tensor, state: State | None
) -> State:
    return (cell(x, None if state is None else state[0], recurrent=recurrent),)


def _module_step(rnn: nn.Module, x: Tensor, state: State | None) -> State:
    """A step of an unknown module with one layer, by a call with a sequence of one step."""
    time = 1 if getattr(rnn, "batch_first", False) else 0
    parts = None if state is None else tuple(part.unsqueeze(0) for part in state)
    given = parts[0] if parts is not None and len(parts) == 1 else parts
    # forward and not __call__: this may run inside one of the module's hooks.
    _, last = rnn.forward(x.unsqueeze(time), given)
    after = last if isinstance(last, tuple) else (last,)
    if any(len(part) != 1 for part in after):
        raise ValueError(
            f"{type(rnn).__name__} returned last states of {len(after[0])} layers and has no list "
            "of cells; pass a module of one layer"
        )
    return tuple(part[0] for part in after)
