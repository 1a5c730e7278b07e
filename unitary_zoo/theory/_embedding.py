"""Between a network and its unitary twin: what its cells hold, and the padded copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from unitary_zoo import linalg
from unitary_zoo.cells import UnitaryRNNCell
from unitary_zoo.layers import UnitaryRNN


@dataclass(frozen=True)
class Cell:
    """One cell of the given network, detached.

    Attributes:
        where: Its layer and direction, in words.
        sources: Of how many states its input consists: the directions of the layer before, or 1.
        w: W (n, n).
        v: V (n, m).
        b: b (n).
        h0: The learned initial state (n) or None.
    """

    where: str
    sources: int
    w: Tensor
    v: Tensor
    b: Tensor
    h0: Tensor | None

    @property
    def rounding(self) -> float:
        """gamma: sums of products are off by less than gamma times those of absolute values."""
        # One rounding of eps / 2 for each product and each sum, of the twin's twice as many terms.
        return (2 * sum(self.v.shape) + 8) * linalg.eps(self.w.dtype)


def cells_of(rnn: nn.RNN | UnitaryRNN, nonlinearity: str) -> list[Cell]:
    """The cells of a network, by layer, then direction.

    Raises:
        ValueError: Another nonlinearity, a dtype of half precision, a parameter that is not finite,
            or dropout of everything.
        TypeError: ``rnn`` is neither an ``nn.RNN`` nor a ``UnitaryRNN``.
    """
    if not isinstance(rnn, (nn.RNN, UnitaryRNN)):
        raise TypeError(
            f"rnn is a {type(rnn).__name__}; the theorem is about networks without gates, so pass "
            f"an nn.RNN or a UnitaryRNN with nonlinearity={nonlinearity!r}"
        )
    kind = rnn.nonlinearity if isinstance(rnn, nn.RNN) else rnn.cells[0].nonlinearity
    if kind != nonlinearity:
        raise ValueError(
            f"nonlinearity is {kind!r}, and the theorem is about {nonlinearity!r}; build the "
            f"network with nonlinearity={nonlinearity!r} and a real scheme"
        )
    if not rnn.dropout < 1:
        raise ValueError(
            f"dropout={rnn.dropout} leaves nothing of a layer for the next one; pass a network "
            "whose dropout is below 1"
        )
    count = rnn.num_layers * (2 if rnn.bidirectional else 1)
    if isinstance(rnn, nn.RNN):
        found = [_of_torch(rnn, index) for index in range(count)]
    else:
        found = [_of_ours(rnn, index) for index in range(count)]
    dtype = found[0].w.dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"the parameters are in {dtype}, in which no matrix is unitary; convert the network "
            "by .float() or .double()"
        )
    for cell in found:
        # A bound computed from them would be undefined, and no comparison with it true.
        for name, x in (("W", cell.w), ("V", cell.v), ("b", cell.b), ("h0", cell.h0)):
            if x is not None and not bool(x.isfinite().all()):
                raise ValueError(
                    f"{name} of {cell.where} has infinite or undefined entries; pass a network "
                    "of finite parameters"
                )
    return found


def _of_torch(rnn: nn.RNN, index: int) -> Cell:
    layer, backward = divmod(index, 2 if rnn.bidirectional else 1)
    suffix = f"_l{layer}" + ("_reverse" if backward else "")

    def read(name: str) -> Tensor:
        tensor: Tensor = getattr(rnn, name + suffix)
        return tensor.detach()

    w = read("weight_hh")
    b = read("bias_ih") + read("bias_hh") if rnn.bias else w.new_zeros(len(w))
    return Cell(*_place(rnn, index), w, read("weight_ih"), b, None)


def _of_ours(rnn: UnitaryRNN, index: int) -> Cell:
    cell = rnn.cells[index]
    w = cell.recurrent.matrix().detach()
    b = w.new_zeros(len(w)) if cell.bias is None else cell.bias.detach()
    h0 = None if cell.h0 is None else cell.h0.detach()
    return Cell(*_place(rnn, index), w, cell.weight_ih.detach(), b, h0)


def _place(rnn: nn.RNN | UnitaryRNN, index: int) -> tuple[str, int]:
    directions = 2 if rnn.bidirectional else 1
    layer, backward = divmod(index, directions)
    return f"layer {layer}" + (", backward" if backward else ""), directions if layer else 1


@torch.no_grad()
def padded_twin(
    rnn: nn.RNN | UnitaryRNN,
    cells: Sequence[Cell],
    dilations: Sequence[Tensor],
    lower_biases: Sequence[Tensor],
    nonlinearity: str,
) -> UnitaryRNN:
    """The network with the given orthogonal matrices, of which W is the upper left block.

    Args:
        rnn: The network, for its options.
        cells: What :func:`cells_of` it gives.
        dilations: For each cell (N, N), N at least n. Smaller ones are filled up with ones.
        lower_biases: For each cell (N - n).
        nonlinearity: Of the twin.

    Returns:
        A network of the largest N as its number of states. V has rows of zeros for the new
        states, and in later layers columns of zeros for those of the layer before.
    """
    keep, checkpoint = True, None
    if isinstance(rnn, UnitaryRNN):
        keep, checkpoint = rnn.return_sequence, rnn.checkpoint
    width = max(map(len, dilations))
    with torch.random.fork_rng(devices=[]):  # what it draws is overwritten
        twin = UnitaryRNN(
            rnn.input_size,
            width,
            rnn.num_layers,
            "projunn_d",  # stores W, and reads what is stored
            nonlinearity,
            batch_first=rnn.batch_first,
            dropout=rnn.dropout if rnn.num_layers > 1 else 0.0,  # nn.RNN takes it there, idle
            bidirectional=rnn.bidirectional,
            learn_h0=cells[0].h0 is not None,
            return_sequence=keep,
            checkpoint=checkpoint,
            device="cpu",  # the only generator that is put back
            dtype=cells[0].w.dtype,
            rank=width,
        )
    twin = twin.to(cells[0].w.device)
    for target, cell, w, lower in zip(twin.cells, cells, dilations, lower_biases, strict=True):
        _fill(target, cell, w, torch.cat([cell.b, lower]))
    return twin.train(rnn.training)


def _fill(target: UnitaryRNNCell, cell: Cell, w: Tensor, bias: Tensor) -> None:
    (n, m), width = cell.v.shape, target.hidden_size
    # A unit that is coupled to none stays 0 by itself.
    w = torch.block_diag(w, torch.eye(width - len(w), dtype=w.dtype, device=w.device))
    # Loaded, not assigned: that would move W by a rounding.
    state = target.recurrent.state_dict()
    target.recurrent.load_state_dict({**state, "weight": w, "base": w})
    v = target.weight_ih.zero_().view(width, cell.sources, -1)
    v[:n, :, : m // cell.sources] = cell.v.reshape(n, cell.sources, -1)
    assert target.bias is not None
    target.bias.copy_(functional.pad(bias, (0, width - len(bias))))
    if target.h0 is not None and cell.h0 is not None:
        target.h0.copy_(functional.pad(cell.h0, (0, width - n)))
