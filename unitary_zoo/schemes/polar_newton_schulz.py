r"""W = polar(X) = X (X^H X)^{-1/2} by scaled Newton-Schulz steps, X free."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo._torch import is_traced, is_transformed, without_autocast
from unitary_zoo.base import (
    ORTHOGONAL_CROSSING,
    UNITARY,
    DenseMap,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)
from unitary_zoo.errors import check_int
from unitary_zoo.schemes._scalings import scalings

_DEFAULT_ITERATIONS = 10


def _tangent(w: Tensor, grad: Tensor) -> Tensor:
    # The gradient of a polar factor is W times a skew matrix. Any other part is rounding, which the
    # backward pass has magnified as much as the steps magnify the least singular value.
    with without_autocast(grad.device):
        m = w.mH @ grad
        return w @ ((m - m.mH) / 2)


class _TangentGradient:
    """A hook that keeps the tangent part of the gradient of X, until that is differentiated."""

    def __init__(self, w: Tensor) -> None:
        self.w: Tensor | None = w

    def __call__(self, grad: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            # Second derivatives will pass here, too: they are not tangent, and W is no constant.
            self.w = None
        return grad if self.w is None else _tangent(self.w, grad)


@Parametrization.register("polar_newton_schulz")
class PolarNewtonSchulz(Static):
    r""":math:`W = X (X^H X)^{-1/2}`, the polar factor of a free X, by Newton-Schulz steps.

    :math:`Y \leftarrow \tfrac12 \rho Y (3 I - \rho^2 Y^H Y)` from X divided by a bound of its
    norm, with the factors :math:`\rho` that raise the least singular value fastest. If the
    condition number of X is below about :attr:`condition`, the steps end near the group, where a
    few more products make W unitary to rounding; if not, an SVD takes over from the last Y. So W
    is unitary for every X. Where X is singular, W has no unique value, and its gradient, which
    grows like the inverse of the least singular value, is cut off.

    Unlike ``svd_projection``, which projects the weight after a step, the gradient goes through
    the map, any optimizer serves, and none needs to be attached. W does not depend on the size of
    X, so weight decay does not change it. An attached ``step_`` keeps X from vanishing in the long
    run, by a power of two that changes no digit of W.

    Learnable: ``x`` (n, n), or (n, n, 2) with real and imaginary parts.

    Args:
        n: Size of W.
        iterations: Number of scaled steps; None is 10. More serve a larger condition number.
        field: "real" (default) or "complex".
        determinant: +1 or -1 keeps W in that component, by reversing the direction of the least
            singular value where the determinant of X has the other sign, at the cost of an SVD;
            with None, W changes its component with X.
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        ValueError: ``iterations`` is negative.
        TypeError: ``iterations`` is not an int.

    Source: Bjorck and Bowie, An iterative algorithm for computing the best estimate of an
    orthogonal matrix, 1971; the scaling after Chen and Chow, A stable scaling of Newton-Schulz
    for improving the sign function computation of a Hermitian matrix, 2014.
    """

    info = SchemeInfo(
        name="polar_newton_schulz",
        title="W = X (X^H X)^{-1/2} by Newton-Schulz steps",
        reference="""@article{bjorck1971iterative,
  title   = {An Iterative Algorithm for Computing the Best Estimate of an Orthogonal Matrix},
  author  = {Bj\\"orck, {\\AA}ke and Bowie, Clazett},
  journal = {SIAM Journal on Numerical Analysis},
  volume  = {8},
  number  = {2},
  year    = {1971}
}""",
        family="static",
        claims={
            "real": ORTHOGONAL_CROSSING,
            "complex": UNITARY,
        },
        field="real",
        tolerance=Tolerance(
            8.0, "the Newton-Schulz step at the end leaves the rounding of two products"
        ),
    )

    def __init__(self, n: int, *, iterations: int | None = None, **options: Any) -> None:
        iterations = _DEFAULT_ITERATIONS if iterations is None else iterations
        check_int("polar_newton_schulz: iterations", iterations, 0)
        super().__init__(n, **options)
        self.iterations = iterations
        least, self._factors = scalings(iterations)
        self.condition = 1 / least
        self.x = self._free_matrix()
        self.reset_parameters()

    def _prepare(self) -> LinearMap:
        y = self._promoted(self.x)
        # W does not depend on the scale of Y, so the two divisors take no part in derivatives. The
        # first keeps squares from underflowing; the second bounds the norm, by that of (Y^H Y)^2.
        largest = y.detach().abs().amax()
        y = linalg.from_real_parts(y / torch.where(largest > 0, largest, 1.0), self.field)
        gram = y.detach().mH @ y.detach()
        norm = torch.linalg.matrix_norm(gram @ gram) ** 0.25
        start = y / torch.where(norm > 0, norm, 1.0)
        y = stepped = start.view_as(start)
        for rho in self._factors:
            y = linalg.newton_schulz_step(rho * y)
        w = linalg.polar(y)
        if stepped.requires_grad and not is_transformed():
            # A program refuses second derivatives by itself, and its hooks may keep no state.
            kept = w.detach()
            hook = partial(_tangent, kept) if is_traced() else _TangentGradient(kept)
            stepped.register_hook(hook)
        if self.determinant is not None:
            wrong = torch.linalg.det(w.detach()) * self.initial_determinant < 0
            # The steps keep singular vectors, but not the order of the values.
            w = torch.where(wrong, linalg.with_least_reversed(w, start), w)
        return DenseMap(linalg.newton_schulz_step(w))

    def _assign(self, w: Tensor) -> None:
        self.x.copy_(linalg.view_as_real_parts(w))

    def _step(self) -> None:
        """Bring an X that has almost vanished, or overflowed, back to entries of order one."""
        largest = self.x.abs().amax()
        far = max(torch.finfo(self.x.dtype).tiny ** 0.5, 2.0**-60)
        away = (largest < far) | (largest > 1 / far)
        # Dividing by a power of two is exact, and one of at most 2^100 is finite in any precision.
        exponent = torch.frexp(self._promoted(largest)).exponent.clamp(-100, 100)
        self.x.copy_(torch.where(away, torch.ldexp(self._promoted(self.x), -exponent), self.x))
