"""Eigenvectors, phases and logarithm of a unitary matrix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo.linalg._cayley import cayley_transform
from unitary_zoo.linalg._dtypes import double
from unitary_zoo.linalg._exponential import expm_skew
from unitary_zoo.linalg._polar import polar
from unitary_zoo.linalg._spectrum import eigenphases, eigenvalues


def unitary_eigh(w: Tensor) -> tuple[Tensor, Tensor]:
    r""":math:`W = V \operatorname{diag}(e^{i\phi}) V^H` with V unitary to rounding.

    The eigenvectors are those of the Hermitian Cayley transform. That transform is injective on the
    spectrum once its pole is in the largest gap between the eigenvalues, so clusters do not
    mix, as they do in a general eigensolver, and V is orthonormal even for repeated eigenvalues.

    Args:
        w: One unitary matrix, shape (n, n).

    Returns:
        Phases in (-pi, pi], shape (n), and V, shape (n, n), complex128; NaN if ``w`` is not finite.
    """
    w = w.to(torch.complex128)
    phases = eigenphases(w)
    if not phases.isfinite().all():
        return phases, torch.full_like(w, math.nan)
    after = torch.cat([phases[1:], phases[:1] + 2 * math.pi])
    widest = (after - phases).argmax()
    rotation = math.pi - (phases + after)[widest] / 2
    u = w * torch.polar(torch.ones_like(rotation), rotation)
    hermitian = 1j * cayley_transform(u)
    v = torch.linalg.eigh((hermitian + hermitian.mH) / 2).eigenvectors
    return torch.einsum("ij,ik,kj->j", v.conj(), w, v).angle(), v


def phases_with_sum(phases: Tensor, total: float) -> Tensor:
    """The phases with full turns added or taken away, so that their sum is nearest to ``total``.

    The phases farthest to one side are moved back by one turn each.

    Args:
        phases: Shape (n), in [-pi, pi].
        total: The sum wanted; at most n turns from that of ``phases``.

    Returns:
        Shape (n).
    """
    turns = round(float(phases.sum() - total) / (2 * math.pi))
    order = phases.argsort(descending=turns > 0)[: abs(turns)]
    phases = phases.clone()
    phases[order] -= math.copysign(2 * math.pi, turns)
    return phases


def log_unitary(w: Tensor, *, traceless: bool = False) -> Tensor:
    r"""Principal logarithm: skew A with :math:`\exp(A) = W` and eigenphases in [-pi, pi].

    A is real if W is real. A real plane with eigenvalues near -1, whose two conjugate logarithms
    are far apart, is treated as minus a small rotation, so pairs of eigenvalues -1 are no problem.

    Args:
        w: One unitary or special orthogonal matrix, shape (n, n).
        traceless: Return the logarithm of trace 0 of a complex matrix of determinant 1, see
            :func:`phases_with_sum`.

    Returns:
        Shape (n, n), double precision, real if ``w`` is real; NaN if ``w`` is not finite.

    Raises:
        ValueError: ``w`` is real with determinant -1, so it has no real logarithm.
    """
    if not w.isfinite().all():
        return torch.full_like(double(w), math.nan)
    phases, v = unitary_eigh(w)
    if w.is_complex():
        if traceless:
            phases = phases_with_sum(phases, 0.0)
        return (v * (1j * phases)) @ v.mH
    # Split off the planes that turn by more than pi - 1/2, at the widest gap above that angle.
    size, order = phases.abs().sort()
    edge = size.new_tensor([math.pi - 0.5])
    gaps = torch.cat([size, edge + 0.5]) - torch.cat([edge, size])
    gaps[:-1][size < edge] = -1.0
    split = int(gaps.argmax())
    near, far = v[:, order[split:]], v[:, order[:split]]
    a = _real_skew(phases[order[:split]], far)
    if split < len(order):
        if (len(order) - split) % 2:
            raise ValueError(
                "a real matrix with determinant -1 has no real logarithm; flip the sign of one "
                "column, or use field='complex'"
            )
        basis = torch.linalg.eigh((near @ near.mH).real).eigenvectors[:, split:]
        k = _real_skew(*unitary_eigh(-(basis.mT @ double(w) @ basis)))
        a = a + basis @ (k - math.pi * _complex_structure(k)) @ basis.mT
    return a


def away_from_minus_one(w: Tensor, margin: float) -> Tensor:
    """W itself; if an eigenvalue is within the margin of -1, W with its angles shrunk by it.

    At the eigenvalue -1 the inverse Cayley map has a pole, and near it the large coordinates drown
    the others.

    Args:
        w: One unitary or special orthogonal matrix, shape (n, n), double precision.
        margin: The least distance from -1, and the share of each angle that is taken away.

    Returns:
        Shape (n, n).
    """
    if (eigenvalues(w) + 1).abs().min() < margin:
        return expm_skew(log_unitary(w) * (1 - margin))
    return w


def _real_skew(phases: Tensor, v: Tensor) -> Tensor:
    r""":math:`V \operatorname{diag}(i\phi) V^H` if that is real up to rounding."""
    a = ((v * (1j * phases)) @ v.mH).real
    return (a - a.mT) / 2


def _complex_structure(k: Tensor) -> Tensor:
    r"""Real J with :math:`J^2 = -I` that commutes with skew K: the polar factor of a regular K."""
    n = k.shape[0]
    # A perturbation far below the accuracy wanted gives every eigenvalue of K a sign. On the null
    # space of K, any J is right.
    tie_break = torch.zeros_like(k)
    pairs = torch.arange(0, n, 2, device=k.device)
    tie_break[pairs, pairs + 1], tie_break[pairs + 1, pairs] = -1.0, 1.0
    v = torch.linalg.eigh(-1j * (k + 1e-14 * tie_break)).eigenvectors
    sign = torch.ones(n, dtype=k.dtype, device=k.device)
    sign[: n // 2] = -1
    return polar(_real_skew(sign, v))
