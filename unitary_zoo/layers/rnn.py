"""UnitaryRNN: the drop-in for torch.nn.RNN."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from unitary_zoo.cells import UnitaryRNNCell
from unitary_zoo.cells.torch_weights import Scheme
from unitary_zoo.layers._base import RecurrentLayers
from unitary_zoo.layers.torch_weights import from_torch, to_torch


class UnitaryRNN(RecurrentLayers[UnitaryRNNCell]):
    r""":math:`h_t = \phi(W h_{t-1} + V x_t + b)` with W unitary, in layers and directions.

    Shapes are those of ``torch.nn.RNN``. Complex schemes have complex states; the next layer
    reads their real features [Re h, Im h].

    Args:
        input_size: m, features of the input.
        hidden_size: n, units of a state.
        num_layers: Layers.
        scheme: Registered name, class, or ready ``Parametrization`` (one layer, one direction).
        nonlinearity: See :class:`UnitaryRNNCell`.
        bias: Whether each cell has a bias.
        batch_first: Input and output as (B, T, ...) instead of (T, B, ...).
        dropout: Probability of dropping a feature between layers, in training. One layer warns that
            nothing is dropped.
        bidirectional: A second set of cells that runs backwards in time.
        learn_h0: Learn the initial states instead of starting from zero.
        return_sequence: False returns None and the last states. The last layer then keeps no
            sequence in memory, except for packed input, whose last states are picked from it. On
            the CPU the backward pass recomputes the states; on other devices they are kept,
            unless ``checkpoint`` is given.
        checkpoint: For the backward pass keep the states of every ``checkpoint``-th step only
            and recompute those between.
        device: Device.
        dtype: Real dtype of all parameters.
        scheme_options: Passed to the scheme of every cell.

    Attributes:
        cells: The :class:`UnitaryRNNCell` modules, by layer, then direction.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        scheme: Scheme = "expm",
        nonlinearity: str = "modrelu",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        learn_h0: bool = False,
        return_sequence: bool = True,
        checkpoint: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **scheme_options: Any,
    ) -> None:
        def make_cell(width: int) -> UnitaryRNNCell:
            return UnitaryRNNCell(
                width, hidden_size, scheme, nonlinearity, bias, device, dtype,
                learn_h0=learn_h0, **scheme_options,
            )  # fmt: skip

        super().__init__(
            make_cell, scheme, scheme_options, input_size, hidden_size, num_layers,
            bias=bias, batch_first=batch_first, dropout=dropout, bidirectional=bidirectional,
            return_sequence=return_sequence, checkpoint=checkpoint,
        )  # fmt: skip

    @property
    def nonlinearity(self) -> str:
        """Name of the nonlinearity."""
        return self.cells[0].nonlinearity

    @property
    def mode(self) -> str:
        """RNN_RELU or RNN_TANH as in torch, and in the same way for other nonlinearities."""
        return f"RNN_{self.nonlinearity.upper()}"

    @classmethod
    def from_torch(cls, rnn: nn.RNN, scheme: Scheme | None = None, **options: Any) -> UnitaryRNN:
        """Return a layer with the weights of ``rnn``, as near as the scheme can be.

        Args:
            rnn: Gives sizes, nonlinearity, device, dtype and the options of torch's layer.
            scheme: As in the constructor. Its matrices are the nearest to those of ``rnn``, and
                :meth:`load_torch` returns how near.
            options: Other options of the constructor.

        Raises:
            TypeError, ValueError: As :meth:`load_torch`, which warns of what the scheme changes.
        """
        kind = getattr(rnn, "nonlinearity", "tanh")
        return from_torch(cls, rnn, nn.RNN, scheme, nonlinearity=kind, **options)

    def to_torch(self) -> nn.RNN:
        """Return an ``nn.RNN`` with copies of the weights, for relu or tanh and a real scheme.

        Its outputs are the same to rounding. It returns the sequence always, and keeps all states
        for the backward pass.

        Raises:
            ValueError: Another nonlinearity, or learned initial states.
        """
        return to_torch(self, nn.RNN, nonlinearity=self.nonlinearity)

    def _torch_kind(self) -> type[nn.RNNBase]:
        return nn.RNN
