"""The family W = f(A) B, where A moves into the base B after every K-th step."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo._torch import Convert
from unitary_zoo.base.linear_map import DenseMap, LinearMap
from unitary_zoo.base.parametrization import Parametrization
from unitary_zoo.base.updates import update
from unitary_zoo.errors import is_int


class Rebased(Parametrization):
    r""":math:`W = f(A) B` with A skew and near 0; every K steps A moves into the base B.

    The learnable coordinates of A are those of :func:`linalg.skew_from_coordinates`. At A = 0
    their gradient is that of :math:`g = G W^H - W G^H`, so that with K = 1 a step of SGD is
    :math:`W \leftarrow f(-\alpha g) W`. Forgetting to attach is safe: W stays unitary.

    Args:
        n: Size of W.
        rebase_every: K, the number of steps between rebases; None or infinity is never.
        options: ``field``, ``determinant``, ``device`` and ``dtype``.
    """

    steps: Tensor
    _unitary_buffers = ("base",)
    _guarded = True
    _frozen = ("base",)

    def __init__(self, n: int, *, rebase_every: float | None = 1, **options: Any) -> None:
        super().__init__(n, **options)
        every = None if rebase_every == math.inf else rebase_every
        if every is not None and not (is_int(every) and every >= 1):
            raise ValueError(
                f"{self.info.name}: rebase_every={rebase_every!r}; pass an int of at least 1, or "
                "None for never"
            )
        self.rebase_every = every
        self._watched = every is not None  # else a step changes nothing
        d = linalg.skew_dimension(n, self.field)
        self.theta = nn.Parameter(torch.zeros(d, **self._factory))
        # A parameter, but a constant of the training: an average of the parameters of a model
        # includes the base, which holds nearly all of W.
        self.base = nn.Parameter(
            self._identity_parts(self._promoted(self.theta).dtype), requires_grad=False
        )
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64, device=self.device))
        self._started = False

    @abstractmethod
    def _map(self, a: Tensor) -> Tensor:
        """Return f(A), where f(0) = I and f'(0) is the identity."""

    def _skew(self, coordinates: Tensor) -> Tensor:
        """Return the skew matrix (..., n, n) with these coordinates, in the computing precision."""
        return linalg.skew_from_coordinates(self._promoted(coordinates), self.n, self.field)

    def _check_read(self) -> None:
        self._check_started()
        self.warn_of_a_missed_step()

    def _prepare(self) -> LinearMap:
        self._check_read()
        return DenseMap(self._matrix_of(self.theta, self.base))

    def _matrix_of(self, *tensors: Tensor) -> Tensor:
        turn, base = self._factors(*tensors)
        return turn @ base

    def _factors(self, theta: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(A) and B."""
        a = self._skew(theta)
        if self._is_special_unitary:
            a = linalg.traceless(a)
        # Detached, so that no gradient reaches the base even if all parameters are unfrozen.
        base = linalg.reunitarized(linalg.from_real_parts(base.detach(), self.field))
        return self._map(a), base

    def _assign(self, w: Tensor) -> None:
        self.theta.zero_()
        self.base.copy_(linalg.view_as_real_parts(w))
        self._note_state()

    def _reset_state(self) -> None:
        self.steps.zero_()
        self._note_state()

    def _convert(self, convert: Convert, convert_tensors: Callable[[Convert], None]) -> None:
        super()._convert(convert, convert_tensors)
        self._note_state()

    def _after_loading(self, state: Mapping[str, Any], prefix: str, errors: list[str]) -> None:
        super()._after_loading(state, prefix, errors)
        self._note_state()

    def _step(self) -> None:
        """Count a step; at every K-th, B <- f(A) B and A <- 0, W unchanged."""
        # Beyond it f(A) overflows, which a step without a rebase would not notice.
        self._check_finite("the square of theta", self._promoted(self.theta).square())
        due = self.rebase_is_due()
        self.steps += 1
        if not due:
            return
        # Thousands of products would let the defect of B grow as a random walk. In the precision of
        # B, corrections below half a unit would be rounded away: its columns would grow by up to
        # eps, and each read would take the base for one to be restored.
        turn, base = map(linalg.double, self._factors(self.theta, self.base))
        w = linalg.newton_schulz_step(turn @ base)
        if self._is_special_unitary:
            w = linalg.with_unit_determinant(w)
        self.base.copy_(linalg.view_as_real_parts(w))
        self.theta.zero_()

    def _retract(self) -> None:
        """B <- polar(B); A, which is skew for any coordinates, stays."""
        w = linalg.double(linalg.from_real_parts(self.base, self.field))
        sign = self.determinant if self.field == "real" else None
        w = linalg.polar_with_determinant(w, sign)
        if self._is_special_unitary:
            w = linalg.with_unit_determinant(w)
        self.base.copy_(linalg.view_as_real_parts(w))

    def rebase_is_due(self) -> bool:
        """Whether the next :meth:`step_` will rebase."""
        if self.rebase_every is None or self.rebase_every == 1:
            return self.rebase_every == 1
        return (int(self.steps) + 1) % int(self.rebase_every) == 0

    @update
    def transport(self, x: Tensor) -> Tensor:
        r"""Return the coordinates that a tangent vector has after a rebase now.

        :math:`X \mapsto E X E^H` with :math:`E = f(A/2)`, for a direction or a mean gradient X. A
        change dA of A turns W by :math:`dW\,W^H = \phi(\mathrm{ad}_A)\,dA`, where
        :math:`\phi(z) = (e^z - 1)/z` for the exponential; a gradient in A is brought to one at
        A = 0 by the inverse of the adjoint of that. Both are this rotation, times
        :math:`\sinh(z/2) / (z/2)` or its inverse, 1 to second order in A. The rotation alone is
        the parallel transport of the group along :math:`\exp(tA) B`, keeps the length, and has no
        pole. (The Cayley map's own rotation differs from f(A/2) in the third order.)

        Args:
            x: Coordinates of X, of the shape of ``theta``.
        """
        a, tangent = self._skew(self.theta), self._skew(x)
        e = self._map((linalg.traceless(a) if self._is_special_unitary else a) / 2)
        return linalg.skew_to_coordinates(e @ tangent @ e.mH).to(x.dtype)
