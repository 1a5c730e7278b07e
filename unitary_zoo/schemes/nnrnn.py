r"""W = P (Lambda + T) P^T: a real Schur form whose eigenvalues are pinned near the unit circle."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.base import (
    DenseMap,
    Determinant,
    FieldClaims,
    Group,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)
from unitary_zoo.schemes._planes import is_block_diagonal, real_planes, schur_form


def _dimension(n: int) -> int:
    # From n = 3 on there are n^2 - floor(n/2) parameters. Rotating P within a block and T
    # accordingly leaves W as it is, which takes floor(n/2) directions. For n = 2 there is no P, and
    # 2 parameters are left.
    return n * n - 2 * (n // 2)


@Parametrization.register("nnrnn")
class NonNormal(Static):
    r""":math:`W = P (\Lambda + T) P^T`, real; :math:`\Lambda = \oplus_i \gamma_i R(\theta_i)`.

    P = exp(A) with A skew, :math:`R(\theta)` the rotation of the plane, T strictly lower
    triangular and zero inside the 2 x 2 blocks of :math:`\Lambda`; for odd n the last block is
    one number :math:`\gamma`. The eigenvalues are :math:`\gamma_i e^{\pm i\theta_i}`; T adds
    transients and does not move them. With T = 0 and :math:`\gamma = 1`, as at the start, W is
    orthogonal.

    Learnable: ``skew`` (n(n-1)/2), the coordinates of A, see
    :func:`unitary_zoo.linalg.skew_from_coordinates` (none for n = 2, where P would commute with
    the one block); ``angles`` (floor(n/2)), the theta; ``gains`` (ceil(n/2)), the gamma;
    ``transients``, the entries of T, block after block, then the last row of an odd n.

    The paper writes T below the diagonal. Its code applies matrices to rows, stores T above the
    diagonal and lets it reach into the blocks too; here it does not. A triangle above gives the
    same set of W, with the blocks in the reverse order. The paper starts from uniform angles and
    from A = 0, apart from rotations within the blocks, which change nothing: init="henaff".

    ``assign_`` takes orthogonal matrices in closed form, of determinant 1 if n is even: a block
    has the determinant gamma^2. For others it fits the parameters and finds a local optimum.

    Args:
        n: Size of W.
        device: Device.
        dtype: Dtype of the parameters.

    Source: Kerg, Goyette, Puelma Touzel, Gidel, Vorontsov, Bengio and Lajoie, Non-normal recurrent
    neural network (nnRNN): learning long time dependencies while improving expressivity with
    transient dynamics, 2019.
    """

    info = SchemeInfo(
        name="nnrnn",
        title="W = P (Lambda + T) P^T, Lambda of blocks gamma_i R(theta_i)",
        reference="""@inproceedings{kerg2019nonnormal,
  title     = {Non-normal Recurrent Neural Network (nnRNN): Learning Long Time Dependencies While
               Improving Expressivity with Transient Dynamics},
  author    = {Kerg, Giancarlo and Goyette, Kyle and Puelma Touzel, Maximilian and Gidel, Gauthier
               and Vorontsov, Eugene and Bengio, Yoshua and Lajoie, Guillaume},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019}
}""",
        family="static",
        claims={
            "real": FieldClaims(Group.SCHUR_FORMS, _dimension, Determinant.NEVER_NEGATIVE_IF_EVEN)
        },
        field="real",
        tolerance=Tolerance(
            16.0, "at the start, where T = 0 and gamma = 1: exp(A) and two products"
        ),
        assignable=False,
        default_init="henaff",
        deviation="not unitary by design: learned gains and a triangle T, free of bounds",
    )

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        k, d = n // 2, linalg.skew_dimension(n, "real")
        self.skew = nn.Parameter(torch.zeros(d if n > 2 else 0, **self._factory))
        self.angles = nn.Parameter(torch.zeros(k, **self._factory))
        self.gains = nn.Parameter(torch.ones(n - k, **self._factory))
        self.transients = nn.Parameter(torch.zeros(d - k, **self._factory))
        self.reset_parameters()

    def penalty(self, delta: float, decay: float = 0.0) -> Tensor:
        r""":math:`\delta \sum_i (\gamma_i - 1)^2 + \tfrac12 \lambda \|T\|_F^2`, to add to a loss.

        The second term is what a weight decay of :math:`\lambda` on ``transients`` does under SGD.

        Args:
            delta: Weight of the gains; the paper tries 1e-4 to 10.
            decay: lambda, the weight of T.

        Returns:
            A scalar.
        """
        gains, transients = self._promoted(self.gains), self._promoted(self.transients)
        return delta * (gains - 1).square().sum() + decay / 2 * transients.square().sum()

    def schur(self) -> tuple[Tensor, Tensor]:
        r"""Return P and :math:`\Lambda + T`, each (n, n)."""
        angles, gains = self._promoted(self.angles), self._promoted(self.gains)
        lower = schur_form(angles, gains, self._promoted(self.transients))
        if self.n < 3:
            return linalg.identity_like(lower), lower
        a = linalg.skew_from_coordinates(self._promoted(self.skew), self.n, "real")
        return linalg.expm_skew(a), lower

    def _prepare(self) -> LinearMap:
        p, lower = self.schur()
        return DenseMap(p @ lower @ p.mT)

    def _nearest(self, w: Tensor) -> Tensor:
        return self._in_own_field(w)

    def _initialize(self, init: str, generator: torch.Generator | None) -> None:
        self._assign(self._sample(init, generator))

    def _assign(self, w: Tensor) -> None:
        if is_block_diagonal(w):
            return self._assign_orthogonal(w)
        sign = None if self.n % 2 else 1
        start = linalg.polar_with_determinant(w, sign)
        self._assign_orthogonal(start)
        if not (start - w).norm() <= 1e-3:  # not orthogonal, or of determinant -1 with an even n
            super()._assign(w)

    def _assign_orthogonal(self, w: Tensor) -> None:
        """Set the parameters to an orthogonal or block-diagonal W."""
        n, k = self.n, self.n // 2
        p = linalg.identity_like(w)
        if not is_block_diagonal(w):
            p = real_planes(w)
        form = p.mT @ w @ p
        i = 2 * torch.arange(k, device=w.device)
        # A block that is no rotation gives the nearest multiple of one.
        x, y = form[i, i] + form[i + 1, i + 1], form[i + 1, i] - form[i, i + 1]
        self.angles.copy_(torch.atan2(y, x))
        self.gains.copy_(torch.cat([torch.hypot(x, y) / 2, form[2 * k :, -1]]))
        self.transients.zero_()
        if n > 2:
            self.skew.copy_(linalg.skew_to_coordinates(linalg.log_unitary(p)))
