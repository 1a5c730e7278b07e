r"""Theorem 2: some contractive ReLU networks are no unitary ones with fewer than twice the states.

Proved here is less than stated there: see :func:`unitary_rank_certificate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.cells import UnitaryRNNCell
from unitary_zoo.layers import UnitaryRNN
from unitary_zoo.theory._embedding import cells_of


def contractive_witness(n: int, decay: float = 0.5) -> nn.RNN:
    r""":math:`h' = \mathrm{ReLU}(\lambda h + x)`: n equal channels that forget.

    For inputs of nonnegative entries it is linear, with the transfer function
    :math:`(1 - \lambda z^{-1})^{-1} I_n` of McMillan degree n, and no unitary network with a
    fixed set of active units has that with fewer than 2n states; see
    :func:`unitary_rank_certificate`. Channels of distinct decays would not do: four with .3, .5,
    .7, .9 have a realisation that is orthogonal but for one inactive unit.

    Args:
        n: States, inputs and outputs.
        decay: :math:`\lambda` in (0, 1).

    Returns:
        An ``nn.RNN`` without bias, float64.

    Raises:
        ValueError: n is less than 1 or ``decay`` outside (0, 1).
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n={n!r}; pass an int of at least 1")
    if not 0 < decay < 1:
        raise ValueError(f"decay={decay!r}; pass a number in (0, 1), for a contraction")
    # On the meta device it draws no random numbers.
    rnn = nn.RNN(n, n, nonlinearity="relu", bias=False, dtype=torch.float64, device="meta")
    rnn = rnn.to_empty(device="cpu")
    eye = torch.eye(n, dtype=torch.float64)
    rnn.load_state_dict({"weight_ih_l0": eye, "weight_hh_l0": decay * eye})
    return rnn


@dataclass(frozen=True)
class RankCertificate:
    r"""What :func:`unitary_rank_certificate` finds on a region of linearity.

    Attributes:
        active: r, the number of active units.
        inactive: The number of the others.
        leaks: :math:`\mathrm{rank}(I - MM^T)`; at most ``inactive`` if W is orthogonal.
        needed: The inactive units that every unitary network needs.
    """

    active: int
    inactive: int
    leaks: int
    needed: int

    @property
    def states(self) -> int:
        """R + needed: fewer states no unitary network has."""
        return self.active + self.needed


@torch.no_grad()
def unitary_rank_certificate(
    rnn: nn.RNN | UnitaryRNN, active: Tensor | None = None
) -> RankCertificate:
    r""":math:`\mathrm{rank}(I - MM^T) \ge \max_{|\lambda| < 1} \dim \ker (M - \lambda I)`.

    M is the block of W of the r units that are active on some region of inputs, where the network
    is linear and time-invariant, :math:`h' = M h + V_A x + b_A`; its read-out is linear. If this is
    controllable and observable, then a unitary network with the same outputs on that
    region, and any fixed active set there, has at least r active units, and at least as many
    inactive ones as a stable eigenvalue of M has eigenvectors.

    *Proof.* Let :math:`M_1` be the block of the active units of that network, :math:`W_u`
    orthogonal, s the number of inactive ones. :math:`I - M_1^T M_1` is the Gram matrix of
    the rows below, so its rank is at most s; so it is on the reachable subspace R, which
    :math:`M_1` maps into itself. In an orthonormal basis of the unobservable part N of R and its
    complement in R the restriction is :math:`A = [[*, *], [0, M']]`, with M' similar to M, since
    both are minimal realisations of one transfer function: R has dimension r at least. Now
    :math:`I - AA^T` has the rank of :math:`I - A^TA`, and its lower right block is
    :math:`I - M'M'^T`: at most of rank s. On a space of left eigenvectors of M', of one
    :math:`|\lambda| < 1`, that block is positive definite, for :math:`v^H (I - M'M'^T) v =
    (1 - |\lambda|^2) \|v\|^2`. So s is at least the dimension of that space, and similar matrices
    have it in common.

    For :func:`contractive_witness` M is :math:`\lambda I`, and the network needs n + n states. The
    theorem of the source has no proviso of a fixed active set. Networks whose units take turns
    to be active, driven by a clock of their own, are not excluded by this proof.

    Args:
        rnn: One layer, one direction, ReLU, real; all that it outputs is read.
        active: Mask (n) of the active units; None is all.

    Returns:
        Ranks and dimensions to rounding: what is within 16 n eps counts as zero.

    Raises:
        ValueError: More than one cell, another nonlinearity, or a mask of another size, or empty.
        TypeError: ``rnn`` is neither an ``nn.RNN`` nor a ``UnitaryRNN``.

    Source: Emami, Sahraee-Ardakan, Rangan and Fletcher, Input-output equivalence of unitary and
    contractive RNNs, 2019, state the theorem; the proof for fixed active sets is ours.
    """
    w = _recurrent_matrix(rnn)
    n = len(w)
    if active is None:
        active = torch.ones(n, dtype=torch.bool, device=w.device)
    if active.dtype != torch.bool or active.shape != (n,) or not bool(active.any()):
        raise ValueError(
            f"active is {active.dtype} of shape {tuple(active.shape)}; pass a bool mask of shape "
            f"({n},) with at least one active unit"
        )
    m = linalg.double(w[active][:, active])
    r, tiny = len(m), 16 * n * linalg.eps(w.dtype)
    eye = linalg.identity_like(m)
    leaks = int((torch.linalg.eigvalsh(eye - m @ m.mT) > tiny).sum())
    spectrum = torch.linalg.eigvals(m)
    stable = spectrum[spectrum.abs() < 1 - tiny]
    needed = 0
    if len(stable):
        shifted = m - stable[:, None, None] * eye
        needed = int((torch.linalg.svdvals(shifted) <= tiny).sum(-1).max())
    return RankCertificate(r, n - r, leaks, needed)


