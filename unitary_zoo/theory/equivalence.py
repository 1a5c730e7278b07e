r"""Theorem 1: every contractive ReLU network equals a unitary one with at most twice the states."""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.errors import is_int
from unitary_zoo.layers import UnitaryRNN
from unitary_zoo.theory._embedding import CellWeights, cell_weights, embedded_network
from unitary_zoo.theory.dilation import check_non_expansive, halmos_dilation
from unitary_zoo.theory.input_check import InputCheck


def unitary_equivalent(
    rnn: nn.RNN | UnitaryRNN,
    input_bound: float,
    steps: int | None = None,
    minimal: bool = False,
    *,
    initial_bound: float = 0.0,
    check_inputs: bool = True,
) -> UnitaryRNN:
    r""":math:`h' = \mathrm{ReLU}(W_u h + [V; 0] x + [b; -\beta])`, :math:`W_u` orthogonal.

    The given network is :math:`h' = \mathrm{ReLU}(W h + V x + b)` with :math:`\rho = \|W\|_2 < 1`
    and inputs :math:`\|x_t\|_2 \le M`. ReLU is 1-Lipschitz and 0 at 0, so
    :math:`\|h_t\| \le B = \max(\|h_{-1}\|, g / (1 - \rho))` with :math:`g = \|V\| M + \|b\|`. Over
    T steps, :math:`\rho \le 1` is enough, and
    :math:`B = \max(\|h_{-1}\|, \rho^T \|h_{-1}\| + g \sum_{t<T} \rho^t)`. :math:`W_u` is the
    Halmos dilation of W with the lower blocks :math:`[W_3, W_4]`, and
    :math:`\beta_i = B \|W_{3,i}\|_2`. While the new, lower states are 0, their pre-activations are
    :math:`W_{3,i} h - \beta_i \le 0`. So they stay 0, and the upper states are those of the given
    network. The B of a layer bounds the input of the next one.

    **What is exact.** W, V, b and the initial states are copied bit by bit, and B covers the
    rounding of states and pre-activations in the worst case. So the new states are exactly 0 at
    any length (up to ``steps``), and their products add zeros. The native scan sums in a fixed
    order: there the shared states equal those of a given ``UnitaryRNN`` bit by bit. Other backends
    may sum in another order when there are more terms, and ``nn.RNN`` adds its two biases one by
    one. Then the states differ by rounding: by at most
    :math:`\gamma (\||W|\| B + \||V|\| M + \|b\|) / (1 - \rho)` at any time, or with T in place
    of :math:`1 / (1 - \rho)`, where :math:`\gamma` is a few (n + m) eps.

    **Training.** The result is an ordinary ``UnitaryRNN`` of the scheme ``projunn_d`` with full
    rank: an SVD projection after each step, as in the theorem's source. It needs
    ``unitary_zoo.attach``. Its new units are dead: they have no gradient until something switches
    them on. The check of the inputs keeps the bounds that the result was built with.

    Args:
        rnn: ReLU network with any number of layers and directions, float32 or float64; a
            ``UnitaryRNN`` of a real scheme, e.g. ``svd_projection`` with ``contractive=True``.
            It is not changed.
        input_bound: M, a bound on the Euclidean norm of the input at each step.
        steps: T, the length of the longest sequence. It is needed if :math:`\rho = 1`, or so near 1
            that rounding could make the states grow. None means any length.
        minimal: Take :math:`n + \mathrm{rank}(I - W^TW)` states instead of 2n. Cells that need
            fewer than another one get decoupled units, which stay 0.
        initial_bound: A bound on the norm of each cell's initial state that is given at run time,
            as ``torch.nn.functional.pad(h_0, (0, result.hidden_size - rnn.hidden_size))``. Learned
            initial states are accounted for without it.
        check_inputs: Raise :class:`BoundExceededError` for a sequence beyond a bound, by a
            forward pre-hook. Compiled, traced or transformed calls are not checked.

    Returns:
        The unitary network, with dtype, device and options of ``rnn``, but always with a bias. In
        each layer and direction the first ``rnn.hidden_size`` states are those of ``rnn``.

    Raises:
        ValueError: A norm exceeds 1, or reaches it without ``steps``; another nonlinearity,
            field or dtype; a parameter that is not finite; dropout=1; a bound that is negative,
            not finite, or overflows the dtype.
        TypeError: ``rnn`` is neither an ``nn.RNN`` nor a ``UnitaryRNN``.

    Source: Emami, Sahraee-Ardakan, Rangan and Fletcher, Input-output equivalence of unitary and
    contractive RNNs, 2019. The bias there is -B for every new unit; the bounds per unit, for
    several layers, for finite T and for rounding are ours.
    """
    cells = cell_weights(rnn, "relu")
    input_bound = _checked_bound("input_bound", input_bound)
    initial_bound = _checked_bound("initial_bound", initial_bound)
    if steps is not None and not (is_int(steps) and steps >= 1):
        raise ValueError(f"steps={steps!r}; pass the number of steps of the longest sequence")
    limits = _state_bounds(rnn, cells, input_bound, initial_bound, steps)
    dilations = [halmos_dilation(cell.w, minimal) for cell in cells]
    triples = zip(dilations, cells, limits, strict=True)
    lower_biases = [_lower_bias(*triple) for triple in triples]
    network = embedded_network(rnn, cells, dilations, lower_biases, "relu")
    if check_inputs:
        check = InputCheck(rnn.hidden_size, input_bound, initial_bound, steps)
        network.register_forward_pre_hook(check, with_kwargs=True)
    return network


