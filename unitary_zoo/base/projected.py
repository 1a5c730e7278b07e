"""The family that stores W itself and returns it to the group after every step."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo._torch import Convert, max_entry, traceable_check
from unitary_zoo.base.linear_map import DenseMap, LinearMap
from unitary_zoo.base.parametrization import Parametrization
from unitary_zoo.errors import NotProjectedError


def _check_projected(violation: Tensor, limit: float, name: str) -> None:
    worst = max_entry(violation)
    if not worst <= limit:
        raise NotProjectedError(
            f"{name}: the stored weight is {worst:.3g} off the group (limit {limit:.3g}), so it "
            "was changed without a projection; call unitary_zoo.attach(model, optimizer) before "
            "training, unitary_zoo.retract_(model) on a moving average, or step_() after every "
            "optimizer step of your own"
        )


_checked = traceable_check(
    "checked", "(Tensor x, Tensor violation, float limit, str name) -> Tensor", _check_projected
)


class Projected(Parametrization):
    r"""W is stored itself, and :meth:`step_` returns it to the group after each optimizer step.

    Reading W after a change that left the group raises :class:`NotProjectedError`. While an
    attached optimizer is inside its step (a closure evaluated several times), reading gives the
    projection of the stored matrix, differentiably.

    A scheme defines ``_project``. It may also define which point of the group is nearest to a
    matrix of any origin (``_nearest_member``), with which matrix a step ends (``_stepped``), and
    how far from the group the stored matrix is (``_violation``).
    """

    _guarded = True

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self.weight = self._free_matrix()
        self._started = False

    @abstractmethod
    def _project(self, x: Tensor) -> Tensor:
        """Return the point of the group nearest to ``x`` (n, n), differentiable."""

    def _nearest_member(self, x: Tensor) -> Tensor:
        """Return the point of the group nearest to ``x`` (n, n), a matrix of any origin."""
        return self._project(x)

    def _stepped(self) -> Tensor:
        """Return the matrix with which a step ends, from the one the optimizer has stored."""
        return self._nearest_member(self._stored_matrix())

    def _stored_matrix(self) -> Tensor:
        # A copy: a matrix that was read must not change with the next step.
        return linalg.from_real_parts(self._promoted(self.weight).clone(), self.field)

    def _violation(self, x: Tensor) -> Tensor:
        """Return the Frobenius distance of ``x`` from the group, zero but for rounding on it."""
        return (x.mH @ x - linalg.identity_like(x)).norm()

    def _violation_limit(self, eps: float | None = None) -> float:
        # Rounding the entries of a unitary matrix moves W^H W by at most sqrt(n) eps.
        return 4 * math.sqrt(self.n) * (eps or linalg.eps(self.weight.dtype))

    def _prepare(self) -> LinearMap:
        self._check_started()
        x = self._stored_matrix()
        if not self._stepping:
            # The data decide: fused optimizers and writes through .data escape the version counter.
            violation = self._violation(x.detach())
            x = _checked(x, violation, self._violation_limit(), self.info.name)
        project = self._stepping or linalg.is_low_precision(self.weight.dtype)
        return DenseMap(self._project(x) if project else x)

    def _nearest(self, w: Tensor) -> Tensor:
        return self._nearest_member(self._in_own_field(w))

    def _assign(self, w: Tensor) -> None:
        self._store(w)

    def _store(self, w: Tensor) -> None:
        """Write ``w`` (n, n), a matrix on the group."""
        self.weight.copy_(linalg.view_as_real_parts(w))

    def _begin_step(self) -> None:
        """Until the step ends, W is read as the projection of what is stored."""
        self._transform_gradient()

    def _transform_gradient(self) -> None:
        """Replace the gradient before the optimizer uses it; does nothing for most schemes."""

    def _step(self) -> None:
        """Return what the optimizer has stored to the group."""
        self._store(self._stepped())

    def _retract(self) -> None:
        """Return what is stored, a matrix of any origin, to the group."""
        self._store(self._nearest_member(self._stored_matrix()))

    def _convert(self, convert: Convert, convert_tensors: Callable[[Convert], None]) -> None:
        dtype, on_group = self.weight.dtype, False
        if self.device.type != "meta":
            violation = self._violation(self._stored_matrix().detach())
            on_group = bool(violation <= self._violation_limit())
        super()._convert(convert, convert_tensors)
        if self.weight.dtype != dtype and on_group:
            # W is unitary to the old precision only, so it is projected again in the new one.
            with torch.no_grad():
                self._store(self._project(self._stored_matrix()))

    @torch.no_grad()
    def _regain_precision(self, state: Mapping[str, Any], prefix: str) -> None:
        given = state.get(prefix + "weight")
        if not isinstance(given, Tensor):
            return
        x = self._stored_matrix()
        violation = float(self._violation(x))
        # A double may hold what was computed in single precision. A weight that was changed without
        # a projection is off by more, and stays so for the reader to find.
        rounded = self._violation_limit(max(linalg.eps(given.dtype), linalg.eps(torch.float32)))
        if self._violation_limit() < violation <= rounded:
            self._store(self._project(x))
