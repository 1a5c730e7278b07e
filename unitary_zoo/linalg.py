r"""Pure tensor functions on unitary and orthogonal matrices; every function takes batches.

Coordinates of skew matrices, the exponential and Cayley maps with their inverses, products of
reflections, the polar factor, and the unitarity defect. "Skew" means skew-Hermitian,
:math:`A^H = -A`, which for real matrices is skew-symmetric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.autograd.function import once_differentiable

from unitary_zoo._torch import is_traced, is_transformed, largest, numbers, without_autocast
from unitary_zoo.errors import SingularMatrixError


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """The real dtype of the same precision."""
    return dtype.to_real() if dtype.is_complex else dtype


def complex_dtype(dtype: torch.dtype) -> torch.dtype:
    """The complex dtype of the same precision; complex64 for half and bfloat16."""
    # Not dtype.to_complex(), which torch.compile cannot trace.
    return torch.promote_types(dtype, torch.complex64)


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


def _shift_(x: Tensor, c: float) -> Tensor:
    """X + c I in place, without an identity matrix in memory."""
    x.diagonal(dim1=-2, dim2=-1).add_(c)
    return x


def _add_product(c: Tensor, x: Tensor, y: Tensor, alpha: float = 1.0, beta: float = 1.0) -> Tensor:
    """Alpha X Y + beta C, in one pass where there is a routine for it."""
    if c.ndim == 2:
        return torch.addmm(c, x, y, alpha=alpha, beta=beta)
    if c.ndim == 3:
        return torch.baddbmm(c, x, y, alpha=alpha, beta=beta)
    return beta * c + alpha * (x @ y)


def _add_product_(c: Tensor, x: Tensor, y: Tensor, alpha: float = 1.0) -> Tensor:
    """C + alpha X Y in place of C."""
    if c.ndim == 2:
        return c.addmm_(x, y, alpha=alpha)
    if c.ndim == 3:
        return c.baddbmm_(x, y, alpha=alpha)
    return c.add_(x @ y, alpha=alpha)


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


def traceless(a: Tensor) -> Tensor:
    r""":math:`A - \mathrm{tr}(A)/n\, I`: of skew A, the part whose exponential is in SU(n)."""
    mean = a.diagonal(dim1=-2, dim2=-1).mean(-1)
    return a - mean[..., None, None] * identity_like(a)


def special(w: Tensor) -> Tensor:
    r""":math:`W \det(W)^{-1/n}`, by the root next to 1: unitary W becomes one of SU(n)."""
    turn = -torch.linalg.det(w).angle() / w.shape[-1]
    return w * torch.polar(torch.ones_like(turn), turn)[..., None, None]


# ------------------------------------------------------------------ maps with a backward pass


Pullback = Callable[[Tensor], Tensor]
"""From the gradient in a result to that in the argument."""


def _opaque(
    name: str,
    evaluate: Callable[[Tensor], tuple[Tensor, Pullback]],
    shape: Callable[[Tensor], Sequence[int]] = lambda x: x.shape,
) -> Any:
    """A map of matrices as an operator of its own.

    A tracer (torch.compile, torch.export) records it as one step, and on the meta device it has
    a shape; inside it may look at numbers.

    Args:
        name: Of the operator.
        evaluate: The argument to the value and its pullback.
        shape: The argument to the shape of the value.
    """

    @torch.library.custom_op(f"unitary_zoo::{name}", mutates_args=())
    def forward(x: Tensor) -> Tensor:
        return evaluate(x)[0].contiguous()

    @torch.library.custom_op(f"unitary_zoo::{name}_backward", mutates_args=())
    def backward(grad: Tensor, x: Tensor) -> Tensor:
        return evaluate(x)[1](grad).contiguous()

    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    def differentiate(ctx: Any, grad: Tensor) -> Tensor:
        return backward(grad, *ctx.saved_tensors)

    forward.register_fake(lambda x: x.new_empty(tuple(shape(x))))
    backward.register_fake(lambda grad, x: x.new_empty(tuple(x.shape)))
    forward.register_autograd(differentiate, setup_context=setup_context)
    return forward


def _evaluate(
    function: type[torch.autograd.Function],
    formula: Callable[[Tensor], Tensor],
    operator: Any,
    x: Tensor,
) -> Tensor:
    """A map by what suits who is watching.

    Args:
        function: Forward and backward pass of its own, the fastest.
        formula: For a transform that differentiates in its own way.
        operator: For a tracer, and for tensors without data.
        x: The argument.
    """
    out: Tensor
    if is_traced() or x.is_meta:
        out = operator(x)
    elif torch._C._are_functorch_transforms_active() or unpack_dual(x).tangent is not None:
        out = formula(x)
    else:
        out = function.apply(x)
    return out


def _differentiable_gradient(
    formula: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor
) -> Tensor:
    """The gradient of a map whose derivative is wanted in turn, from its plain formula."""
    return torch.autograd.grad(formula(x), x, grad, create_graph=True)[0]


# ------------------------------------------------------------------------------- exponential


Cubics = tuple[tuple[float, ...], ...]

# Polynomials p of degree 12 in four products, p = u + (v + q) q with q = s + t^2. For each
# precision: the radius r such that p(ix) = exp(ix) but for half a unit roundoff for |x| <= r; the
# constant of v, where that of u is 1 and those of s and t are 0; and as rows the coefficients of
# A, A^2, A^3 in u, v, s, t. They are best approximations with p(0) = p'(0) = 1, for which r is
# almost twice that of the Taylor polynomial. The form is that of Bader, Blanes and Casas, Computing
# the matrix exponential with an optimized Taylor polynomial approximation, 2019. Completing the
# square twice gives the coefficients but for two, which are chosen so that q(0) = q'(0) = 0: that
# keeps the terms as small as those of the Taylor polynomial.
_EXP_POLYNOMIALS: dict[torch.dtype, tuple[float, float, Cubics]] = {
    torch.float32: (
        2.8,
        5.1123650499207766,
        (
            (1.0, -0.030088961675453605, -0.02710052216026315),
            (1.2576018956769816, 0.026392923473026801, 0.010103492740164037),
            (0.0, 0.078006935935619824, 0.0061821159500308769),
            (0.16025192567922185, 0.019385658201656475, 0.0065114880164693015),
        ),
    ),
    torch.float64: (
        0.6,
        5.4995567732087851,
        (
            (1.0, -0.12650522095601328, -0.049136945272952218),
            (1.3067748005013837, 0.0056836520042485224, 0.0097020929938440912),
            (0.0, 0.096184659276723739, 0.0067813863069166779),
            (0.13317117281878108, 0.02023684977244764, 0.0067479754065355594),
        ),
    ),
}


def expm_skew(a: Tensor) -> Tensor:
    r""":math:`W = \exp(A)` for skew A, by a polynomial of degree 12 and squaring.

    ``torch.matrix_exp`` is not used: for a single small matrix its float32 result is off by
    2.5e-5. The scaling uses a bound of the 2-norm by the Frobenius norms of A, A^2 and A^3. Every
    squaring doubles the defect, so Newton-Schulz steps go between: W is unitary to rounding for
    any argument whose square does not overflow.

    Args:
        a: Skew, shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n), unitary.
    """
    return _evaluate(_Exponential, _exponential, _exponential_operator, a)


class _Exponential(torch.autograd.Function):
    """exp with the reverse of its products: two for each, and none for a Newton-Schulz step."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        w, ctx.scale, ctx.cubics, *factors = _exponential_factors(a)
        ctx.save_for_backward(a, *factors)
        return w

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        a, *factors = ctx.saved_tensors
        with without_autocast(grad.device):
            if torch.is_grad_enabled():
                return _differentiable_gradient(_exponential, a, grad)
            return _Exponential._adjoint(grad, ctx.scale, ctx.cubics, *factors)

    @staticmethod
    def _adjoint(
        grad: Tensor, scale: float, cubics: Cubics,
        a: Tensor, a2: Tensor, t: Tensor, q: Tensor, vq: Tensor, *roots: Tensor,
    ) -> Tensor:  # fmt: skip
        # The derivative of a Newton-Schulz step at a unitary matrix is the identity on the
        # tangent space, and no other direction is taken by an exponential.
        for root in reversed(roots):
            inverse = root.mH
            grad = _add_product_(grad @ inverse, inverse, grad)
        # u + (v + q) q, where q = s + t^2
        dv = grad @ q.mH
        dq = _add_product(dv, vq.mH, grad)
        th = t.mH
        dt = _add_product_(dq @ th, th, dq)
        da, da2, da3 = (
            _combination(column, grad, dv, dq, dt) for column in zip(*cubics, strict=True)
        )
        # A^3 = A A^2 and A^2 = A A, where A^H = -A and A^2 is Hermitian
        _add_product_(da2, a, da3, alpha=-1)
        _add_product_(da, da3, a2)
        _add_product_(da, da2, a, alpha=-1)
        _add_product_(da, a, da2, alpha=-1)
        return da if scale == 1.0 else da * scale


