"""Steps of low rank from the matrix of the last step, which projunn_d and projunn_t share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import ProjectedFromBase, Tolerance
from unitary_zoo.errors import check_int

REFERENCE = """@inproceedings{kiani2022projunn,
  title     = {{projUNN}: Efficient Method for Training Deep Networks with Unitary Matrices},
  author    = {Kiani, Bobak and Balestriero, Randall and LeCun, Yann and Lloyd, Seth},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2022}
}"""

TOLERANCE = Tolerance(
    16.0,
    "up to n/4 steps between two Newton-Schulz steps add a few eps each, in random directions",
)

_SAMPLERS = ("lsi", "column")


class LowRank(ProjectedFromBase):
    r""":math:`W \leftarrow W f(W^H X_k)`, :math:`X_k` of rank k near the optimizer's step X.

    Args:
        n: Size of W.
        rank: k; with k >= n, X is taken whole.
        sampler: "lsi" or "column", see :func:`unitary_zoo.linalg.low_rank_factors`. The draws are
            seeded by the number of steps alone.
        options: ``field``, ``determinant``, ``device`` and ``dtype``.

    Raises:
        ValueError: ``rank`` is less than 1, or ``sampler`` unknown.
        TypeError: ``rank`` is not an int.
    """

    steps: Tensor
    _whole_order: float  # retraction order of the step that takes X whole

    def __init__(self, n: int, *, rank: int = 1, sampler: str = "lsi", **options: Any) -> None:
        name = self.info.name
        check_int(f"{name}: rank", rank, 1)
        if sampler not in _SAMPLERS:
            raise ValueError(f"{name}: sampler={sampler!r}; pass one of {list(_SAMPLERS)}")
        super().__init__(n, **options)
        self.rank, self.sampler = rank, sampler
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64, device=self.device))
        if rank >= n:
            self.info = replace(self.info, retraction_order=self._whole_order)

    def _violation(self, x: Tensor) -> Tensor:
        # In the mean of two models the weight equals the base, but neither is unitary.
        gap = linalg.frobenius_gap(x)
        # The roundings of the steps since the last refresh do not average out.
        limit = self.info.tolerance.factor * self.n * linalg.eps(self.weight.dtype)
        return self._displacement(x).norm() + (gap - limit).clamp(min=0)

    @abstractmethod
    def _retraction(self, m: Tensor) -> Tensor:
        """Return the unitary f(M), differentiable; f(M) = I + (M - M^H) / 2 to first order."""

    def _project(self, x: Tensor) -> Tensor:
        w = self._base_matrix()
        return w @ self._retraction(w.mH @ self._displacement(x))

    def _nearest_member(self, x: Tensor) -> Tensor:
        return self._nearest_in_group(linalg.double(x))

    def _stepped(self) -> Tensor:
        """W f(W^H X_k), where X is the change of the weight since the last step."""
        self.steps += 1
        count = int(self.steps)
        if self.rank >= self.n:
            w = self._project(self._stored_matrix())
        else:
            # Its own generator makes the draw the same on every process and after a resumption.
            generator = torch.Generator().manual_seed(count)
            x = self._displacement(self._stored_matrix())
            a, b = linalg.low_rank_factors(x, self.rank, self.sampler, generator)
            w = linalg.low_rank_retraction(self._base_matrix(), a, b, self._retraction)
        # Every step adds its rounding. The refresh costs about as much as the steps between two.
        if count % max(1, self.n // (4 * self.rank)) == 0:
            w = linalg.newton_schulz_step(w)
        return w

    def _reset_state(self) -> None:
        self.steps.zero_()
