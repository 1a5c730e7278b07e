"""UnitaryGRU: the drop-in for torch.nn.GRU."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from unitary_zoo.cells import UnitaryGRUCell
from unitary_zoo.cells.torch_weights import Scheme
from unitary_zoo.layers._base import RecurrentLayers
from unitary_zoo.layers.torch_weights import from_torch, to_torch


class UnitaryGRU(RecurrentLayers[UnitaryGRUCell]):
    r""":math:`h_t = (1 - z_t) \odot c_t + z_t \odot h_{t-1}`: ``nn.GRU`` with unitary matrices.

    This is the uGRU: the recurrent matrices of the gates r and z and of the candidate c are each
    orthogonal. Equations, shapes and initial states are those of ``torch.nn.GRU``; see
    :class:`UnitaryGRUCell`.

    Args:
        input_size: m, features of the input.
        hidden_size: n, units of a state.
        num_layers: Layers.
        scheme: Registered name or class of a real scheme; or a ready ``Parametrization``, for one
            layer and direction with ``gates="candidate"``.
        bias: Whether each cell has biases.
        batch_first: Input and output as (B, T, ...) instead of (T, B, ...).
        dropout: Probability of dropping a feature between layers, in training. One layer warns that
            nothing is dropped.
        bidirectional: A second set of cells that runs backwards in time.
        learn_h0: Learn the initial states instead of starting from zero.
        return_sequence: False returns None and the last states; without gradients, the last layer
            then keeps no sequence in memory.
        checkpoint: For the backward pass keep the states of every ``checkpoint``-th step only
            and recompute all else.
        device: Device.
        dtype: Dtype of all parameters.
        gates: Which recurrent matrices are unitary: "all", or the "candidate" alone.
        scheme_options: Passed to the scheme of every matrix.

    Attributes:
        cells: The :class:`UnitaryGRUCell` modules, by layer, then direction.

    Source: Lin and Wang, CS224N report, 2019.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        scheme: Scheme = "expm",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        learn_h0: bool = False,
        return_sequence: bool = True,
        checkpoint: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        gates: str = "all",
        **scheme_options: Any,
    ) -> None:
        def make_cell(width: int) -> UnitaryGRUCell:
            return UnitaryGRUCell(
                width, hidden_size, scheme, bias, device, dtype,
                gates=gates, learn_h0=learn_h0, **scheme_options,
            )  # fmt: skip

        super().__init__(
            make_cell, scheme, scheme_options, input_size, hidden_size, num_layers,
            bias=bias, batch_first=batch_first, dropout=dropout, bidirectional=bidirectional,
            return_sequence=return_sequence, checkpoint=checkpoint,
        )  # fmt: skip

    @property
    def mode(self) -> str:
        """GRU, as in torch."""
        return "GRU"

    @classmethod
    def from_torch(cls, gru: nn.GRU, scheme: Scheme | None = None, **options: Any) -> UnitaryGRU:
        """Return a layer with the weights of ``gru``, as near as the scheme can be.

        Args:
            gru: Gives sizes, device, dtype and the options of torch's layer.
            scheme: As in the constructor. Its matrices are the nearest to those of ``gru``, and
                :meth:`load_torch` returns how near.
            options: Other options of the constructor; ``gates="candidate"`` takes the matrices of
                the gates as they are.

        Raises:
            TypeError, ValueError: As :meth:`load_torch`, which warns of what the scheme changes.
        """
        return from_torch(cls, gru, nn.GRU, scheme, **options)

    def to_torch(self) -> nn.GRU:
        """Return an ``nn.GRU`` with copies of the weights.

        Its outputs are the same to rounding. It returns the sequence always, and keeps all states
        for the backward pass.

        Raises:
            ValueError: The initial states are learned.
        """
        return to_torch(self, nn.GRU)

    def _torch_kind(self) -> type[nn.RNNBase]:
        return nn.GRU
