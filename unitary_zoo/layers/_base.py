"""RecurrentLayers: cells in layers and directions, for sequences and packed sequences."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from numbers import Real
from typing import Any, Generic, TypeVar, cast, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from unitary_zoo._torch import LoadingHook
from unitary_zoo.base import Parametrization
from unitary_zoo.cells import RecurrentCell
from unitary_zoo.cells.calls import check_state, input_and_state
from unitary_zoo.cells.torch_weights import NAMES, Scheme
from unitary_zoo.errors import check_int
from unitary_zoo.layers.lengths import backwards, packed_as
from unitary_zoo.layers.torch_weights import load_torch, suffixes
from unitary_zoo.linalg import as_real
from unitary_zoo.scan.lengths import at_ends

C = TypeVar("C", bound=RecurrentCell)


class RecurrentLayers(LoadingHook, ABC, Generic[C]):
    """Cells in layers and directions, with the shapes of ``torch.nn.RNN``.

    Args:
        make_cell: From the number of input features to a cell.
        scheme: The scheme that ``make_cell`` uses.
        scheme_options: Options that the cells pass to the scheme.
        input_size: Features of the input.
        hidden_size: Units of a state.
        num_layers: Layers.
        bias: Whether the cells have biases.
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
        scheme: Scheme,
        scheme_options: Mapping[str, Any],
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        return_sequence: bool,
        checkpoint: int | None,
    ) -> None:
        super().__init__()
        check_int("num_layers", num_layers, 1)
        _check_options(bias, batch_first, dropout, scheme_options)
        if dropout and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} acts between two layers, and num_layers=1 is a single one, so "
                "nothing is dropped; use num_layers=2 or more, or dropout=0",
                stacklevel=3,
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
    @abstractmethod
    def mode(self) -> str:
        """Name of the recurrence, as that of torch's layers."""

    @property
    def bias(self) -> bool:
        """Whether the cells have biases."""
        return self.cells[0].bias_parts is not None

    @property
    def proj_size(self) -> int:
        """0: states are not projected, as in nn.RNN and nn.GRU."""
        return 0

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each cell. Those of a scheme are not the matrix itself."""
        return [list(cell.parameters()) for cell in self.cells]

    def flatten_parameters(self) -> None:
        """Do nothing. torch's layers gather their weights for cuDNN here, which is not used."""

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

    def load_torch(self, source: nn.Module | Mapping[str, Tensor]) -> dict[str, float]:
        r"""Take the weights of torch's layer, and for recurrent matrices the nearest there are.

        The sum of two biases that torch adds is taken, and learned initial states become 0, as
        torch's are. ``load_state_dict`` takes the state of torch's layer in the same way.

        Args:
            source: An ``nn.RNN`` or ``nn.GRU``, or its ``state_dict()``.

        Returns:
            The residual :math:`\|W - W_{hh}\|_2` of each ``weight_hh``, the largest of several
            gates. A warning says it if it is more than rounding.

        Raises:
            ValueError: This layer has a function that torch's has not, such as modReLU; or names,
                shapes or entries do not fit. Nothing has changed then.
            TypeError: ``source`` is of another kind.
        """
        return load_torch(self, source, self._torch_kind())

    @abstractmethod
    def _torch_kind(self) -> type[nn.RNNBase]:
        """Return the class of torch's layer."""

    def _after_loading(self, state: Mapping[str, Any], prefix: str, errors: list[str]) -> None:
        """Leave what was read as it is."""

    def _before_loading(
        self, state: MutableMapping[str, Any], prefix: str, errors: list[str]
    ) -> None:
        """Give weights of torch's layer to the cells, which convert them."""
        for index, end in enumerate(suffixes(self.num_layers, self.bidirectional)):
            for name in NAMES:
                if prefix + name + end in state:
                    state[f"{prefix}cells.{index}.{name}"] = state.pop(prefix + name + end)

    @overload
    def forward(
        self, input: Tensor, hx: Tensor | None = None, *, h_0: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]: ...

    @overload
    def forward(
        self, input: PackedSequence, hx: Tensor | None = None, *, h_0: Tensor | None = None
    ) -> tuple[PackedSequence | None, Tensor]: ...

    @overload
    def forward(
        self, *, hx: Tensor | None = None, x: Tensor, h_0: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]: ...

    @overload
    def forward(
        self, *, hx: Tensor | None = None, x: PackedSequence, h_0: Tensor | None = None
    ) -> tuple[PackedSequence | None, Tensor]: ...

    def forward(
        self,
        input: Tensor | PackedSequence | None = None,
        hx: Tensor | None = None,
        *,
        x: Tensor | PackedSequence | None = None,
        h_0: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence | None, Tensor]:
        """Run the layers over a sequence.

        Args:
            input: (T, B, m), (B, T, m) if ``batch_first``, (T, m) unbatched, or a PackedSequence.
            hx: (layers * directions, B, n), without B if unbatched; None is zero, or learned.
            x: Another name of ``input``.
            h_0: Another name of ``hx``.

        Returns:
            The last layer's states (T, B, directions * n), in the form of ``input``, or None if not
            ``return_sequence``; and the last states of every cell (layers * directions, B, n).
        """
        x, h_0 = input_and_state({"input": input, "x": x}, {"hx": hx, "h_0": h_0})
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
            check_state("h_0", h_0, (len(self.cells), self.hidden_size))
            x, h_0 = x.unsqueeze(1), None if h_0 is None else h_0.unsqueeze(1)
        output, h_n = self._run(x, h_0, None)
        if not batched:
            return None if output is None else output.squeeze(1), h_n.squeeze(1)
        return output.transpose(0, 1) if time and output is not None else output, h_n

    def _forward_packed(
        self, packed: PackedSequence, h_0: Tensor | None
    ) -> tuple[PackedSequence | None, Tensor]:
        # The sequences stay in the order in which they are packed, the longest first. Padding comes
        # after the end of each, so it changes no state that is read.
        x, lengths = pad_packed_sequence(PackedSequence(packed.data, packed.batch_sizes))
        if h_0 is not None and packed.sorted_indices is not None:
            check_state("h_0", h_0, (len(self.cells), x.shape[1], self.hidden_size))
            h_0 = h_0.index_select(1, packed.sorted_indices)
        output, h_n = self._run(x, h_0, lengths)
        if packed.unsorted_indices is not None:
            h_n = h_n.index_select(1, packed.unsorted_indices)
        return None if output is None else packed_as(packed, output, lengths), h_n

    def _run(
        self, x: Tensor, h_0: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor | None, Tensor]:
        """Run the layers over (T, B, m).

        ``lengths`` (B), on the CPU and in descending order, are the steps of each sequence.
        """
        check_state("h_0", h_0, (len(self.cells), x.shape[1], self.hidden_size))
        last_states: list[Tensor] = []
        states: Tensor | None = None
        for index in range(self.num_layers):
            # A sequence is needed by the next layer, or as the result.
            sequence = self.return_sequence or index + 1 < self.num_layers
            outs: list[Tensor] = []
            for direction, cell in enumerate(self._layer(index)):
                h = None if h_0 is None else h_0[len(last_states)]
                flipped = backwards(x, lengths) if direction else x
                ends = None if sequence else lengths
                out = cell.scan(
                    flipped, h, return_sequence=sequence, checkpoint=self.checkpoint, lengths=ends
                )
                last_states.append(at_ends(out, lengths) if sequence else out)
                if sequence:
                    outs.append(backwards(out, lengths) if direction else out)
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
            "bias": (self.bias, True),
            "batch_first": (self.batch_first, False),
            "dropout": (self.dropout, 0.0),
            "bidirectional": (self.bidirectional, False),
            "return_sequence": (self.return_sequence, True),
            "checkpoint": (self.checkpoint, None),
        }
        changed = [f"{key}={value}" for key, (value, plain) in options.items() if value != plain]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])


def _check_options(
    bias: bool, batch_first: bool, dropout: float, scheme_options: Mapping[str, Any]
) -> None:
    """Raise what nn.RNN raises of these options."""
    for name, value in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(value, bool):
            raise TypeError(f"{name}={value!r}; pass a bool")
    if isinstance(dropout, bool) or not isinstance(dropout, Real) or not 0 <= dropout <= 1:
        raise ValueError(f"dropout={dropout!r}; pass a probability in [0, 1]")
    if "proj_size" in scheme_options:
        raise ValueError(
            f"proj_size={scheme_options['proj_size']!r} is an option of nn.LSTM alone; put an "
            "nn.Linear behind the layer"
        )