def smallest_twin_error(
    rnn: nn.RNN | UnitaryRNN,
    states: int,
    *,
    length: int = 12,
    batch: int = 24,
    trials: int = 3,
    steps: int = 100,
    seed: int = 0,
) -> float:
    r""":math:`\min \|Y_u - Y\|_F / \|Y\|_F`: how near a unitary network of ``states`` comes to one.

    A search, and so no proof: the least error that L-BFGS finds, from ``trials`` starts in each of
    the two components of O(m), in W, V, b, the initial state and an affine read-out, on inputs
    uniform in [0, 1]. For one state W is 1 or -1, and both are tried.

    What the theorem excludes is an error of 0. Between n and 2n states the error can be as small
    as one likes: with decays :math:`\lambda \pm \delta` for a common :math:`\lambda` two channels
    need one inactive unit between them, and weights that grow like :math:`1/\delta`. A longer
    search finds its way there; with fewer states than n + 1 it does not.

    Args:
        rnn: One layer, one direction, ReLU, real. Its outputs are what is fitted.
        states: m.
        length: Steps of the inputs.
        batch: Sequences.
        trials: Starts for each determinant.
        steps: Iterations of L-BFGS from each.
        seed: Of the inputs and the starts; the global random state is left alone.

    Returns:
        The error relative to the norm of the outputs.

    Raises:
        ValueError, TypeError: As :func:`unitary_rank_certificate`.
    """
    _recurrent_matrix(rnn)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.rand(length, batch, rnn.input_size, dtype=torch.float64)
        like = next(rnn.parameters())
        with torch.no_grad():
            y = rnn(x.to(like))[0].to(x)
        # SO(m) and the other component: a fit by steps does not cross.
        return min(_fit(x, y, states, special, steps) for special in (True, False) * trials)


def _fit(x: Tensor, y: Tensor, states: int, special: bool, steps: int) -> float:
    """The relative error that L-BFGS reaches from one start."""
    # W = exp(A) B with the base B drawn once: static, and each start has coordinates of its own.
    cell = UnitaryRNNCell(
        x.shape[-1],
        states,
        "lie_exp",
        "relu",
        dtype=x.dtype,
        learn_h0=True,
        special=special,
        rebase_every=None,
    )
    cell.recurrent.reset_parameters("haar")
    readout = nn.Linear(states, y.shape[-1], dtype=x.dtype)
    model = nn.ModuleList([cell, readout])
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=steps, tolerance_grad=0, tolerance_change=0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip
    scale = y.square().sum()

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = (readout(cell.scan(x)) - y).square().sum() / scale
        error.backward()
        return error

    with torch.enable_grad():
        optimizer.step(cast(Callable[[], float], loss))
        return float(loss().detach()) ** 0.5


def _recurrent_matrix(rnn: nn.RNN | UnitaryRNN) -> Tensor:
    """W of the only cell."""
    cells = cells_of(rnn, "relu")
    if len(cells) > 1:
        raise ValueError(
            f"the network has num_layers={rnn.num_layers} and bidirectional={rnn.bidirectional}; "
            "the theorem is about one cell, so pass a network of one layer and direction"
        )
    return cells[0].w
