r"""W = Q Lambda Q^H with Q fixed and the eigenphases learned."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.base import (
    ORTHOGONAL,
    UNITARY,
    DenseMap,
    Diagonal,
    FactoredMap,
    Fourier,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)


def _in_fourier_basis(w: Tensor) -> Tensor:
    r"""Return :math:`F W F^H` for W (n, n), F the unitary DFT: diagonal if W is circulant."""
    return torch.fft.fft(torch.fft.ifft(w, dim=1), dim=0)


def _half(n: int) -> int:
    return n // 2


def _half_less_one(n: int) -> int:
    return (n - 1) // 2


def _all(n: int) -> int:
    return n


@Parametrization.register("eigenphase")
class Eigenphase(Static):
    r""":math:`W = Q \Lambda Q^H`, Q a fixed unitary basis, the phases of Lambda learned.

    Complex: :math:`\Lambda = \mathrm{diag}(e^{i \phi_1}, \dots, e^{i \phi_n})`. Real: 2 x 2
    rotations by the learned angles on pairs of columns of an orthogonal Q, and fixed eigenvalues
    on the rest: +-1 on the last column for odd n, (+1, -1) on the last two for even n with
    ``determinant=-1``. The named initialisers set the spectrum: W gets the eigenvalues of the
    initialiser's matrix in the fixed basis.

    Args:
        n: Size of W.
        basis: "haar" (drawn once), "dft" (complex: W is circulant and applied by FFT; real: the
            sines and cosines) or a matrix (n, n).
        field: "complex" (default) or "real".
        determinant: +1 or -1, real only; None is +1.
        generator: Source of randomness for the basis and the phases.
        device: Device.
        dtype: Real dtype of the parameters.

    Source: this project; the maximal torus of the group in a fixed basis.
    """

    info = SchemeInfo(
        name="eigenphase",
        title="W = Q diag(exp(i phi)) Q^H, Q fixed",
        reference="""@misc{unitaryzoo2026eigenphase,
  title  = {Fixed eigenbasis with learned eigenphases},
  author = {{The unitary\\_zoo developers}},
  year   = {2026}
}""",
        family="static",
        claims={
            "complex": replace(UNITARY, dimension=_all, whole=False),
            "real": replace(ORTHOGONAL, dimension=_half, whole=False),
        },
        field="complex",
        tolerance=Tolerance(
            20.0, "two products with a basis that has a defect of its own, counted twice"
        ),
    )

    q: Tensor | None
    _unitary_buffers = ("q",)

    def __init__(
        self,
        n: int,
        *,
        basis: str | Tensor = "haar",
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(n, **options)
        if self.initial_determinant == -1:
            claims = replace(self.info.claims["real"], dimension=_half_less_one)
            self.info = replace(self.info, claims={"real": claims})
        self.phases = nn.Parameter(torch.zeros(self.info.dimension(n), **self._factory))
        self.circulant = isinstance(basis, str) and basis == "dft" and self.field == "complex"
        self.basis = basis if isinstance(basis, str) else "given"
        q = None
        if not self.circulant:
            q = linalg.view_as_real_parts(self._basis(basis, generator))
            q = q.to(self._promoted(self.phases).dtype)
            q = q.clone(memory_format=torch.contiguous_format)
        self.register_buffer("q", q)
        self.reset_parameters(generator=generator)

    def _basis(self, basis: str | Tensor, generator: torch.Generator | None) -> Tensor:
        if isinstance(basis, Tensor):
            q = linalg.double(basis.to(self.device))
            if q.shape != (self.n, self.n) or (q.is_complex() and self.field == "real"):
                raise ValueError(
                    f"eigenphase: basis has shape {tuple(q.shape)} and dtype {q.dtype}; pass a "
                    f"{self.field} matrix of shape ({self.n}, {self.n})"
                )
            defect = float(linalg.unitarity_defect(q))
            limit = self.info.tolerance(self.n, basis.dtype)
            if not defect <= limit:
                raise ValueError(
                    f"eigenphase: basis has unitarity defect {defect:.3g}, limit {limit:.3g}; "
                    "pass a unitary matrix, for instance torch.linalg.qr(basis).Q"
                )
            return linalg.polar(q.to(torch.complex128) if self.field == "complex" else q)
        if basis == "haar":
            if self.device.type == "meta":
                return linalg.identity_like(self.phases.new_empty(self.n, self.n)).to(self.dtype)
            return self._sample("haar", generator)
        if basis == "dft":
            return linalg.real_fourier(self.n, self.device)
        raise ValueError(f"eigenphase: basis={basis!r}; pass 'haar', 'dft' or a matrix")

    def _stored_q(self) -> Tensor:
        assert self.q is not None  # circulant matrices have no stored basis
        return linalg.from_real_parts(self.q, self.field)

    def _q(self) -> Tensor:
        return linalg.reunitarized(self._stored_q())

    def _fixed(self) -> Tensor:
        """Return the fixed real eigenvalues, which belong to the last columns of Q."""
        signs = self._promoted(self.phases).new_ones(self.n - 2 * self.phases.numel())
        signs[-1:] = self.initial_determinant  # for even n with determinant +1 there is none
        return signs

    def _prepare(self) -> LinearMap:
        phases = self._promoted(self.phases)
        if self.circulant:
            factors = Fourier(), Diagonal(), Fourier(inverse=True)
            return FactoredMap(self.n, factors, torch.polar(torch.ones_like(phases), phases))
        q = self._q()
        if self.field == "complex":
            return DenseMap((q * torch.polar(torch.ones_like(phases), phases)) @ q.mH)
        k = 2 * phases.numel()
        a, b = q[:, 0:k:2], q[:, 1:k:2]
        cos, sin = phases.cos(), phases.sin()
        rotated = torch.stack([a * cos + b * sin, b * cos - a * sin], dim=-1).flatten(1)
        turned = torch.cat([rotated, q[:, k:] * self._fixed()], dim=1)
        return DenseMap(turned @ q.mT)

    def eigenphases(self) -> Tensor:
        """Return the n eigenphases of W in (-pi, pi]; if real: angles, their negatives, fixed."""
        phases = self._promoted(self.phases)
        if self.field == "real":
            phases = torch.cat([phases, -phases, math.pi * (self._fixed() < 0)])
        return math.pi - torch.remainder(math.pi - phases, 2 * math.pi)

    def _assign(self, w: Tensor) -> None:
        # Each column (pair) gets the phase that maximises Re tr(W(phi)^H w): the nearest matrix.
        if self.circulant:
            spectrum = _in_fourier_basis(w)
        else:
            q = linalg.double(self._q())
            spectrum = q.mH @ w @ q
        if self.field == "complex":
            self.phases.copy_(spectrum.diagonal().angle())
            return
        i = torch.arange(0, 2 * self.phases.numel(), 2, device=w.device)
        sin = spectrum[i + 1, i] - spectrum[i, i + 1]
        cos = spectrum[i, i] + spectrum[i + 1, i + 1]
        self.phases.copy_(torch.atan2(sin, cos))

    def _initialize(self, init: str, generator: torch.Generator | None) -> None:
        if self.q is not None and not linalg.unitarity_defect(self._stored_q()) < 0.1:
            # After a start on the meta device the memory of Q was never filled.
            self.q.copy_(linalg.view_as_real_parts(self._basis(self.basis, generator)))
        angles = linalg.unitary_eigh(self._sample(init, generator))[0]
        if self.field == "real":
            # Sorted by size, conjugate pairs are neighbours; a single -1 comes first and a single
            # +1 last, and these two are fixed.
            angles = angles.abs().sort(descending=True).values
            angles = angles[self.initial_determinant == -1 :: 2][: self.phases.numel()]
        self.phases.copy_(angles)
