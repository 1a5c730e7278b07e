"""Projected schemes that keep the matrix of their last step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base.projected import Projected
from unitary_zoo.base.sharding import changed_whole, whole


class ProjectedFromBase(Projected):
    """A projected scheme that keeps, beside the weight, the matrix that its last step left.

    A step thus knows where it started, and a read detects in O(n^2) a weight that was changed
    without a step. ``base`` holds that matrix as real parts, in float32 or better.
    """

    base: Tensor
    _unitary_buffers: tuple[str, ...] = ("base",)

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self.register_buffer("base", self._promoted(self.weight.detach()).clone())

    @abstractmethod
    def _nearest_member(self, x: Tensor) -> Tensor:
        """Return the matrix nearest to ``x`` (n, n) that a step could leave."""

    @abstractmethod
    def _stepped(self) -> Tensor:
        """Return the matrix with which a step ends; see :meth:`_base_matrix`."""

    @abstractmethod
    def _violation(self, x: Tensor) -> Tensor:
        """Return how far ``x`` is from what the last step left: ``_displacement(x).norm()``."""

    def _is_feasible(self, w: Tensor) -> bool:
        """Whether ``w`` (n, n) is a matrix that a step can leave; asked when one is loaded."""
        return bool(linalg.unitarity_defect(w) <= 2 * self.info.tolerance(self.n, w.dtype))

    def _base_matrix(self) -> Tensor:
        """Return the matrix that the last step left, in full precision."""
        return linalg.from_real_parts(self.base, self.field)

    def _displacement(self, x: Tensor) -> Tensor:
        """Return ``x`` minus the weight that the last step left."""
        # That weight is the base, rounded where the weight has fewer digits.
        left = self._promoted(self.base.to(self.weight.dtype))
        return x - linalg.from_real_parts(left, self.field)

    def _store(self, w: Tensor) -> None:
        self.base.copy_(linalg.view_as_real_parts(w))
        self.weight.copy_(self.base)

    @torch.no_grad()
    def _after_loading(self, state: Mapping[str, Any], prefix: str, errors: list[str]) -> None:
        super()._after_loading(state, prefix, errors)
        weight, base = (state.get(prefix + name) for name in ("weight", "base"))
        if not isinstance(weight, Tensor) or self.device.type == "meta":
            return
        with changed_whole(self):
            if base is None:  # plain weights
                self.base.copy_(self.weight)
                self._restore_rounded("base")
                self.weight.copy_(self.base)
            elif torch.equal(whole(weight), base.to(weight.dtype)):
                self.weight.copy_(self.base)  # the base may have been restored in a new precision
        if not self._is_feasible(self._base_matrix()):
            errors.append(
                f"{self.info.name}: {prefix}base has unitarity defect "
                f"{float(linalg.unitarity_defect(self._base_matrix())):.3g}; load the state of "
                "this scheme, or give the matrix to assign_(W, nearest=True)"
            )
