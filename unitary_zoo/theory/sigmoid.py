r"""Theorem 3: no finite unitary sigmoid network equals a contractive one; some approximate it."""

from __future__ import annotations

import math

import torch

from unitary_zoo import linalg
from unitary_zoo.layers import UnitaryRNN
from unitary_zoo.theory._embedding import CellWeights, cell_weights, embedded_network
from unitary_zoo.theory.dilation import halmos_dilation


def sigmoid_approximation(rnn: UnitaryRNN, bias: float) -> UnitaryRNN:
    r""":math:`h' = \sigma(W_u h + [V; 0] x + [b; -\beta])`: exact up to O(:math:`e^{-\beta}`).

    The given network is :math:`h' = \sigma(W h + V x + b)` with :math:`\|W\|_2 \le 1`, and
    :math:`W_u` is the Halmos dilation of W. A sigmoid does not switch a unit off: the new, lower
    states are at most :math:`\sigma(a - \beta)` but not 0. :func:`sigmoid_error_bound` bounds the
    error. No unitary network is exact. For one state this is elementary: the outputs for two inputs
    that differ in the first step determine the weight,
    :math:`w = (\mathrm{logit}\,y_1 - \mathrm{logit}\,y_1') / (y_0 - y_0')`, and a unitary weight is
    1 or -1.

    Args:
        rnn: Sigmoid network of a real scheme, e.g. ``svd_projection`` with ``contractive=True``,
            with any number of layers and directions, float32 or float64. It is not changed.
        bias: :math:`\beta`; the bias of every new unit is :math:`-\beta`.

    Returns:
        A network of 2n states. In each layer and direction the first n are near those of ``rnn``;
        the others start at 0.

    Raises:
        ValueError: A norm exceeds 1; another nonlinearity or dtype; ``bias`` is not finite.
        TypeError: ``rnn`` is no ``UnitaryRNN``.

    Source: Emami, Sahraee-Ardakan, Rangan and Fletcher, Input-output equivalence of unitary and
    contractive RNNs, 2019, have the theorem; the approximation and its bound are ours.
    """
    cells = _sigmoid_cells(rnn, bias)
    dilations = [halmos_dilation(cell.w) for cell in cells]
    lower = [torch.full_like(cell.b, -bias) for cell in cells]
    return embedded_network(rnn, cells, dilations, lower, "sigmoid")


@torch.no_grad()
def sigmoid_error_bound(rnn: UnitaryRNN, bias: float) -> float:
    r""":math:`\sup_t \|h_t - h^u_t\|_2 \le (\|W_2\| \|\sigma(a - \beta)\| + \|V\| E) / (4 - \rho)`.

    Bounds the error of :func:`sigmoid_approximation` for any inputs and any length, in exact
    arithmetic. :math:`W_2` is the upper right block of :math:`W_u`, E is the error of the input, 0
    in the first layer, and :math:`a_i` is the largest value of row i of the lower blocks on states
    in [0, 1].

    *Proof.* :math:`\sigma` is 1/4-Lipschitz, so an error e before a step is at most
    :math:`\tfrac14 (\rho e + \|W_2\| \|l\| + \|V\| E)` after it, where l are the lower states
    before the step. Each of those is at most :math:`\sigma(a_i - \beta)`. The bound is the fixed
    point.

    Args:
        rnn: The given network, as in :func:`sigmoid_approximation`.
        bias: :math:`\beta`.

    Returns:
        The bound for the last layer, for both directions together.

    Raises:
        ValueError, TypeError: As in :func:`sigmoid_approximation`.
    """
    cells = _sigmoid_cells(rnn, bias)
    directions = 2 if rnn.bidirectional else 1
    error = 0.0
    for layer in range(rnn.num_layers):
        group = cells[layer * directions : (layer + 1) * directions]
        error = math.hypot(*(_step_bound(cell, bias, error) for cell in group))
    return error


def _step_bound(cell: CellWeights, bias: float, error: float) -> float:
    n, w = len(cell.w), linalg.double(halmos_dilation(cell.w))
    high, low = w.new_ones(2 * n), w.new_zeros(2 * n)
    if cell.h0 is not None:  # a learned start may be outside [0, 1]
        high[:n] = high[:n].maximum(cell.h0)
        low[:n] = low[:n].minimum(cell.h0)
    rows = w[n:]
    largest = torch.where(rows > 0, rows * high, rows * low).sum(1)
    lower = float(torch.sigmoid(largest - bias).norm())
    blocks = (cell.w, w[:n, n:], cell.v)
    rho, coupling, gain = (float(torch.linalg.matrix_norm(linalg.double(x), 2)) for x in blocks)
    return (coupling * lower + gain * error) / (4 - rho)


def _sigmoid_cells(rnn: UnitaryRNN, bias: float) -> list[CellWeights]:
    if not math.isfinite(bias):
        raise ValueError(f"bias={bias!r}; pass a finite number, and a larger one for less error")
    return cell_weights(rnn, "sigmoid")
