r"""Pure tensor functions on unitary and orthogonal matrices; every function takes batches.

Coordinates of skew matrices, the exponential and Cayley maps with their inverses, the polar
factor, and the unitarity defect. "Skew" means skew-Hermitian, :math:`A^H = -A`, which for real
matrices is skew-symmetric.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Degree-12 Taylor polynomial: for a normal matrix the truncation error is at most
# r^13 / 13! with r the spectral radius, so these radii keep it below half a unit roundoff.
_EXPM_RADIUS = {torch.float32: 1.57, torch.float64: 0.33}


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """The real dtype of the same precision."""
    return dtype.to_real() if dtype.is_complex else dtype


def complex_dtype(dtype: torch.dtype) -> torch.dtype:
    """The complex dtype of the same precision; complex64 for half and bfloat16."""
    return torch.promote_types(real_dtype(dtype), torch.float32).to_complex()


def eps(dtype: torch.dtype) -> float:
    """Spacing of floating-point numbers at 1 for ``dtype`` (real or complex)."""
    return torch.finfo(dtype).eps


def double(x: Tensor) -> Tensor:
    """``x`` in double precision, complex if it is complex."""
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


def parts(w: Tensor) -> Tensor:
    """Real parts of ``w``: itself if real, else shape (..., 2) with real and imaginary part."""
    return torch.view_as_real(w) if w.is_complex() else w


def from_parts(x: Tensor, field: str) -> Tensor:
    """Inverse of :func:`parts`."""
    # Not view_as_complex: it refuses slices of a flat parameter at an odd offset.
    return torch.complex(x[..., 0], x[..., 1]) if field == "complex" else x


def as_real(h: Tensor) -> Tensor:
    """The real features of a state: [Re h, Im h] (..., 2n) if complex, ``h`` itself if real."""
    return torch.cat([h.real, h.imag], dim=-1) if h.is_complex() else h


def identity_like(w: Tensor) -> Tensor:
    """I of the size, dtype and device of ``w`` (..., n, n)."""
    return torch.eye(w.shape[-1], dtype=w.dtype, device=w.device)


def unitarity_defect(w: Tensor) -> Tensor:
    r""":math:`\|W^H W - I\|_2`, evaluated in double precision.

    Args:
        w: Shape (..., m, n), m >= n.

    Returns:
        Real tensor of shape (...), float64; infinite where ``w`` is not finite.
    """
    w = double(w.detach())
    gram = w.mH @ w
    finite = gram.isfinite().all(-1).all(-1)  # the norm refuses what is not
    excess = torch.where(finite[..., None, None], gram - identity_like(gram), 0.0)
    return torch.where(finite, torch.linalg.matrix_norm(excess, 2), math.inf)


def real_fourier(n: int, device: torch.device | None = None) -> Tensor:
    """The orthogonal matrix of sampled waves, float64 (n, n), one wave a column.

    Cosine and sine of each frequency stand side by side; the constant and, for even n, the
    alternating wave come last.
    """
    t = torch.arange(n, dtype=torch.float64, device=device)
    waves = []
    for k in range(1, (n + 1) // 2):
        waves += [torch.cos(2 * math.pi * k * t / n), torch.sin(2 * math.pi * k * t / n)]
    waves.append(torch.ones_like(t))
    if n % 2 == 0:
        waves.append(torch.cos(math.pi * t))
    q = torch.stack(waves, dim=1)
    return q / q.norm(dim=0)


# --------------------------------------------------------------------------- skew coordinates


def skew_dimension(n: int, field: str) -> int:
    """Number of real coordinates of a skew matrix: n(n-1)/2 real, n^2 complex."""
    return n * n if field == "complex" else n * (n - 1) // 2


def skew_from_coordinates(theta: Tensor, n: int, field: str) -> Tensor:
    r""":math:`A = \sum_k \theta_k E_k` with orthogonal basis matrices of norm :math:`\sqrt 2`.

    Real: the entries above the diagonal. Complex: real parts above the diagonal, imaginary parts
    above the diagonal, then the diagonal :math:`i\sqrt 2\,\theta_k`. All basis matrices have the
    same norm, so a gradient step on the coordinates is the steepest descent in the tangent space.

    Args:
        theta: Shape (..., d), d = :func:`skew_dimension`.
        n: Size of the matrix.
        field: "real" or "complex".

    Returns:
        Shape (..., n, n).
    """
    row, column = torch.triu_indices(n, n, 1, device=theta.device)
    shape = (*theta.shape[:-1], n, n)

    def upper(values: Tensor) -> Tensor:
        flat = values.new_zeros(*theta.shape[:-1], n * n)
        return flat.index_copy(-1, row * n + column, values).reshape(shape)

    if field == "real":
        a = upper(theta)
        return a - a.mT
    m = row.numel()
    re, im = upper(theta[..., :m]), upper(theta[..., m : 2 * m])
    diagonal = torch.diag_embed(theta[..., 2 * m :] * math.sqrt(2))
    return torch.complex(re - re.mT, im + im.mT + diagonal)


def skew_to_coordinates(a: Tensor) -> Tensor:
    """Inverse of :func:`skew_from_coordinates`; of a general matrix it takes the skew part."""
    a = (a - a.mH) / 2
    row, column = torch.triu_indices(a.shape[-1], a.shape[-1], 1, device=a.device)
    above = a[..., row, column]
    if not a.is_complex():
        return above
    diagonal = a.diagonal(dim1=-2, dim2=-1).imag / math.sqrt(2)
    return torch.cat([above.real, above.imag, diagonal], dim=-1)


# ------------------------------------------------------------------------------- exponential


def expm_skew(a: Tensor) -> Tensor:
    r""":math:`W = \exp(A)` for skew A, by a degree-12 Taylor polynomial and squaring.

    ``torch.matrix_exp`` is not used: for a single small matrix its float32 result is off by
    2.5e-5. The scaling uses :math:`\|A\|_2 \le \|A^2\|_1^{1/2}`, valid since A is normal. Every
    squaring doubles the defect, so Newton-Schulz steps go between: W is unitary to rounding for
    any argument whose square does not overflow.

    Args:
        a: Skew, shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n), unitary.
    """
    a2 = a @ a
    bound = float(torch.linalg.matrix_norm(a2.detach(), 1).amax()) ** 0.5 if a.numel() else 0.0
    squarings = 0
    if bound > 0 and math.isfinite(bound):
        squarings = max(0, math.ceil(math.log2(bound / _EXPM_RADIUS[real_dtype(a.dtype)])))
    a, a2 = a * 0.5**squarings, a2 * 0.25**squarings
    a3, a4 = a2 @ a, a2 @ a2
    one = identity_like(a)

    def cubic(k: int) -> Tensor:
        f = [1 / math.factorial(k + j) for j in range(4)]
        return f[0] * one + f[1] * a + f[2] * a2 + f[3] * a3

    w = cubic(0) + a4 @ (cubic(4) + a4 @ (cubic(8) + a4 / math.factorial(12)))
    for left in range(squarings - 1, -1, -1):
        w = w @ w
        if left % 4 == 0:  # the defect has grown to 16 eps at most; the step squares it
            w = newton_schulz_step(w)
    return w


def newton_schulz_step(w: Tensor) -> Tensor:
    r""":math:`W \mapsto W (3 I - W^H W) / 2`: squares a small unitarity defect.

    Converges to the polar factor where all singular values are below :math:`\sqrt 3`.
    """
    return 1.5 * w - 0.5 * w @ (w.mH @ w)


def unitary_eigh(w: Tensor) -> tuple[Tensor, Tensor]:
    r""":math:`W = V \operatorname{diag}(e^{i\phi}) V^H` with V exactly unitary.

    Through the Hermitian Cayley transform, which is injective on the spectrum once the cut is
    put into the largest gap between the eigenvalues; so clusters cannot mix, as they do in a
    general eigensolver, and V is orthonormal even for repeated eigenvalues.

    Args:
        w: One unitary matrix, shape (n, n).

    Returns:
        Phases in (-pi, pi], shape (n), and V, shape (n, n), complex128.
    """
    w = w.to(torch.complex128)
    phases = torch.linalg.eigvals(w).angle().sort().values
    after = torch.cat([phases[1:], phases[:1] + 2 * math.pi])
    widest = (after - phases).argmax()
    turn = math.pi - (phases + after)[widest] / 2
    u = w * torch.polar(torch.ones_like(turn), turn)
    hermitian = 1j * _cayley_transform(u)
    v = torch.linalg.eigh((hermitian + hermitian.mH) / 2).eigenvectors
    return torch.einsum("ij,ik,kj->j", v.conj(), w, v).angle(), v


def log_unitary(w: Tensor) -> Tensor:
    r"""Principal logarithm: skew A with :math:`\exp(A) = W` and eigenphases in [-pi, pi].

    Real W give real A: a real plane with eigenvalues near -1 (where the two conjugate logarithms
    are far apart) is treated as minus a small rotation, so pairs of exact -1 are fine.

    Args:
        w: One unitary or special orthogonal matrix, shape (n, n).

    Returns:
        Shape (n, n), double precision, real if ``w`` is real.

    Raises:
        ValueError: ``w`` is real with determinant -1: it has no real logarithm.
    """
    phases, v = unitary_eigh(w)
    if w.is_complex():
        return (v * (1j * phases)) @ v.mH
    # Split off the planes turned by more than about pi - 1/2, in the widest gap that is there.
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


def _real_skew(phases: Tensor, v: Tensor) -> Tensor:
    r""":math:`V \operatorname{diag}(i\phi) V^H` where that is real but for rounding."""
    a = ((v * (1j * phases)) @ v.mH).real
    return (a - a.mT) / 2


def _complex_structure(k: Tensor) -> Tensor:
    r"""Real J with :math:`J^2 = -I`, commuting with the skew K: its polar factor where regular."""
    n = k.shape[0]
    # The perturbation, far below the accuracy wanted, makes every eigenvalue of K simple enough
    # to have a sign; on null planes any J will do.
    tie_break = torch.zeros_like(k)
    pairs = torch.arange(0, n, 2, device=k.device)
    tie_break[pairs, pairs + 1], tie_break[pairs + 1, pairs] = -1.0, 1.0
    v = torch.linalg.eigh(-1j * (k + 1e-14 * tie_break)).eigenvectors
    sign = torch.ones(n, dtype=k.dtype, device=k.device)
    sign[: n // 2] = -1
    return polar(_real_skew(sign, v))


# ------------------------------------------------------------------------------------ Cayley


def cayley(a: Tensor) -> Tensor:
    r""":math:`W = (I + A)^{-1}(I - A)` for skew A: eigenvalue ia becomes angle -2 arctan a.

    Never has the eigenvalue -1 at finite A. The solve alone loses the digits of the norm of A (a
    defect of 3000 eps at a norm of 1e4); a Newton-Schulz step restores them, and past a norm of
    eps^(-1/2), where it may not converge, the polar factor.

    Args:
        a: Skew, shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n), unitary.
    """
    w = _cayley_transform(a)
    largest = float(torch.linalg.matrix_norm(a.detach(), 1).amax()) if a.numel() else 0.0
    return newton_schulz_step(polar(w) if largest > eps(a.dtype) ** -0.5 else w)


def _cayley_transform(x: Tensor) -> Tensor:
    one = identity_like(x)
    return torch.linalg.solve(one + x, one - x)


def inverse_cayley(w: Tensor) -> Tensor:
    r""":math:`A = (I + W)^{-1}(I - W)`; the Cayley map is its own inverse.

    Args:
        w: Unitary without the eigenvalue -1, shape (..., n, n).

    Returns:
        Skew, shape (..., n, n).
    """
    a = _cayley_transform(w)
    return (a - a.mH) / 2


# ------------------------------------------------------------------- functions of singular values


class _SingularValueMap(torch.autograd.Function):
    r""":math:`U f(\Sigma) V^H` for f = 1 (polar factor) or f = min(., 1) (contraction).

    The gradient is :math:`U (D \circ \mathrm{sym}\,M + P \circ \mathrm{skew}\,M) V^H` with
    :math:`M = U^H G V`, :math:`D_{ij} = (f_i - f_j)/(s_i - s_j)` and
    :math:`P_{ij} = (f_i + f_j)/(s_i + s_j)`; unlike the gradient of an SVD it has no pole where
    singular values meet.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, contract: bool) -> Tensor:
        u, s, vh = torch.linalg.svd(x)
        f = s.clamp(max=1.0) if contract else torch.ones_like(s)
        ctx.save_for_backward(u, s, vh, f)
        return (u * f.unsqueeze(-2)) @ vh

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        u, s, vh, f = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            return _SingularValueMap._adjoint(grad, u, s, vh, f), None

    @staticmethod
    def _adjoint(grad: Tensor, u: Tensor, s: Tensor, vh: Tensor, f: Tensor) -> Tensor:
        m = u.mH @ grad @ vh.mH
        ds = s.unsqueeze(-1) - s.unsqueeze(-2)
        df = f.unsqueeze(-1) - f.unsqueeze(-2)
        # At coinciding values the quotient is f': 1 below the bound, 0 at and above it.
        slope = (f < 1.0).to(s.dtype).unsqueeze(-1).expand_as(ds)
        d = torch.where(ds == 0, slope, df / torch.where(ds == 0, 1.0, ds))
        total = s.unsqueeze(-1) + s.unsqueeze(-2)
        # A singular matrix has no unique polar factor; the clamp keeps its gradient finite.
        p = (f.unsqueeze(-1) + f.unsqueeze(-2)) / total.clamp(min=eps(s.dtype))
        return u @ (d * (m + m.mH) / 2 + p * (m - m.mH) / 2) @ vh


def polar(x: Tensor) -> Tensor:
    r"""Polar factor :math:`U V^H` of :math:`X = U \Sigma V^H`: the nearest unitary matrix.

    Finite gradients at exactly unitary points, where those of an SVD are NaN. First derivatives
    only, and none by the transforms of ``torch.func``.

    Args:
        x: Shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n), unitary.
    """
    w: Tensor = _SingularValueMap.apply(x, False)
    return w


def contract(x: Tensor) -> Tensor:
    r""":math:`U \min(\Sigma, 1) V^H`: the nearest matrix with :math:`\|W\|_2 \le 1`.

    Args:
        x: Shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n).
    """
    w: Tensor = _SingularValueMap.apply(x, True)
    return w
