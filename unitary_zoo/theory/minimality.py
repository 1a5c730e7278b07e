r"""Theorem 2: some contractive ReLU networks need twice their states to be unitary.

What is proved here is less than what the source states: see :func:`unitary_rank_certificate`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.errors import is_int
from unitary_zoo.layers import UnitaryRNN
from unitary_zoo.theory._embedding import cell_weights


def forgetting_rnn(n: int, decay: float = 0.5) -> nn.RNN:
    r""":math:`h' = \mathrm{ReLU}(\lambda h + x)`: n equal channels that forget.

    It proves that Theorem 1 is sharp. For inputs of nonnegative entries the network is linear, with
    the transfer function :math:`(1 - \lambda z^{-1})^{-1} I_n` of McMillan degree n. No unitary
    network with a fixed set of active units has this transfer function and fewer than 2n states;
    see :func:`unitary_rank_certificate`. The decays have to be equal: for four channels with the
    decays .3, .5, .7, .9 one inactive unit is enough.

    Args:
        n: Number of states, inputs and outputs.
        decay: :math:`\lambda` in (0, 1).

    Returns:
        An ``nn.RNN`` without bias, float64.

    Raises:
        ValueError: n is less than 1, or ``decay`` is outside (0, 1).
    """
    if not is_int(n) or n < 1:
        raise ValueError(f"n={n!r}; pass an int of at least 1")
    if not 0 < decay < 1:
        raise ValueError(f"decay={decay!r}; pass a number in (0, 1), for a contraction")
    # Built on the meta device, which draws no random numbers.
    rnn = nn.RNN(n, n, nonlinearity="relu", bias=False, dtype=torch.float64, device="meta")
    rnn = rnn.to_empty(device="cpu")
    eye = torch.eye(n, dtype=torch.float64)
    rnn.load_state_dict({"weight_ih_l0": eye, "weight_hh_l0": decay * eye})
    return rnn


@dataclass(frozen=True)
class RankCertificate:
    r"""The result of :func:`unitary_rank_certificate` on one region of linearity.

    Attributes:
        active: r, the number of active units.
        inactive: Number of the other units.
        corank: :math:`\mathrm{rank}(I - MM^T)`; at most ``inactive`` if W is orthogonal.
        needed: Number of inactive units that every equivalent unitary network has at least.
    """

    active: int
    inactive: int
    corank: int
    needed: int

    @property
    def states(self) -> int:
        """The least number of states of an equivalent unitary network: active + needed."""
        return self.active + self.needed


@torch.no_grad()
def unitary_rank_certificate(
    rnn: nn.RNN | UnitaryRNN, active: Tensor | None = None
) -> RankCertificate:
    r""":math:`\mathrm{rank}(I - MM^T) \ge \max_{|\lambda| < 1} \dim \ker (M - \lambda I)`.

    On a region of inputs where the set of the r active units is fixed, the network is linear and
    time-invariant, :math:`h' = M h + V_A x + b_A`, where M is the block of W of the active units;
    the read-out is linear. Assume that this system is controllable and observable. Then every
    unitary network that has the same outputs on that region, and a fixed active set there, has at
    least r active units. It has at least as many inactive ones as any one stable eigenvalue of M
    has independent eigenvectors.

    *Proof.* Let :math:`W_u` be the orthogonal matrix of the unitary network, :math:`M_1` its block
    of the active units, and s the number of the inactive ones. :math:`I - M_1^T M_1` is the Gram
    matrix of the rows below :math:`M_1`, so its rank is at most s. The same holds on the reachable
    subspace R, which :math:`M_1` maps into itself. Take an orthonormal basis of R that begins with
    one of its unobservable part N. In it the restriction is :math:`A = [[*, *], [0, M']]`, and M'
    is similar to M, since both are minimal realisations of one transfer function; so R has at least
    dimension r. :math:`I - AA^T` has the same rank as :math:`I - A^TA`, and its lower right block
    is :math:`I - M'M'^T`, which therefore has rank at most s. On a space of left eigenvectors of M'
    of one eigenvalue :math:`|\lambda| < 1` that block is positive definite, because
    :math:`v^H (I - M'M'^T) v = (1 - |\lambda|^2) \|v\|^2`. So s is at least the dimension of that
    space, which is the same for similar matrices.

    For :func:`forgetting_rnn` M is :math:`\lambda I`, so n + n states are needed. The theorem of
    the source does not assume a fixed active set. This proof does not exclude networks whose set of
    active units changes in time.

    Args:
        rnn: ReLU network of one layer and one direction, real. All its states are read out.
        active: Mask (n) of the active units; None means all.

    Returns:
        Ranks and dimensions; values within 16 n eps count as zero.

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
    corank = int((torch.linalg.eigvalsh(eye - m @ m.mT) > tiny).sum())
    spectrum = torch.linalg.eigvals(m)
    stable = spectrum[spectrum.abs() < 1 - tiny]
    needed = 0
    if len(stable):
        shifted = m - stable[:, None, None] * eye
        needed = int((torch.linalg.svdvals(shifted) <= tiny).sum(-1).max())
    return RankCertificate(r, n - r, corank, needed)


def _recurrent_matrix(rnn: nn.RNN | UnitaryRNN) -> Tensor:
    """W of the only cell."""
    cells = cell_weights(rnn, "relu")
    if len(cells) > 1:
        raise ValueError(
            f"the network has num_layers={rnn.num_layers} and bidirectional={rnn.bidirectional}; "
            "the theorem is about one cell, so pass a network of one layer and direction"
        )
    return cells[0].w