def _lower_bias(w: Tensor, cell: CellWeights, limit: float) -> Tensor:
    """-B times the norms of the lower rows of W_u, lowered by what rounding could add."""
    n = len(cell.w)
    lengths = linalg.double(w[n:, :n]).norm(dim=1)
    # The factor covers the rounding of the pre-activation, of the bias and of B; tiny covers
    # underflow.
    return (-(1 + 4 * cell.rounding) * limit * lengths).to(w) - torch.finfo(w.dtype).tiny


def _state_bounds(
    rnn: nn.RNN | UnitaryRNN,
    cells: list[CellWeights],
    input_bound: float,
    initial_bound: float,
    steps: int | None,
) -> list[float]:
    """B of every cell."""
    directions = 2 if rnn.bidirectional else 1
    limits: list[float] = []
    bound = input_bound
    for layer in range(rnn.num_layers):
        for cell in cells[layer * directions : (layer + 1) * directions]:
            limits.append(_state_bound(cell, bound, initial_bound, steps))
        # In training, dropout scales the states that it keeps.
        bound = math.hypot(*limits[-directions:]) / (1 - rnn.dropout)
    return limits


def _state_bound(cell: CellWeights, input_bound: float, start: float, steps: int | None) -> float:
    """B for computed states, which includes the rounding of each step in the worst case."""
    gamma = cell.rounding
    norm = check_non_expansive(cell.w, f"W of {cell.where}")
    rho = norm + gamma * _spectral_norm(cell.w.abs())
    # Twice gamma, because the check of the inputs rounds too.
    gain = (_spectral_norm(cell.v) + 2 * gamma * _spectral_norm(cell.v.abs())) * input_bound
    gain += (1 + gamma) * float(linalg.double(cell.b).norm())
    if cell.h0 is not None:
        start = max(start, float(linalg.double(cell.h0).norm()))
    start *= 1 + gamma
    if steps is None:
        if not rho < 1:
            raise ValueError(
                f"W of {cell.where} has norm {norm:.9g}, {rho:.9g} with the rounding of "
                f"{cell.w.dtype}, and the limit is below 1 for sequences of any length; pass "
                "steps=, the length of the longest one, or clip the singular values below 1"
            )
        limit = max(start, gain / (1 - rho))
    else:
        limit = max(start, _bound_after(steps, rho, gain, start))
    largest = torch.finfo(cell.w.dtype).max
    if not limit * (1 + 4 * gamma) < largest:
        raise ValueError(
            f"the states of {cell.where} are bounded by {limit:.3g} only, and {cell.w.dtype} ends "
            f"at {largest:.3g}; pass smaller input_bound, initial_bound or steps, or .double()"
        )
    return limit


def _bound_after(steps: int, rho: float, gain: float, start: float) -> float:
    """b_T = rho^T start + gain (1 + rho + ... + rho^(T-1)), without cancellation near rho = 1."""
    exponent = steps * math.log(max(rho, sys.float_info.min))
    if exponent > 700:  # exp(exponent) overflows
        return math.inf if gain or start else 0.0
    total = steps if rho == 1 else math.expm1(exponent) / (rho - 1)
    return math.exp(exponent) * start + gain * total


def _spectral_norm(x: Tensor) -> float:
    return float(torch.linalg.matrix_norm(linalg.double(x), 2))


def _checked_bound(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is {value!r}; pass a number")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}={value!r}; pass a finite number of at least 0")
    return float(value)
