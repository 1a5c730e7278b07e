r"""W = U diag(s) V^H: singular values in a band around 1, U and V by Cayley maps."""

from __future__ import annotations

from dataclasses import replace
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
    complex_matrix_dimension,
    real_matrix_dimension,
)


@Parametrization.register("spectral_band")
class SpectralBand(Static):
    r""":math:`W = U \mathrm{diag}(s) V^H`, :math:`s_i = 1 + 2r(\sigma(p_i) - \tfrac12)`.

    U and V are :math:`(I + A)^{-1}(I - A)` of a skew A each, and :math:`\sigma` is the sigmoid, so
    that the singular values stay within :math:`(1 - r, 1 + r)`. At the start p = 0 and W is
    unitary. Learnable: ``theta`` (2, d), the coordinates of the two A, see
    :func:`unitary_zoo.linalg.skew_from_coordinates`, and ``spectrum`` (n), the p.

    ``assign_`` takes any matrix whose singular values are in the band, if real with a positive
    determinant; with ``nearest=True`` it clips them.

    Args:
        n: Size of W.
        radius: r, in (0, 1]; Vorontsov calls it the margin.
        field: "real" (default) or "complex".
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        ValueError: The radius is not in (0, 1].

    Source: Vorontsov, Trabelsi, Kadoury and Pal, On orthogonality and learning recurrent networks
    with long term dependencies, 2017. There U and V move by multiplicative Cayley steps; here each
    is the Cayley map of its own coordinates. Zhang, Lei and Dhillon, Stabilizing gradients for
    deep neural networks via efficient SVD parameterization, 2018, have the same s between two
    products of reflections.
    """

    info = SchemeInfo(
        name="spectral_band",
        title="W = U diag(s) V^H, s in 1 +- r",
        reference="""@inproceedings{vorontsov2017orthogonality,
  title     = {On Orthogonality and Learning Recurrent Networks with Long Term Dependencies},
  author    = {Vorontsov, Eugene and Trabelsi, Chiheb and Kadoury, Samuel and Pal, Chris},
  booktitle = {International Conference on Machine Learning},
  year      = {2017}
}""",
        family="static",
        # Of n^2 numbers for U, n^2 for V and n values, n phases common to u_i and v_i move nothing.
        claims={
            "real": FieldClaims(Group.SPECTRAL_BAND, real_matrix_dimension, Determinant.POSITIVE),
            "complex": FieldClaims(
                Group.SPECTRAL_BAND, complex_matrix_dimension, Determinant.NONZERO
            ),
        },
        field="real",
        tolerance=Tolerance(
            16.0, "at the start, where s = 1: the rounding of two Cayley maps and their product"
        ),
        deviation="not unitary by design: singular values in 1 +- radius (default 0.1)",
    )

    def __init__(self, n: int, *, radius: float = 0.1, **options: Any) -> None:
        if not 0 < radius <= 1:
            raise ValueError(
                f"spectral_band: radius={radius!r}; pass a number in (0, 1], or for radius 0 take "
                "a scheme that is unitary, such as cayley"
            )
        super().__init__(n, **options)
        self.radius = radius
        deviation = f"not unitary by design: singular values in 1 +- {radius:g}"
        self.info = replace(self.info, deviation=deviation)
        d = linalg.skew_dimension(n, self.field)
        self.theta = nn.Parameter(torch.zeros(2, d, **self._factory))
        self.spectrum = nn.Parameter(torch.zeros(n, **self._factory))
        self.reset_parameters()

    def singular_values(self) -> Tensor:
        r""":math:`1 + 2r(\sigma(p_i) - \tfrac12) = 1 + r \tanh(p_i / 2)`, shape (n), unsorted."""
        return 1 + self.radius * torch.tanh(self._promoted(self.spectrum) / 2)

    def _prepare(self) -> LinearMap:
        a = linalg.skew_from_coordinates(self._promoted(self.theta), self.n, self.field)
        u, v = linalg.cayley(a)
        return DenseMap((u * self.singular_values()) @ v.mH)

    def _nearest(self, w: Tensor) -> Tensor:
        return self._in_own_field(w)

    def _assign(self, w: Tensor) -> None:
        eps = linalg.eps(self.theta.dtype)
        u, s, vh = torch.linalg.svd(w)
        v = vh.mH
        if self.field == "real" and torch.linalg.det(u) * torch.linalg.det(v) < 0:
            u[:, -1].neg_()
            s[-1].neg_()  # clipped below; the least value is the nearest to its negative
            w = u @ vh
        s = torch.where((s - 1).abs() <= self.n * eps, 1.0, s)  # p = 0 for a unitary W
        if s[0] - s[-1] <= self.n * eps:
            # Then V may be any unitary matrix. Roots of W have no eigenvalue near -1, and their
            # coordinates are at most 1.
            u = linalg.expm_skew(linalg.log_unitary(linalg.polar(w)) / 2)
            v = u.mH
        else:
            u, s, v = _away_from_minus_one(u, s, v)
        a = linalg.inverse_cayley(torch.stack([u, v]))
        self.theta.copy_(linalg.skew_to_coordinates(a))
        x = ((s - 1) / self.radius).clamp(-1 + eps, 1 - eps)
        self.spectrum.copy_(2 * torch.atanh(x))


def _away_from_minus_one(u: Tensor, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same U diag(s) V^H with U and V that the Cayley map reaches.

    The pairs (u_i, v_i) can be reordered and multiplied by common signs or phases. These are drawn
    until no eigenvalue is within 1/n of -1, a sixth of the mean distance between eigenvalues. That
    takes a few draws, and twice as many if real, where half of the matrices have determinant -1.
    """
    n, generator = len(s), torch.Generator().manual_seed(0)
    best: tuple[float, tuple[Tensor, Tensor, Tensor]] | None = None
    for _ in range(64):
        order = torch.randperm(n, generator=generator).to(s.device)
        turn = torch.rand(n, generator=generator, dtype=s.dtype).to(s.device)
        if u.is_complex():
            factor = torch.polar(torch.ones_like(turn), 2 * torch.pi * turn)
        else:
            factor = (turn - 0.5).sign()
        x = torch.stack([u[:, order] * factor, v[:, order] * factor])
        # Singular values of I + U are the distances of the eigenvalues of U from -1.
        gap = float(torch.linalg.svdvals(x + linalg.identity_like(x)).min())
        if best is None or gap > best[0]:
            best = gap, (x[0], s[order], x[1])
        if gap > 1 / n:
            break
    assert best is not None
    return best[1]
