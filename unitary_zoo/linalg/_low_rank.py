"""Approximations of low rank, and updates of unitary matrices by them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unitary_zoo.linalg._dtypes import identity_like, real_dtype
from unitary_zoo.linalg._inplace import add_product


def low_rank_factors(
    x: Tensor, rank: int, sampler: str, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    r""":math:`X \approx a b^H` from a random sketch, in O(rank n^2).

    The sampler "lsi" projects the rows of X on those of :math:`R^H X`, where R is Gaussian:
    :math:`a = X b`. "column" projects the columns of X on ``rank`` of them, drawn without
    replacement with probabilities proportional to their squared norms: :math:`b = X^H a`. The
    product is exact if the rank of X is at most ``rank`` and, for "column", the columns drawn span
    the others.

    Args:
        x: Shape (n, n).
        rank: At most n.
        sampler: "lsi" or "column".
        generator: Source of randomness on the CPU; one seed gives the same draw on every device.

    Returns:
        a and b, shape (n, rank) each; the columns of b are orthonormal for "lsi", those of a for
        "column".
    """
    n = x.shape[-1]
    if sampler == "lsi":
        # The result depends on the span of R alone, so R need not be orthonormal.
        shape, dtype = (n, rank), torch.complex128 if x.is_complex() else torch.float64
        r = torch.randn(shape, dtype=dtype, generator=generator).to(x)
        b = torch.linalg.qr(x.mH @ r).Q
        return x @ b, b
    # The places of the largest values of log p + Gumbel noise are such a draw; columns of norm 0
    # come last.
    noise = -torch.empty(n, dtype=torch.float64).exponential_(generator=generator).log()
    keys = 2 * torch.linalg.vector_norm(x, dim=0).log() + noise.to(x.device, real_dtype(x.dtype))
    a = torch.linalg.qr(x[:, keys.topk(rank).indices]).Q
    return a, x.mH @ a


def low_rank_retraction(
    w: Tensor, a: Tensor, b: Tensor, retraction: Callable[[Tensor], Tensor]
) -> Tensor:
    r""":math:`W f(W^H a b^H)` for unitary W and a retraction f with :math:`f(0) = I`, in O(k n^2).

    With Q an orthonormal basis of :math:`[b, W^H a]`, the argument of f is :math:`Q M Q^H` with M
    of size 2k, and the value is :math:`W + W Q (f(M) - I) Q^H`. For f(M) = polar(I + M) it is
    :math:`\mathrm{polar}(W + a b^H)`.

    Args:
        w: Unitary, shape (n, n).
        a: Shape (n, k).
        b: Shape (n, k).
        retraction: f, from square matrices to unitary ones, equivariant under changes of basis.

    Returns:
        Shape (n, n).
    """
    wa = w.mH @ a
    q = torch.linalg.qr(torch.cat([b, wa], dim=-1)).Q
    f = retraction((q.mH @ wa) @ (q.mH @ b).mH)
    return add_product(w, (w @ q) @ (f - identity_like(f)), q.mH)
