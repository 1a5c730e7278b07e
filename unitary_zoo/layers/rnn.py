"""UnitaryRNN: the drop-in for torch.nn.RNN."""

from __future__ import annotations

from typing import Any

import torch

from unitary_zoo.base import Parametrization
from unitary_zoo.cells import UnitaryRNNCell
from unitary_zoo.layers._base import RecurrentLayers


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
        dropout: Probability of dropping a feature between layers, in training.
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
        scheme: str | type[Parametrization] | Parametrization = "expm",
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
            make_cell, scheme, input_size, hidden_size, num_layers,
            batch_first=batch_first, dropout=dropout, bidirectional=bidirectional,
            return_sequence=return_sequence, checkpoint=checkpoint,
        )  # fmt: skip
