r"""Theorem 3: no finite unitary sigmoid network equals a contractive one, but some come near."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.layers import UnitaryRNN
from unitary_zoo.theory._embedding import Cell, cells_of, padded_twin
from unitary_zoo.theory.dilation import halmos_dilation


def sigmoid_approximation(rnn: UnitaryRNN, bias: float) -> UnitaryRNN:
    r""":math:`h' = \sigma(W_u h + [V; 0] x + [b; -\beta])`: within O(:math:`e^{-\beta}`).

    For :math:`h' = \sigma(W h + V x + b)` with :math:`\|W\|_2 \le 1`, :math:`W_u` the Halmos
    dilation of W. A sigmoid switches no unit off: the lower states are at most
    :math:`\sigma(a - \beta)`, not 0, and no unitary network is exact; see
    :func:`scalar_recurrent_weight`. :func:`sigmoid_error_bound` bounds the error.

    Args:
        rnn: Sigmoid network of a real scheme, e.g. ``svd_projection`` with ``contractive=True``,
            of any number of layers and directions, float32 or float64. It is not changed.
        bias: :math:`\beta`, that of every new unit is :math:`-\beta`.

    Returns:
        A network of 2n states, the first n near those of ``rnn`` of each layer and direction.
        The others start at 0.

    Raises:
        ValueError: A norm exceeds 1; another nonlinearity or dtype; ``bias`` is not finite.
        TypeError: ``rnn`` is no ``UnitaryRNN``.

    Source: Emami, Sahraee-Ardakan, Rangan and Fletcher, Input-output equivalence of unitary and
    contractive RNNs, 2019, have the theorem; the approximation and its bound are ours.
    """
    cells = _sigmoid_cells(rnn, bias)
    dilations = [halmos_dilation(cell.w) for cell in cells]
    lower = [torch.full_like(cell.b, -bias) for cell in cells]
    return padded_twin(rnn, cells, dilations, lower, "sigmoid")


@torch.no_grad()
def sigmoid_error_bound(rnn: UnitaryRNN, bias: float) -> float:
    r""":math:`\sup_t \|h_t - h^u_t\|_2 \le (\|W_2\| \|\sigma(a - \beta)\| + \|V\| E) / (4 - \rho)`.

    For :func:`sigmoid_approximation`, any inputs and any length, in exact arithmetic.
    :math:`W_2` is the upper right block of :math:`W_u`, E the error of the input, 0 in the first
    layer, and :math:`a_i` the largest value of row i of the lower blocks on states in [0, 1].

    *Proof.* :math:`\sigma` is 1/4-Lipschitz, so the error of one step is at most
    :math:`\tfrac14 (\rho e + \|W_2\| \|l\| + \|V\| E)`, with l the lower states before it; each of
    those is at most :math:`\sigma(a_i - \beta)`. The fixed point is the bound.

    Args:
        rnn: As there.
        bias: As there.

    Returns:
        The bound for the last layer, both directions together.

    Raises:
        ValueError, TypeError: As there.
    """
    cells = _sigmoid_cells(rnn, bias)
    directions = 2 if rnn.bidirectional else 1
    error = 0.0
    for layer in range(rnn.num_layers):
        group = cells[layer * directions : (layer + 1) * directions]
        error = math.hypot(*(_step_bound(cell, bias, error) for cell in group))
    return error


def _step_bound(cell: Cell, bias: float, error: float) -> float:
    n, w = len(cell.w), linalg.double(halmos_dilation(cell.w))
    high, low = w.new_ones(2 * n), w.new_zeros(2 * n)
    if cell.h0 is not None:  # a learned start may be outside [0, 1]
        high[:n] = high[:n].maximum(cell.h0)
        low[:n] = low[:n].minimum(cell.h0)
    rows = w[n:]
    largest = torch.where(rows > 0, rows * high, rows * low).sum(1)
    lower = float(torch.sigmoid(largest - bias).norm())
    rho, leak, gain = (float(torch.linalg.matrix_norm(linalg.double(x), 2))
                       for x in (cell.w, w[:n, n:], cell.v))  # fmt: skip
    return (leak * lower + gain * error) / (4 - rho)


def scalar_recurrent_weight(
    rnn: torch.nn.Module, x: Tensor, first: tuple[float, float] = (-1.0, 1.0)
) -> float:
    r""":math:`w = (\mathrm{logit}\,y_1 - \mathrm{logit}\,y_1') / (y_0 - y_0')`, from outputs alone.

    Why no scalar unitary network is a contractive one. The outputs of
    :math:`h' = \sigma(w h + f x + b)` for two inputs that differ in the first step alone determine
    w. A unitary w is 1 or -1, so equal outputs need :math:`|w| = 1`. (A read-out c h changes
    nothing: as :math:`f x \to \pm\infty` the outputs tend to 0 and c, and these are equal
    only for equal c.)

    Args:
        rnn: Callable as a ``UnitaryRNN``, of one state and one input.
        x: The input of the second step, a single number in a tensor, which fixes dtype and device.
        first: The two inputs of the first step.

    Returns:
        w, to the rounding of the outputs.
    """
    sequences = torch.stack([torch.stack([x.new_tensor(start), x.reshape(())]) for start in first])
    with torch.no_grad():
        states = rnn(sequences.unsqueeze(-1).transpose(0, 1))[0][..., 0]
    (before,), (after,) = states[:1], torch.logit(states[1:])
    return float((after[0] - after[1]) / (before[0] - before[1]))


def _sigmoid_cells(rnn: UnitaryRNN, bias: float) -> list[Cell]:
    if not math.isfinite(bias):
        raise ValueError(f"bias={bias!r}; pass a finite number, and a larger one for less error")
    return cells_of(rnn, "sigmoid")
