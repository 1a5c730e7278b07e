"""RecurrentLayers: cells in layers and directions, for sequences and packed sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from unitary_zoo.base import Parametrization
from unitary_zoo.cells import RecurrentCell
from unitary_zoo.errors import is_int
from unitary_zoo.linalg import as_real

C = TypeVar("C", bound=RecurrentCell)


class RecurrentLayers(nn.Module, ABC, Generic[C]):
    """Cells in layers and directions, with the shapes of ``torch.nn.RNN``.

    Args:
        make_cell: From the number of input features to a cell.
        scheme: The scheme that ``make_cell`` uses.
        input_size: Features of the input.
        hidden_size: Units of a state.
        num_layers: Layers.
        batch_first: Input and output as (B, T, ...) instead of (T, B, ...).
        dropout: Probability of dropping a feature between layers, in training.
        bidirectional: A second set of cells that runs backwards in time.
        return_sequence: Whether the states of the last layer are returned.
        checkpoint: Steps between the states kept for the backward pass.

    Attributes:
        cells: The cells, by layer, then direction.
    """

    @abstractmethod
    def __init__(
        self,
        make_cell: Callable[[int], C],
        scheme: str | type[Parametrization] | Parametrization,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        return_sequence: bool,
        checkpoint: int | None,
    ) -> None:
        super().__init__()
        if not is_int(num_layers) or num_layers < 1:
            raise ValueError(f"num_layers={num_layers!r}; pass an int of at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout!r}; pass a probability in [0, 1)")
        if dropout and num_layers == 1:
            raise ValueError(
                f"dropout={dropout} acts between two layers, and num_layers=1 is a single one; use "
                "num_layers=2 or more, or dropout=0"
            )
        directions = 2 if bidirectional else 1
        if isinstance(scheme, Parametrization) and num_layers * directions > 1:
            raise ValueError(
                f"one ready {scheme.info.name!r} cannot serve {num_layers * directions} cells; "
                "pass the scheme by name"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.bidirectional = batch_first, bidirectional
        self.dropout = dropout
        self.return_sequence, self.checkpoint = return_sequence, checkpoint
        cells = nn.ModuleList()
        width = input_size
        for _ in range(num_layers):
            layer = [make_cell(width) for _ in range(directions)]
            cells.extend(layer)
            width = sum(cell.output_size for cell in layer)
        # The type of nn.ModuleList does not tell that of its members.
        self.cells = cast(Sequence[C], cells)

    @property
    def output_size(self) -> int:
        """The number of real features of one step of the output, after :func:`as_real`."""
        return sum(cell.output_size for cell in self._layer(self.num_layers - 1))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Reset every cell."""
        for cell in self.cells:
            cell.reset_parameters(generator)

    def _layer(self, index: int) -> Sequence[C]:
        directions = 2 if self.bidirectional else 1
        return self.cells[index * directions : (index + 1) * directions]

    @overload
    def forward(self, x: Tensor, h_0: Tensor | None = None) -> tuple[Tensor | None, Tensor]: ...

    @overload
    def forward(
        self, x: PackedSequence, h_0: Tensor | None = None
    ) -> tuple[PackedSequence | None, Tensor]: ...

    def forward(
        self, x: Tensor | PackedSequence, h_0: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence | None, Tensor]:
        """Run the layers over a sequence.

        Args:
            x: (T, B, m), (B, T, m) if ``batch_first``, (T, m) unbatched, or a PackedSequence.
            h_0: (layers * directions, B, n), without B if unbatched; None is zero, or learned.

        Returns:
            The last layer's states (T, B, directions * n), in the form of ``x``, or None if not
            ``return_sequence``; and the last states of every cell (layers * directions, B, n).
        """
        if isinstance(x, PackedSequence):
            return self._forward_packed(x, h_0)
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; pass a sequence of {self.input_size} features, "
                "with 3 dimensions, or 2 if unbatched"
            )
        batched = x.dim() == 3
        time = 1 if batched and self.batch_first else 0
        x = x.transpose(0, 1) if time else x
        if not batched:
            x, h_0 = x.unsqueeze(1), None if h_0 is None else h_0.unsqueeze(1)
        output, h_n = self._run(x, h_0, None)
        if not batched:
            return None if output is None else output.squeeze(1), h_n.squeeze(1)
        return output.transpose(0, 1) if time and output is not None else output, h_n

    def _forward_packed(
        self, packed: PackedSequence, h_0: Tensor | None
    ) -> tuple[PackedSequence | None, Tensor]:
        x, lengths = pad_packed_sequence(packed)
        # Padding comes after the end of each sequence, so it changes no state that is read.
        output, h_n = self._run(x, h_0, lengths.to(x.device))
        if output is None:
            return None, h_n
        order = packed.sorted_indices
        if order is not None:
            output, lengths = output.index_select(1, order), lengths[order.cpu()]
        # Packing has no gradients for complex numbers, so it receives their real parts.
        data = pack_padded_sequence(as_real(output), lengths).data
        if output.is_complex():
            data = torch.complex(*data.chunk(2, dim=-1))
        return PackedSequence(data, packed.batch_sizes, order, packed.unsorted_indices), h_n

    def _run(
        self, x: Tensor, h_0: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor | None, Tensor]:
        """Run the layers over (T, B, m); ``lengths`` (B) are the steps of each sequence."""
        count, batch = len(self.cells), x.shape[1]
        if h_0 is not None and h_0.shape != (count, batch, self.hidden_size):
            raise ValueError(
                f"h_0 has shape {tuple(h_0.shape)}; pass {(count, batch, self.hidden_size)}"
            )
        last_states: list[Tensor] = []
        states: Tensor | None = None
        for index in range(self.num_layers):
            # A sequence is needed by the next layer, as the result, or to find the ends in it.
            sequence = self.return_sequence or index + 1 < self.num_layers or lengths is not None
            outs: list[Tensor] = []
            for direction, cell in enumerate(self._layer(index)):
                h = None if h_0 is None else h_0[len(last_states)]
                flipped = _reversed(x, lengths) if direction else x
                out = cell.scan(flipped, h, return_sequence=sequence, checkpoint=self.checkpoint)
                last_states.append(_last(out, lengths) if sequence else out)
                if sequence:
                    outs.append(_reversed(out, lengths) if direction else out)
            if sequence:
                states = torch.cat(outs, dim=-1) if len(outs) > 1 else outs[0]
                x = as_real(states)
                if self.dropout and self.training and index + 1 < self.num_layers:
                    x = nn.functional.dropout(x, self.dropout)
        return states if self.return_sequence else None, torch.stack(last_states)

    def extra_repr(self) -> str:
        """Return the options that differ from their defaults."""
        options = {
            "num_layers": (self.num_layers, 1),
            "batch_first": (self.batch_first, False),
            "dropout": (self.dropout, 0.0),
            "bidirectional": (self.bidirectional, False),
            "return_sequence": (self.return_sequence, True),
            "checkpoint": (self.checkpoint, None),
        }
        changed = [f"{key}={value}" for key, (value, plain) in options.items() if value != plain]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return ``x`` (T, B, ...) backwards in time, each sequence within its own length."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    index = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x.gather(0, index.unsqueeze(-1).expand_as(x))


def _last(states: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the state of each sequence at its end, (B, n)."""
    if lengths is None:
        return states[-1]
    return states[lengths - 1, torch.arange(states.shape[1], device=states.device)]
