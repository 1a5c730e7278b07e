"""The weights of a network's cells, and the network with larger orthogonal matrices around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from unitary_zoo import linalg
from unitary_zoo.base import Parametrization
from unitary_zoo.cells import UnitaryRNNCell
from unitary_zoo.layers import UnitaryRNN


@dataclass(frozen=True)
class CellWeights:
    """The weights of one cell, detached.

    Attributes:
        where: Its layer and direction, for error messages.
        sources: Number of states that make up its input: the directions of the layer before, or 1.
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
        """The factor gamma: a computed pre-activation is off by less than gamma sum |products|."""
        # Each product and each sum rounds by eps / 2, and the embedded network has twice as many.
        return (2 * sum(self.v.shape) + 8) * linalg.eps(self.w.dtype)


def cell_weights(rnn: nn.RNN | UnitaryRNN, nonlinearity: str) -> list[CellWeights]:
    """The weights of each cell of a network, by layer, then direction.

    Raises:
        ValueError: Another nonlinearity, a dtype of half precision, a parameter that is not finite,
            or dropout=1.
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
        found = [_weights_of_torch(rnn, index) for index in range(count)]
    else:
        found = [_weights_of_unitary(rnn, index) for index in range(count)]
    dtype = found[0].w.dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"the parameters are in {dtype}, in which no matrix is unitary; convert the network "
            "by .float() or .double()"
        )
    for cell in found:
        # Checked first: bounds computed from NaN would pass every comparison with them.
        for name, x in (("W", cell.w), ("V", cell.v), ("b", cell.b), ("h0", cell.h0)):
            if x is not None and not bool(x.isfinite().all()):
                raise ValueError(
                    f"{name} of {cell.where} has infinite or undefined entries; pass a network "
                    "of finite parameters"
                )
    return found


def _weights_of_torch(rnn: nn.RNN, index: int) -> CellWeights:
    layer, backward = divmod(index, 2 if rnn.bidirectional else 1)
    suffix = f"_l{layer}" + ("_reverse" if backward else "")

    def read(name: str) -> Tensor:
        tensor: Tensor = getattr(rnn, name + suffix)
        return tensor.detach()

    w = read("weight_hh")
    b = read("bias_ih") + read("bias_hh") if rnn.bias else w.new_zeros(len(w))
    return CellWeights(*_location(rnn, index), w, read("weight_ih"), b, None)


def _weights_of_unitary(rnn: UnitaryRNN, index: int) -> CellWeights:
    cell = rnn.cells[index]
    w = cell.recurrent.matrix().detach()
    b = w.new_zeros(len(w)) if cell.bias is None else cell.bias.detach()
    h0 = None if cell.h0 is None else cell.h0.detach()
    return CellWeights(*_location(rnn, index), w, cell.weight_ih.detach(), b, h0)


def _location(rnn: nn.RNN | UnitaryRNN, index: int) -> tuple[str, int]:
    directions = 2 if rnn.bidirectional else 1
    layer, backward = divmod(index, directions)
    return f"layer {layer}" + (", backward" if backward else ""), directions if layer else 1


@torch.no_grad()
def embedded_network(
    rnn: nn.RNN | UnitaryRNN,
    cells: Sequence[CellWeights],
    dilations: Sequence[Tensor],
    lower_biases: Sequence[Tensor],
    nonlinearity: str,
) -> UnitaryRNN:
    """The network whose recurrent matrices are orthogonal and have those of ``rnn`` as a block.

    Args:
        rnn: The network whose options are taken.
        cells: The result of :func:`cell_weights` for it.
        dilations: For each cell an orthogonal matrix (N, N), N >= n, with W as its upper left
            block. Smaller ones are filled up by the identity.
        lower_biases: For each cell the biases (N - n) of the new units.
        nonlinearity: Name of the nonlinearity of the result.

    Returns:
        A network with the largest N as its number of states. V has rows of zeros for the new
        states, and in later layers columns of zeros for those of the layer before.
    """
    return_sequence, checkpoint = True, None
    if isinstance(rnn, UnitaryRNN):
        return_sequence, checkpoint = rnn.return_sequence, rnn.checkpoint
    width = max(map(len, dilations))
    with torch.random.fork_rng(devices=[]):  # the values drawn here are overwritten below
        network = UnitaryRNN(
            rnn.input_size,
            width,
            rnn.num_layers,
            "projunn_d",  # stores W as it is; see _load_matrix
            nonlinearity,
            batch_first=rnn.batch_first,
            # A single layer of nn.RNN accepts dropout and ignores it.
            dropout=rnn.dropout if rnn.num_layers > 1 else 0.0,
            bidirectional=rnn.bidirectional,
            learn_h0=cells[0].h0 is not None,
            return_sequence=return_sequence,
            checkpoint=checkpoint,
            device="cpu",  # the only device whose generator fork_rng restores here
            dtype=cells[0].w.dtype,
            rank=width,
        )
    network = network.to(cells[0].w.device)
    for target, cell, w, lower in zip(network.cells, cells, dilations, lower_biases, strict=True):
        _fill(target, cell, w, torch.cat([cell.b, lower]))
    return network.train(rnn.training)


def _fill(target: UnitaryRNNCell, cell: CellWeights, w: Tensor, bias: Tensor) -> None:
    """Write W, V, b and h0 into a cell that may have more states than ``w`` has rows."""
    (n, m), width = cell.v.shape, target.hidden_size
    # A unit whose row and column of W are those of the identity stays 0.
    w = torch.block_diag(w, torch.eye(width - len(w), dtype=w.dtype, device=w.device))
    _load_matrix(target.recurrent, w)
    v = target.weight_ih.zero_().view(width, cell.sources, -1)
    v[:n, :, : m // cell.sources] = cell.v.reshape(n, cell.sources, -1)
    assert target.bias is not None
    target.bias.copy_(functional.pad(bias, (0, width - len(bias))))
    if target.h0 is not None and cell.h0 is not None:
        target.h0.copy_(functional.pad(cell.h0, (0, width - n)))


def _load_matrix(scheme: Parametrization, w: Tensor) -> None:
    """Set W bit by bit, as a checkpoint of the scheme ``projunn_d`` would.

    ``assign_`` projects what it is given and so moves W by a rounding.
    """
    scheme.load_state_dict({**scheme.state_dict(), "weight": w, "base": w})