def _exponential(a: Tensor) -> Tensor:
    w: Tensor = _exponential_factors(a)[0]
    return w


def _exponential_and_pullback(a: Tensor) -> tuple[Tensor, Pullback]:
    w, *rest = _exponential_factors(a)
    return w, lambda grad: _Exponential._adjoint(grad, *rest)


_exponential_operator = _opaque("expm_skew", _exponential_and_pullback)


def _exponential_factors(a: Tensor) -> tuple[Any, ...]:
    """exp(A) and what it was made of.

    Returns:
        W; a factor c; the coefficients of the powers of c A in u, v, s, t, with the halvings in
        them; c A, (c A)^2, t, q, v + q; and the matrices that were squared, in order. c is 1
        unless A is huge.
    """
    radius, shift, rows = _EXP_POLYNOMIALS[real_dtype(a.dtype)]
    a, a2, a3 = _powers(a)
    bound = _spectral_bound(a, a2, a3)
    squarings = max(0, math.ceil(math.log2(bound / radius))) if bound > 0 else 0
    half, scale = 0.5**squarings, 1.0
    if squarings > 30:  # the coefficients of A^3 would underflow, or A^3 has overflowed
        half, scale = 1.0, half
        a, a2, a3 = _powers(a * scale)
    cubics = tuple(tuple(c * half**k for k, c in enumerate(row, 1)) for row in rows)
    u, v, s, t = (_combination(row, a, a2, a3) for row in cubics)
    u, v = _shift_(u, 1.0), _shift_(v, shift)
    q = _add_product(s, t, t)
    vq = v + q
    w = _add_product(u, vq, q)
    roots = []
    for left in range(squarings - 1, -1, -1):
        roots.append(w)
        w = w @ w
        if left % 4 == 0:  # the defect has grown to 16 eps at most; the step squares it
            w = newton_schulz_step(w)
    return w, scale, cubics, a, a2, t, q, vq, *roots


