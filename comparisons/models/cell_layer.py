"""A recurrent layer from a cell, which computes one step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from comparisons.records import ModelSettings


class CellLayer(nn.Module):
    """Cells called step by step, in layers on top of each other; it is called as nn.RNN is.

    A cell is called as nn.RNNCell is, ``h = cell(x, h)`` with x (batch, features) and h (batch, n);
    with ``states=2`` as nn.LSTMCell is, ``h, c = cell(x, (h, c))``. The first states are zero.

    Args:
        cell: Called with a number of features and n; returns a cell. A class of cells is one.
        input_size: Features of x.
        settings: Its numbers of units and layers and its dropout between layers are read.
        states: Number of tensors of the state; the first is the output.
        dtype: Of the states; None is that of x.
    """

    def __init__(
        self,
        cell: Callable[[int, int], nn.Module],
        input_size: int,
        settings: ModelSettings,
        states: int = 1,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        n = settings.hidden_size
        self.hidden_size, self.states, self.dtype = n, states, dtype
        widths = [input_size] + [n] * (settings.layers - 1)
        self.cells = nn.ModuleList(cell(width, n) for width in widths)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(
        self, x: Tensor, state: Tensor | tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
        """The outputs (T, B, n) of the last layer for x (T, B, m), and each layer's last state.

        Args:
            x: Inputs.
            state: A tensor (layers, B, n), or a tuple of such; None is zero.

        Returns:
            Outputs; last states, in the form of ``state``.
        """
        given = (state,) if isinstance(state, Tensor) else state
        last = []
        for i, cell in enumerate(self.cells):
            if given is None:
                zero = x.new_zeros(x.shape[1], self.hidden_size, dtype=self.dtype or x.dtype)
                h: tuple[Tensor, ...] = (zero,) * self.states
            else:
                h = tuple(part[i] for part in given)
            outputs = []
            for step in self.dropout(x) if i else x:
                new = cell(step, h if self.states > 1 else h[0])
                h = tuple(new) if self.states > 1 else (new,)
                outputs.append(h[0])
            x = torch.stack(outputs)
            last.append(h)
        stacked = tuple(map(torch.stack, zip(*last, strict=True)))
        return x, stacked if self.states > 1 else stacked[0]
