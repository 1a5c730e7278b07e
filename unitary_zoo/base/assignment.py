"""Assignment: set, measure and roll back; and the general fit for maps without an inverse."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base.core import SchemeCore
from unitary_zoo.base.sharding import changed_whole
from unitary_zoo.base.updates import update
from unitary_zoo.errors import NotRepresentableError

_LinAlgError: type[Exception] = torch.linalg.LinAlgError  # type: ignore[attr-defined]
_ERRORS_OF_MAPS = (ValueError, ArithmeticError, _LinAlgError)


class Assignable(SchemeCore):
    """The part of :class:`Parametrization` that sets the parameters from a matrix."""

    @update
    def assign_(self, w: Tensor, *, nearest: bool = False) -> float:
        r"""Set the parameters so that ``matrix()`` is ``w``.

        Args:
            w: Shape (n, n), real or complex.
            nearest: Take the nearest matrix the scheme finds instead of raising.

        Returns:
            The residual :math:`\|W(\theta) - w\|_2`.

        Raises:
            NotRepresentableError: The residual exceeds ``100 n eps``, or 0.1, or no finite
                parameters were found; parameters are unchanged.
            ValueError: Wrong shape, or entries that are not finite.
        """
        if w.shape != (self.n, self.n):
            raise ValueError(
                f"w has shape {tuple(w.shape)}, but {self.info.name} holds {self.n} x {self.n}; "
                "pass a square matrix of that size"
            )

        def assign(wanted: Tensor) -> None:
            self._assign(self._nearest(wanted))

        return self._assign_or_restore(w, assign, self.matrix, nearest)

    @update
    def assign_columns_(self, q: Tensor, *, nearest: bool = False) -> float:
        r"""Set the parameters so that ``columns(k)`` is ``q``; the other columns are free.

        Args:
            q: Shape (n, k), k <= n, real or complex.
            nearest: Take the nearest columns the scheme finds instead of raising.

        Returns:
            The residual :math:`\|W(\theta)_{:,1..k} - q\|_2`.

        Raises:
            NotRepresentableError, ValueError: As :meth:`assign_`.
        """
        if q.ndim != 2 or q.shape[0] != self.n or not 1 <= q.shape[1] <= self.n:
            raise ValueError(
                f"q has shape {tuple(q.shape)}, but {self.info.name} holds {self.n} x {self.n}; "
                f"pass from 1 to {self.n} columns of length {self.n}"
            )
        k = q.shape[1]
        if k == self.n:
            return self.assign_(q, nearest=nearest)
        return self._assign_or_restore(q, self._assign_columns, lambda: self.columns(k), nearest)

    def _assign_or_restore(
        self,
        target: Tensor,
        assign: Callable[[Tensor], None],
        read: Callable[[], Tensor],
        nearest: bool,
    ) -> float:
        """Set the parameters so that ``read()`` is ``target``; restore them where that fails.

        Args:
            target: Columns (n, k), real or complex.
            assign: Sets the parameters from columns in double precision, as well as it can.
            read: Returns the columns (n, k) that the parameters stand for.
            nearest: Accept any residual.

        Returns:
            The residual, the spectral norm of ``read() - target``.
        """
        if not torch.isfinite(target).all():
            name = "w" if target.shape[1] == self.n else "q"
            raise ValueError(f"{name} has entries that are not finite; nothing was assigned")
        with changed_whole(self):
            self._started = True
            wanted = linalg.double(target.detach().to(self.device))
            before = {key: value.clone() for key, value in self.state_dict().items()}
            try:
                assign(wanted)
                residual = float(linalg.singular_values(linalg.double(read()) - wanted).max())
            except _ERRORS_OF_MAPS as error:
                # What a map inside says of its own argument would mislead.
                self.load_state_dict(before)
                reason = f"no parameters were found ({error})"
                raise self._not_representable(math.inf, reason) from error
            limit = self._residual_limit(target)
            if not (residual <= limit or (nearest and math.isfinite(residual))):
                self.load_state_dict(before)
                if math.isfinite(residual):
                    reason = (
                        f"residual {residual:.3g}, limit {limit:.3g}; pass nearest=True to take "
                        "the nearest matrix it can"
                    )
                else:
                    reason = (
                        f"its entries are up to {float(wanted.abs().max()):.3g}, and no finite "
                        f"parameters in {self.dtype} give a matrix near it; scale the matrix"
                    )
                raise self._not_representable(residual, reason)
            self._reset_state()
            return residual

    def _not_representable(self, residual: float, reason: str) -> NotRepresentableError:
        return NotRepresentableError(
            f"{self.info.name} cannot represent this matrix: {reason}, or choose another scheme",
            residual,
        )

    def _residual_limit(self, target: Tensor) -> float:
        # Rounding of parameters and of the target moves an entry by a few eps, the norm by up to n
        # of them; the maps have conditions of order 10.
        numeric = target.is_floating_point() or target.is_complex()
        dtypes = (self.dtype, target.dtype if numeric else self.dtype)
        return min(0.1, 100 * self.n * max(linalg.eps(dtype) for dtype in dtypes))

    def _reset_state(self) -> None:
        """Drop what past steps have left: counters and running means."""

    def reaches_columns(self, k: int) -> bool:
        """Whether :meth:`assign_columns_` reproduces any k orthonormal columns."""
        return self.info.assignable

    def _assign_columns(self, q: Tensor) -> None:
        """Set the parameters so that the first columns are near ``q``, double precision, k < n."""
        self.assign_(linalg.completed(q, self.info.determinant.sign), nearest=True)

    def _nearest_in_group(self, w: Tensor) -> Tensor:
        """Return the unitary matrix nearest to ``w`` that has the determinant claimed.

        Args:
            w: Shape (n, n), double precision, real where the field is.
        """
        if self.field == "real":
            w = linalg.polar_with_determinant(w, self.info.determinant.sign)
        else:
            w = linalg.polar(w)
        if linalg.unitarity_defect(w) > 4 * math.sqrt(self.n) * linalg.eps(w.dtype):
            # The bases of an SVD, and a direction reversed, leave more than the tolerances allow.
            w = linalg.newton_schulz_step(w)
        return linalg.with_unit_determinant(w) if self._is_special_unitary else w

    def _nearest(self, w: Tensor) -> Tensor:
        """Return the matrix, near ``w`` (n, n) in double precision, that assignment aims at."""
        return self._nearest_in_group(self._in_own_field(w))

    def _in_own_field(self, w: Tensor) -> Tensor:
        """Return ``w``, double precision, as a complex matrix or by its real part."""
        if self.field == "real":
            return w.real if w.is_complex() else w
        return w.to(torch.complex128)

    def _assign(self, w: Tensor) -> None:
        """Set the parameters so that W is ``w``, a member of the group, or as near as it can be.

        This general method fits the parameters to ``w``; a scheme with an inverse map has its own.
        """
        fit_columns(self, w)


def fit_columns(p: SchemeCore, target: Tensor) -> None:
    """Fit the parameters to the first columns of W by L-BFGS, which finds a local optimum.

    Args:
        p: What is fitted; the fit starts where it is.
        target: Columns (n, k), double precision.
    """
    fit = copy.deepcopy(p).double().requires_grad_()
    optimizer = torch.optim.LBFGS(
        fit.parameters(), max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        distance = (fit.columns(target.shape[-1]) - target).abs().square().sum()
        distance.backward()
        return distance

    with torch.enable_grad():
        optimizer.step(cast(Callable[[], float], loss))
    for mine, fitted in zip(p.parameters(), fit.parameters(), strict=True):
        mine.copy_(fitted)