def _powers(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A, A^2, A^3."""
    a2 = a @ a
    return a, a2, a @ a2


def _combination(coefficients: tuple[float, ...], *x: Tensor) -> Tensor:
    """The sum of c_i X_i, in one new tensor."""
    first, *rest = ((c, y) for c, y in zip(coefficients, x, strict=True) if c)
    out = first[1] * first[0]
    for c, y in rest:
        out.add_(y, alpha=c)
    return out


def _spectral_bound(a: Tensor, a2: Tensor, a3: Tensor) -> float:
    """An upper bound of the 2-norm of skew A, from its powers; 0 if nothing is finite."""
    if not a.numel():
        return 0.0
    axes = (-3, -2, -1) if a.is_complex() else (-2, -1)
    norms = torch.stack(
        [torch.linalg.vector_norm(parts(p.detach()), dim=axes) for p in (a, a2, a3)]
    )
    # Eigenvalues of a real A come in pairs +-ix, of which one is counted.
    repeated = 1 if a.is_complex() else 2
    bound = 0.0
    for moments in zip(*numbers(norms), strict=True):
        bound = max(bound, _largest_of([norm * norm / repeated for norm in moments], bound))
    return bound**0.5


def _largest_of(sums: list[float], known: float) -> float:
    r"""An upper bound of the largest of some numbers :math:`\mu_i \ge 0` from their power sums.

    Without the largest, M, Cauchy's inequality for the sums of first to third powers reads
    :math:`(s_2 - M^2)^2 \le (s_1 - M)(s_3 - M^3)`: a cubic in M, concave above its largest root.
    A bound below the number ``known`` need not be close.
    """
    roots = [s ** (1 / k) for k, s in enumerate(sums, 1) if math.isfinite(s)]
    m = min(roots, default=0.0)
    if len(roots) < 3 or m <= known:
        return m
    s1, s2, s3 = sums
    # Enlarged by more than the power sums round: for equal numbers the root is a double one.
    constant = s1 * s3 * (1 + 1e-5) - s2**2
    for _ in range(6):  # Newton's method comes from above, and stays there
        value = constant + m * (-s3 + m * (2 * s2 - m * s1))
        slope = -s3 + m * (4 * s2 - 3 * m * s1)
        if not (value < 0 and slope < 0):
            break
        m -= value / slope
    return m


def newton_schulz_step(w: Tensor) -> Tensor:
    r""":math:`W \mapsto W (3 I - W^H W) / 2`: squares a small unitarity defect.

    Converges to the polar factor where all singular values are below :math:`\sqrt 3`.
    """
    return _add_product(w, w, w.mH @ w, alpha=-0.5, beta=1.5)


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


def log_unitary(w: Tensor, *, traceless: bool = False) -> Tensor:
    r"""Principal logarithm: skew A with :math:`\exp(A) = W` and eigenphases in [-pi, pi].

    Real W give real A: a real plane with eigenvalues near -1 (where the two conjugate logarithms
    are far apart) is treated as minus a small rotation, so pairs of exact -1 are fine.

    Args:
        w: One unitary or special orthogonal matrix, shape (n, n).
        traceless: Of a complex matrix of determinant 1, the logarithm of trace 0: the phases
            farthest on one side are taken a full turn back.

    Returns:
        Shape (n, n), double precision, real if ``w`` is real.

    Raises:
        ValueError: ``w`` is real with determinant -1: it has no real logarithm.
    """
    phases, v = unitary_eigh(w)
    if w.is_complex():
        if traceless:
            turns = round(float(phases.sum()) / (2 * math.pi))
            order = phases.argsort(descending=turns > 0)[: abs(turns)]
            phases[order] -= math.copysign(2 * math.pi, turns)
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

    Never has the eigenvalue -1 at finite A. The inverse alone loses the digits of the norm of A
    (a defect of 3000 eps at a norm of 1e4); beyond columns of length 2 a Newton-Schulz step
    restores them, and past a norm of eps^(-1/2), where it may not converge, the polar factor.

    Args:
        a: Skew, shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n), unitary.
    """
    return _evaluate(_Cayley, _cayley, _cayley_operator, a)


class _Cayley(torch.autograd.Function):
    r"""With :math:`R = (I + A)^{-1}` is W = 2 R - I and dW = -2 R dA R: no solve in backward."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        w, r = _cayley_and_inverse(a)
        ctx.save_for_backward(a, r)
        return w

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        a, r = ctx.saved_tensors
        with without_autocast(grad.device):
            if torch.is_grad_enabled():
                return _differentiable_gradient(_cayley, a, grad)
            return _Cayley._adjoint(grad, r)

    @staticmethod
    def _adjoint(grad: Tensor, r: Tensor) -> Tensor:
        return -2 * (r.mH @ grad @ r.mH)


def _cayley(a: Tensor) -> Tensor:
    return _cayley_and_inverse(a)[0]


def _cayley_and_pullback(a: Tensor) -> tuple[Tensor, Pullback]:
    w, r = _cayley_and_inverse(a)
    return w, lambda grad: _Cayley._adjoint(grad, r)


_cayley_operator = _opaque("cayley", _cayley_and_pullback)


def _cayley_and_inverse(a: Tensor) -> tuple[Tensor, Tensor]:
    longest = largest(torch.linalg.vector_norm(a.detach(), dim=-2)) if a.numel() else 0.0
    r = _inverse_of_shifted(a, longest)
    w = _shift_(2 * r, -1.0)
    # The defect is a few times norm * eps. The norm is at most sqrt(n) times the longest column, so
    # for short ones that is the rounding of a product, as anywhere else.
    if longest <= 2.0:
        return w, r
    if not longest * math.sqrt(a.shape[-1]) <= eps(a.dtype) ** -0.5:
        w = polar(w)
    return newton_schulz_step(w), r


def _inverse_of_shifted(a: Tensor, longest: float) -> Tensor:
    """(I + A)^-1 for skew A, whose longest column is given."""
    one_plus = _shift_(a.clone(), 1.0)
    m = a.shape[-1] // 2
    # Elimination without a search for pivots, by halves: three quarters of a product instead of
    # the larger part of a factorisation. I + A is accretive, hence so is the Schur complement,
    # and the inverses of both are at most 1; but the product in the complement rounds by eps
    # times the square of the longest column, and that square may pass for a factor of ten only.
    # Small matrices are faster in one piece.
    if m < 48 or not longest**2 <= 10:
        return _inverse(one_plus)
    p, q = one_plus[..., :m, :m], one_plus[..., :m, m:]
    p = _inverse(p)
    pq = p @ q
    s = _inverse(_add_product(one_plus[..., m:, m:], q.mH, pq))
    qp = q.mH @ p
    upper = pq @ s
    top = torch.cat([_add_product(p, upper, qp, alpha=-1), -upper], dim=-1)
    return torch.cat([top, torch.cat([s @ qp, s], dim=-1)], dim=-2)


def _one_by_one(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A map of matrices by LU factorisation, over a batch."""
    # torch 2.13 with MKL and two threads or more gives a batch of n >= 256 wrong factors, with or
    # without an error; single matrices are right.
    if x.shape[:-2].numel() < 2 or x.device.type != "cpu":
        return function(x)
    return torch.stack([function(y) for y in x.flatten(0, -3).unbind()]).reshape(x.shape)


def _inverse(x: Tensor) -> Tensor:
    if torch._C._are_functorch_transforms_active():
        r: Tensor = _TransformedInverse.apply(x)
        return r
    # Of what is never singular: nothing to check, no wait.
    return _one_by_one(lambda y: torch.linalg.inv_ex(y)[0], x)


class _TransformedInverse(torch.autograd.Function):
    """The inverse for the transforms of torch.func, where a batch must not reach the LU either."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _one_by_one(lambda y: torch.linalg.inv_ex(y)[0], x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (r,) = ctx.saved_tensors
        return -(r.mH @ grad @ r.mH)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor) -> Tensor:
        (r,) = ctx.saved_tensors
        return -(r @ dx @ r)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], x: Tensor) -> tuple[Tensor, int]:
        return _TransformedInverse.apply(x.movedim(in_dims[0], 0)), 0


def _cayley_transform(x: Tensor) -> Tensor:
    one = identity_like(x)
    return _one_by_one(lambda y: torch.linalg.solve(one + y, one - y), x)


def inverse_cayley(w: Tensor) -> Tensor:
    r""":math:`A = (I + W)^{-1}(I - W)`; the Cayley map is its own inverse.

    Args:
        w: Unitary without the eigenvalue -1, shape (..., n, n).

    Returns:
        Skew, shape (..., n, n).
    """
    a = _cayley_transform(w)
    return (a - a.mH) / 2


def inverse_scaled_cayley(w: Tensor) -> tuple[Tensor, Tensor]:
    r"""A and d with :math:`W = (I + A)^{-1} (I - A) \mathrm{diag}(d)`, for any W.

    A is skew with entries of modulus at most 1, or 1.01 if complex, and :math:`|d_j| = 1`; real W
    give real signs d.
    :math:`|\det(I + W \mathrm{diag}(d)^H)|` grows with every change made, so it ends: by
    :math:`(1 + x^2)^{1/2}` where an entry :math:`a_{jj} = ix` has :math:`d_j` turned by
    :math:`2 \arctan x`, and by :math:`|a_{ij}|^2 + a_{ii} a_{jj}` where both
    :math:`d_i` and :math:`d_j` turn round.

    Args:
        w: One unitary matrix, shape (n, n), double precision.

    Returns:
        Shapes (n, n) and (n,).

    Source: O'Dorney, Minimizing the Cayley transform of an orthogonal matrix by multiplying by
    signature matrices, 2014, for the real pairs.
    """
    # Elimination in W + diag(d), each d chosen to make the pivot 1 at least: the start is regular.
    rest, phases = w.clone(), []
    for j in range(w.shape[-1]):
        pivot = rest[j, j].clone()
        phases.append(torch.where(pivot == 0, 1.0, torch.sgn(pivot)))
        column = rest[j + 1 :, j] / (pivot + phases[-1])
        rest[j + 1 :, j + 1 :] -= torch.outer(column, rest[j, j + 1 :])
    d = torch.stack(phases)
    a = inverse_cayley(w * d.conj())
    one = identity_like(a)
    # Growth that rounding cannot undo: by 0.5% for a phase and 1% for a pair, if complex.
    limit = 1.01 if w.is_complex() else 1 + 1e-6
    while True:
        size = a.diagonal().abs()
        if float(size.max()) > 0.1:
            j = int(size.argmax())
            x = a[j, j].imag
            turn = torch.polar(torch.ones_like(x), 2 * x.arctan())
            # R = I + A is 2 (I + Z)^-1; column j of Z = W diag(d)^H gets the factor ``turn``.
            share = (turn - 1) / (2 + (turn - 1) * (1 - a[j, j]))
            a = a - share * torch.outer((one - a)[:, j], (one + a)[j])
            d[j] = d[j] * turn.conj()
        else:
            size = a.abs()
            if not float(size.max()) > limit:
                break
            pair = list(divmod(int(size.argmax()), len(d)))
            a = a + (one - a)[:, pair] @ torch.linalg.solve(a[pair][:, pair], (one + a)[pair])
            d[pair] = -d[pair]
        a = (a - a.mH) / 2
    return inverse_cayley(w * d.conj()), d


# ---------------------------------------------------------------------------------- Gram-Schmidt


def gram_schmidt(x: Tensor) -> Tensor:
    r"""W = Q of :math:`X = Q R`, R upper triangular with a positive diagonal.

    Args:
        x: Shape (n, n), float32 or float64, real or complex, columns of order 1.

    Returns:
        Shape (n, n), unitary.

    Raises:
        SingularMatrixError: Some column has nothing but rounding beside those before it. (The
            transforms of ``torch.func`` get some unitary matrix, for they look at no value.)
    """
    if is_traced() or x.is_meta:
        w: Tensor = _gram_schmidt_operator(x)
        return w
    q, r = torch.linalg.qr(x)
    if not is_transformed():
        _check_regular(r.detach())
    return q * _phases(r.detach())


def _gram_schmidt_and_pullback(x: Tensor) -> tuple[Tensor, Pullback]:
    q, r = torch.linalg.qr(x)
    _check_regular(r)
    phases = _phases(r)
    w, r = q * phases, phases.conj().unsqueeze(-1) * r

    def pullback(grad: Tensor) -> Tensor:
        # dW = W Omega; below the diagonal the skew Omega is W^H dX R^-1, on it that's imaginary.
        m = w.mH @ grad
        p = (m - m.mH).tril(-1)
        if x.is_complex():
            p = p + torch.diag(1j * m.diagonal().imag)
        return torch.linalg.solve_triangular(r, (w @ p).mH, upper=True).mH

    return w, pullback


_gram_schmidt_operator = _opaque("gram_schmidt", _gram_schmidt_and_pullback)


def _phases(r: Tensor) -> Tensor:
    """Those of the diagonal: signs in LAPACK, but any in MKL's parallel complex factorisation."""
    # Constants, so they take no part in derivatives.
    phases = torch.sgn(r.diagonal())
    return torch.where(phases == 0, 1.0, phases)


def _check_regular(r: Tensor) -> None:
    n = r.shape[-1]
    share = r.diagonal().abs() / torch.linalg.vector_norm(r, dim=0)  # 0 / 0 is not a number
    limit = math.sqrt(n) * eps(r.dtype)
    regular = share > limit if n > 1 else r.abs()[0] > 0
    if not regular.all():
        j = int((~regular).nonzero()[0])
        raise SingularMatrixError(
            f"x is singular, so its unitary factor is not determined: column {j} has a share of "
            f"{float(share[j]):.1g} that is independent of the columns before it (limit "
            f"{limit:.1g}); where x is the parameter of a scheme, call reset_parameters() or "
            "assign_(w)"
        )


# --------------------------------------------------------------------------------- reflections


def householder(v: Tensor) -> Tensor:
    r""":math:`W = H_1 H_2 \cdots H_k` with :math:`H_i = I - 2 v_i v_i^H / \|v_i\|^2`.

    By the compact form :math:`W = I - V S^{-1} V^H`, where S is the upper triangle of
    :math:`V^H V` with half its diagonal; k products with a vector have become three with a
    matrix. The length of a column does not matter. A column of zeros stands for the identity, and
    its gradient is zero.

    Args:
        v: The :math:`v_i` as columns, shape (..., n, k), any k, float32 or float64, real or
            complex.

    Returns:
        Shape (..., n, n), unitary, with determinant :math:`(-1)^k` if no column is zero.

    Source: Joffrain, Low, Quintana-Orti, van de Geijn and Van Zee, Accumulating Householder
    transformations, revisited, 2006.
    """
    return _evaluate(_Householder, _householder, _householder_operator, v)


class _Householder(torch.autograd.Function):
    r"""With :math:`Y = S^{-1} V^H` and :math:`Z = V S^{-1}`, dW = -dV Y - Z dV^H + Z dS Y."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        w, *factors = _householder_factors(v)
        ctx.save_for_backward(v, *factors)
        return w

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        v, *factors = ctx.saved_tensors
        with without_autocast(grad.device):
            if torch.is_grad_enabled():
                return _differentiable_gradient(_householder, v, grad)
            return _Householder._adjoint(grad, *factors)

    @staticmethod
    def _adjoint(grad: Tensor, scale: Tensor, u: Tensor, s: Tensor, y: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(s, u, upper=True, left=False)
        gy = grad @ y.mH
        ds = (z.mH @ gy).triu_()
        ds.diagonal(dim1=-2, dim2=-1).mul_(0.5)
        du = _add_product(gy, grad.mH, z, alpha=-1, beta=-1)
        return _add_product_(du, u, ds + ds.mH).div_(scale)


def _householder_and_pullback(v: Tensor) -> tuple[Tensor, Pullback]:
    w, *factors = _householder_factors(v)
    return w, lambda grad: _Householder._adjoint(grad, *factors)


_householder_operator = _opaque(
    "householder", _householder_and_pullback, lambda v: (*v.shape[:-1], v.shape[-2])
)


def _householder(v: Tensor) -> Tensor:
    return _householder_factors(v)[0]


def _householder_factors(v: Tensor) -> tuple[Tensor, ...]:
    """W, and what it was made of: the lengths taken out of v, U = v / lengths, S and S^-1 U^H."""
    scale, u, s, y = _compact_form(v)
    w = _shift_(-(u @ y), 1.0)
    return w, scale, u, s, y


def _compact_form(v: Tensor) -> tuple[Tensor, ...]:
    """What W is made of, without W."""
    # W does not depend on the lengths, so they take no part in derivatives.
    largest = v.detach().abs().amax(-2, keepdim=True)
    scale = torch.where(largest > 0, largest, 1.0)
    u = v / scale
    s = (u.mH @ u).triu()
    diagonal = s.diagonal(dim1=-2, dim2=-1)
    diagonal.mul_(0.5)
    diagonal.masked_fill_((largest == 0).squeeze(-2), 1.0)  # a zero column would make S singular
    return scale, u, s, torch.linalg.solve_triangular(s, u.mH, upper=True)


def compact_reflections(v: Tensor) -> tuple[Tensor, Tensor]:
    r"""U and Y with :math:`H_1 H_2 \cdots H_k = I - U Y`: :func:`householder` without the product.

    Args:
        v: The reflectors as columns, shape (..., n, k), float32 or float64, real or complex.

    Returns:
        Shapes (..., n, k) and (..., k, n).
    """
    _, u, _, y = _compact_form(v)
    return u, y


# ------------------------------------------------------------------- functions of singular values

# In the 2-norm of X^H X - I. Nearer than that, a few products cost less than an SVD, and so do the
# terms of the series of their derivative.
_NEAR = 0.2


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
        if contract:
            # What the bases lack in orthogonality, several eps, would put norms above 1; of W
            # itself no later step can take it away, as one does of a polar factor.
            u, vh = newton_schulz_step(u), newton_schulz_step(vh)
        ctx.save_for_backward(u, s, vh, f)
        return (u * f.unsqueeze(-2)) @ vh

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        u, s, vh, f = ctx.saved_tensors
        with without_autocast(grad.device):
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


class _NearPolar(torch.autograd.Function):
    r"""The polar factor of X near the group, from :math:`D = X^H X - I`, its square, its norm.

    In :math:`X = W H` the derivative is :math:`dW = W \Omega`, where :math:`\Omega` is skew and
    :math:`H \Omega + \Omega H = W^H dX - dX^H W`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, defect: Tensor, square: Tensor, norm: float) -> Tensor:
        w = _near_polar(x, defect, square, norm)
        ctx.save_for_backward(x, w)
        ctx.norm = norm
        return w

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        x, w = ctx.saved_tensors
        with without_autocast(grad.device):
            return _NearPolar._adjoint(grad, x, w, ctx.norm), None, None, None

    @staticmethod
    def _adjoint(grad: Tensor, x: Tensor, w: Tensor, norm: float) -> Tensor:
        m = w.mH @ grad
        k = (m - m.mH) / 2
        excess = _shift_(w.mH @ x, -1.0)  # E = H - I
        # Y = K - (E Y + Y E) / 2 is a contraction by the norm of E, with real eigenvalues: the
        # Chebyshev iteration takes twice the digits of its powers. Y E = -(E Y)^H.
        radius = max(1 - math.sqrt(1 - norm), eps(x.dtype))
        before, y, weight, error = k, k, 1.0, radius
        while error > eps(x.dtype) / 4:
            half = excess @ y
            after = torch.sub(k, half - half.mH, alpha=0.5)
            if weight > 1.0:
                after = torch.lerp(before, after, weight)
            before, y = y, after
            weight = 1 / (1 - radius**2 * weight / (2 if weight == 1.0 else 4))
            error *= radius / 2
        return w @ y


