r"""Starting matrices, independent of the scheme: haar, henaff, cayley, torus, identity, dft.

An initialiser draws W itself; each scheme then finds its own parameters for it. So "rotation by
an angle t" means that W rotates by t, whatever the map. (The released expRNN code gives the skew
blocks that were made for the Cayley map to the exponential, and so rotates by tan(t/2) instead.)
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from unitary_zoo.linalg import complex_dtype
from unitary_zoo.registry import Registry


class Initializer(Protocol):
    """A function that draws a unitary matrix (n, n).

    ``field`` is "real" or "complex", and ``dtype`` a real dtype. ``determinant`` is +1 or -1, the
    determinant of a real matrix; complex matrices ignore it.
    """

    def __call__(
        self,
        n: int,
        field: str,
        *,
        determinant: int,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None,
    ) -> Tensor: ...


INITIALIZERS: Registry[Initializer] = Registry("initialiser")


def _component(w: Tensor, determinant: int) -> Tensor:
    """Return ``w``, with its last column negated if it is real and of the other determinant."""
    if not w.is_complex() and torch.linalg.det(w) * determinant < 0:
        w = w.clone()
        w[:, -1].neg_()
    return w


def _rotations(angles: Tensor, n: int, field: str) -> Tensor:
    r"""Return the block diagonal :math:`R(t_1) \oplus R(t_2) \oplus \dots (\oplus\, 1)`, R real."""
    w = torch.eye(n, dtype=angles.dtype, device=angles.device)
    i = torch.arange(0, n - 1, 2, device=angles.device)
    w[i, i], w[i + 1, i + 1] = angles.cos(), angles.cos()
    w[i, i + 1], w[i + 1, i] = -angles.sin(), angles.sin()
    return w.to(complex_dtype(w.dtype)) if field == "complex" else w


def _uniform(count: int, low: float, high: float, options: dict[str, Any]) -> Tensor:
    return torch.rand(count, **options) * (high - low) + low


@INITIALIZERS.register("haar")
def haar(n: int, field: str, *, determinant: int, dtype: torch.dtype, **options: Any) -> Tensor:
    """Q of the QR decomposition of a Gaussian matrix with R's diagonal positive: Haar measure.

    Real: the Haar measure of one component of O(n). Source: Mezzadri, How to generate random
    matrices from the classical compact groups, 2007.
    """
    dtype = complex_dtype(dtype) if field == "complex" else dtype
    q, r = torch.linalg.qr(torch.randn(n, n, dtype=dtype, **options))
    diagonal = r.diagonal()
    return _component(q * (diagonal / diagonal.abs()), determinant)


@INITIALIZERS.register("henaff")
def henaff(n: int, field: str, *, determinant: int, **options: Any) -> Tensor:
    """2 x 2 rotation blocks with angles uniform in (-pi, pi).

    Source: Henaff, Szlam and LeCun, Recurrent orthogonal networks and long-memory tasks, 2016.
    """
    angles = _uniform(n // 2, -math.pi, math.pi, options)
    return _component(_rotations(angles, n, field), determinant)


@INITIALIZERS.register("cayley")
def cayley(n: int, field: str, *, determinant: int, **options: Any) -> Tensor:
    """2 x 2 rotation blocks with angles uniform in (0, pi/2).

    Source: Helfrich, Willmott and Ye, Orthogonal recurrent neural networks with scaled Cayley
    transform, 2018.
    """
    angles = _uniform(n // 2, 0.0, math.pi / 2, options)
    return _component(_rotations(angles, n, field), determinant)


@INITIALIZERS.register("torus")
def torus(n: int, field: str, *, determinant: int, dtype: torch.dtype, **options: Any) -> Tensor:
    """Uniform on the maximal torus: diagonal phases if complex, rotation blocks if real.

    For real matrices this is the same distribution as "henaff".
    """
    if field == "real":
        return henaff(n, field, determinant=determinant, dtype=dtype, **options)
    phases = _uniform(n, -math.pi, math.pi, {"dtype": dtype, **options})
    return torch.diag(torch.polar(torch.ones_like(phases), phases))


@INITIALIZERS.register("identity")
def identity(
    n: int, field: str, *, determinant: int, dtype: torch.dtype, device: Any, generator: Any
) -> Tensor:
    """I; for a real matrix with determinant -1 its last entry is -1."""
    dtype = complex_dtype(dtype) if field == "complex" else dtype
    return _component(torch.eye(n, dtype=dtype, device=device), determinant)


@INITIALIZERS.register("dft")
def dft(
    n: int, field: str, *, determinant: int, dtype: torch.dtype, device: Any, generator: Any
) -> Tensor:
    r""":math:`F_{jk} = e^{-2 \pi i jk / n} / \sqrt n`, complex only.

    Raises:
        ValueError: The field is real.
    """
    if field == "real":
        raise ValueError(
            "init='dft' is a complex matrix and field='real'; use field='complex', or a real "
            "initialiser such as 'haar'"
        )
    return torch.fft.fft(
        torch.eye(n, dtype=complex_dtype(dtype), device=device), dim=0, norm="ortho"
    )
