"""Search for the unitary network of a given size whose outputs are nearest to a network's."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from unitary_zoo import UnitaryRNN, UnitaryRNNCell, theory


def best_unitary_fit_error(
    rnn: nn.RNN | UnitaryRNN,
    states: int,
    *,
    length: int = 12,
    batch: int = 24,
    trials: int = 3,
    steps: int = 100,
    seed: int = 0,
) -> float:
    r""":math:`\min \|Y_u - Y\|_F / \|Y\|_F` over the unitary networks of ``states`` states.

    This is the result of a search and proves nothing: the least error that L-BFGS finds from
    ``trials`` starts in each of the two components of O(m), in W, V, b, the initial state and an
    affine read-out, on inputs uniform in [0, 1]. For one state W is 1 or -1, and both are tried.

    Theorem 2 excludes an error of 0. With n + 1 to 2n - 1 states the error can be arbitrarily
    small: two channels with the decays :math:`\lambda \pm \delta` share one inactive unit, with
    weights that grow like :math:`1/\delta`, and approximate two channels of the decay
    :math:`\lambda`. A longer search comes nearer to that; with n states or fewer it does not.

    Args:
        rnn: ReLU network of one layer and one direction, real. Its outputs are fitted.
        states: m.
        length: Number of steps of the inputs.
        batch: Number of sequences.
        trials: Number of starts for each determinant.
        steps: Iterations of L-BFGS from each start.
        seed: Seed of the inputs and the starts; the global random state is left alone.

    Returns:
        The error relative to the norm of the outputs.

    Raises:
        ValueError, TypeError: As :func:`unitary_zoo.theory.unitary_rank_certificate`.
    """
    theory.unitary_rank_certificate(rnn)  # refuses networks that the theorem is not about
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.rand(length, batch, rnn.input_size, dtype=torch.float64)
        like = next(rnn.parameters())
        with torch.no_grad():
            y = rnn(x.to(like))[0].to(x)
        # Both components of O(m), because gradient steps do not cross from one to the other.
        return min(_fit(x, y, states, sign, steps) for sign in (1, -1) * trials)


def _fit(x: Tensor, y: Tensor, states: int, determinant: int, steps: int) -> float:
    """The relative error that L-BFGS reaches from one start."""
    # W = exp(A) B with the base B drawn once, so that each start has coordinates of its own.
    cell = UnitaryRNNCell(
        x.shape[-1],
        states,
        "lie_exp",
        "relu",
        dtype=x.dtype,
        learn_h0=True,
        determinant=determinant,
        rebase_every=None,
    )
    cell.recurrent.reset_parameters("haar")
    readout = nn.Linear(states, y.shape[-1], dtype=x.dtype)
    model = nn.ModuleList([cell, readout])
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=steps,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    scale = y.square().sum()

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = (readout(cell.scan(x)) - y).square().sum() / scale
        error.backward()
        return error

    with torch.enable_grad():
        optimizer.step(cast(Callable[[], float], loss))
        return float(loss().detach()) ** 0.5