def _near_polar(x: Tensor, defect: Tensor, square: Tensor, norm: float) -> Tensor:
    # X (I + D)^(-1/2) by the series to D^2 or D^4; the first term left out, 5 D^3/16 or
    # 63 D^5/256, makes half the new defect. Newton-Schulz steps square that.
    series, left = defect.mul(-0.5).add_(square, alpha=0.375), norm**3
    if left > eps(x.dtype) / 2:
        higher = defect.mul(-0.3125).add_(square, alpha=35 / 128)
        series, left = _add_product(series, square, higher), norm**5
    w = _add_product(x, x, series)
    while left > eps(x.dtype) / 2:
        w = newton_schulz_step(w)
        left = left**2
    return w


class _TransformedPolar(torch.autograd.Function):
    """The polar factor for the transforms of torch.func: by an SVD, with the same gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, ...]:
        u, s, vh = torch.linalg.svd(x)
        return u @ vh, u, s, vh

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*output[1:])
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> Tensor:
        u, s, vh = ctx.saved_tensors
        return _SingularValueMap._adjoint(grad, u, s, vh, torch.ones_like(s))


def _polar_and_pullback(x: Tensor) -> tuple[Tensor, Pullback]:
    defect, square, norm = _excess(x)
    if norm <= _NEAR:
        w = _near_polar(x, defect, square, norm)
        return w, lambda grad: _NearPolar._adjoint(grad, x, w, norm)
    u, s, vh = torch.linalg.svd(x)
    f = torch.ones_like(s)
    return u @ vh, lambda grad: _SingularValueMap._adjoint(grad, u, s, vh, f)


_polar_operator = _opaque("polar", _polar_and_pullback)


def _excess(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """X^H X - I, its square, and a bound of the norm of the former."""
    defect = _shift_(x.detach().mH @ x.detach(), -1.0)
    square = defect @ defect
    # ||D||_2^2 <= ||D^2||_1, closer than the Frobenius norm of D
    return defect, square, largest(square.abs().sum(-2)) ** 0.5 if x.numel() else 0.0


def polar(x: Tensor) -> Tensor:
    r"""Polar factor :math:`U V^H` of :math:`X = U \Sigma V^H`: the nearest unitary matrix.

    Near the group by Newton-Schulz steps, elsewhere by an SVD. Finite gradients at exactly
    unitary points, where those of an SVD are NaN. First derivatives only.

    Args:
        x: Shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n), unitary.
    """
    w: Tensor
    if is_traced() or x.is_meta:
        w = _polar_operator(x)
        return w
    if is_transformed():
        w = _TransformedPolar.apply(x)[0]
        return w
    defect, square, norm = _excess(x)
    if norm <= _NEAR:
        w = _NearPolar.apply(x, defect, square, norm)
    else:
        w = _SingularValueMap.apply(x, False)
    return w


def polar_of_sign(x: Tensor, sign: int | None) -> Tensor:
    r"""The orthogonal matrix of determinant ``sign`` nearest to X; None is the polar factor.

    Where the polar factor has the other sign, the direction of the least singular value turns
    round. That is the nearest one (Kabsch, 1976), but it jumps where the two least values meet.

    Args:
        x: Shape (n, n), float32 or float64, real where there is a sign.
        sign: 1, -1 or None.

    Returns:
        Shape (n, n), orthogonal.
    """
    w = polar(x)
    if sign is None:
        return w
    wrong = torch.linalg.det(w.detach()) * sign < 0
    # A tracer must not look, so there both ways are taken.
    if not (is_traced() or x.is_meta) and not largest(wrong):
        return w
    # With W = polar(X) and v the right singular vector, W (I - 2 v v^T); v takes no part in
    # derivatives, like the sign of W.
    v = torch.linalg.svd(x.detach()).Vh[-1]
    return w - 2 * wrong * torch.outer(w @ v, v)


def completed(q: Tensor, sign: int | None = None) -> Tensor:
    """A square matrix whose first k columns are ``q`` and whose others are orthonormal to them.

    Args:
        q: Shape (n, k), k < n, of rank k, real or complex.
        sign: Of the determinant, if real and to be chosen.

    Returns:
        Shape (n, n), unitary if the columns of ``q`` are orthonormal.
    """
    w = torch.linalg.qr(q, mode="complete").Q
    w[:, : q.shape[-1]] = q
    if sign is not None and not q.is_complex() and torch.linalg.det(w) * sign < 0:
        w[:, -1].neg_()
    return w


def restored(w: Tensor) -> Tensor:
    r"""W itself if it is unitary, else its polar factor: a matrix that was stored, then changed.

    A mean of distinct unitary matrices (a moving average of a model) is shorter than each:
    :math:`\|W\|_F^2 < n`. That is what is looked at, for it costs n^2.

    Args:
        w: Shape (n, n), float32 or float64, real or complex; takes no part in derivatives.

    Returns:
        Shape (n, n).
    """
    w = w.detach()
    if is_traced() or w.is_meta:
        out: Tensor = _restored_operator(w)
        return out
    # Rounding makes entries of W^H W - I of about eps, either way.
    n = w.shape[-1]
    limit = 4 * (math.sqrt(n) * eps(w.dtype) + n * eps(torch.float64))
    return w if largest(missing_length(w)) <= limit else polar(w)


def missing_length(w: Tensor) -> Tensor:
    r""":math:`|\|W\|_F^2 - n|`, summed in double precision: 0 but for rounding if W is unitary.

    No singular value of a mean of unitary matrices exceeds 1, so the unitarity defect of a mean
    is at most this.
    """
    accurate = double(w[..., 0, 0]).dtype
    squared = torch.linalg.vector_norm(w, dim=(-2, -1), dtype=accurate).square()
    return (squared - w.shape[-1]).abs()


_restored_operator = _opaque("restored", lambda w: (restored(w).clone(), torch.zeros_like))


def contract(x: Tensor) -> Tensor:
    r""":math:`U \min(\Sigma, 1) V^H`: the nearest matrix with :math:`\|W\|_2 \le 1`.

    Args:
        x: Shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n).
    """
    w: Tensor = _SingularValueMap.apply(x, True)
    return w


# -------------------------------------------------------------------------- updates of low rank


def low_rank_factors(
    x: Tensor, rank: int, sampler: str, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    r""":math:`X \approx a b^H` from a random sketch, in O(rank n^2).

    "lsi" projects the rows of X on those of :math:`R^H X`, R Gaussian: :math:`a = X b`. "column"
    projects the columns on ``rank`` of them, drawn without replacement with probabilities
    proportional to their squared norms: :math:`b = X^H a`. Exact where X has at most that rank
    and, for "column", the columns drawn span the others.

    Args:
        x: Shape (n, n).
        rank: At most n.
        sampler: "lsi" or "column".
        generator: Source of randomness on the CPU; one seed gives the same draw on every device.

    Returns:
        a and b, shape (n, rank) each; the second is orthonormal for "lsi", else the first.
    """
    n = x.shape[-1]
    if sampler == "lsi":
        # Only the span of R matters, so it is as good as its orthonormal factor.
        shape, dtype = (n, rank), torch.complex128 if x.is_complex() else torch.float64
        r = torch.randn(shape, dtype=dtype, generator=generator).to(x)
        b = torch.linalg.qr(x.mH @ r).Q
        return x @ b, b
    # The largest of log p + Gumbel noise are such a draw, columns of norm zero last.
    noise = -torch.empty(n, dtype=torch.float64).exponential_(generator=generator).log()
    keys = 2 * torch.linalg.vector_norm(x, dim=0).log() + noise.to(x.device, real_dtype(x.dtype))
    a = torch.linalg.qr(x[:, keys.topk(rank).indices]).Q
    return a, x.mH @ a


def low_rank_turn(w: Tensor, a: Tensor, b: Tensor, turn: Callable[[Tensor], Tensor]) -> Tensor:
    r""":math:`W f(W^H a b^H)` for unitary W, f with :math:`f(0) = I`, in O(k n^2).

    With Q an orthonormal basis of :math:`[b, W^H a]` the argument is :math:`Q M Q^H`, M of size
    2k, and W becomes :math:`W + W Q (f(M) - I) Q^H`. For f(M) = polar(I + M) this is
    :math:`\mathrm{polar}(W + a b^H)`.

    Args:
        w: Unitary, shape (n, n).
        a: Shape (n, k).
        b: Shape (n, k).
        turn: f, from square matrices to unitary ones, equivariant under changes of basis.

    Returns:
        Shape (n, n).
    """
    wa = w.mH @ a
    q = torch.linalg.qr(torch.cat([b, wa], dim=-1)).Q
    f = turn((q.mH @ wa) @ (q.mH @ b).mH)
    return _add_product(w, (w @ q) @ (f - identity_like(f)), q.mH)
