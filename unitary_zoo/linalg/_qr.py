"""The unitary factor of a QR decomposition."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo._torch import is_transformed
from unitary_zoo.errors import SingularMatrixError
from unitary_zoo.linalg._dtypes import eps
from unitary_zoo.linalg._map import MatrixMap


def gram_schmidt(x: Tensor) -> Tensor:
    r"""The unitary factor W of :math:`X = W R`, where R is upper triangular with positive diagonal.

    Args:
        x: Shape (..., n, n), float32 or float64, real or complex, columns of order 1.

    Returns:
        Shape (..., n, n), unitary.

    Raises:
        SingularMatrixError: A column depends on the columns before it, up to rounding. Under
            transforms of ``torch.func``, which read no values, nothing is raised, and W is some
            unitary matrix.
    """
    return _GRAM_SCHMIDT(x)


def _gram_schmidt(x: Tensor) -> Tensor:
    q, r = torch.linalg.qr(x)
    if not is_transformed():
        _check_regular(r.detach())
    return q * _phases(r.detach()).unsqueeze(-2)


def _factors(x: Tensor) -> tuple[Tensor, ...]:
    """W, then W again and R."""
    q, r = torch.linalg.qr(x)
    _check_regular(r)
    phases = _phases(r)
    w = q * phases.unsqueeze(-2)
    return w, w, phases.conj().unsqueeze(-1) * r


def _adjoint(grad: Tensor, w: Tensor, r: Tensor) -> Tensor:
    # dW = W Omega with skew Omega, which below the diagonal is W^H dX R^-1 and on it imaginary.
    m = w.mH @ grad
    p = (m - m.mH).tril(-1)
    if w.is_complex():
        p = p + torch.diag_embed(1j * m.diagonal(dim1=-2, dim2=-1).imag)
    return torch.linalg.solve_triangular(r, (w @ p).mH, upper=True).mH


_GRAM_SCHMIDT = MatrixMap("gram_schmidt", _factors, _adjoint, eager=_gram_schmidt)


def _phases(r: Tensor) -> Tensor:
    """Phases of the diagonal of R, 1 for an entry 0, to be moved from R to Q."""
    # They are signs with LAPACK, and any phases with MKL's parallel complex factorisation. Since
    # they are locally constant, they take no part in derivatives.
    phases = torch.sgn(r.diagonal(dim1=-2, dim2=-1))
    return torch.where(phases == 0, 1.0, phases)


def _check_regular(r: Tensor) -> None:
    """Raise an error if the triangular factor R is singular up to rounding."""
    n = r.shape[-1]
    size = r.diagonal(dim1=-2, dim2=-1).abs()
    share = size / torch.linalg.vector_norm(r, dim=-2)  # 0 / 0 is not a number
    limit = math.sqrt(n) * eps(r.dtype)
    regular = share > limit if n > 1 else size > 0
    if not regular.all():
        *_, j = first = (~regular).nonzero()[0].tolist()
        raise SingularMatrixError(
            f"x is singular, so its unitary factor is not determined: column {j} has a share of "
            f"{float(share[tuple(first)]):.1g} that is independent of the columns before it (limit "
            f"{limit:.1g}); where x is the parameter of a scheme, call reset_parameters() or "
            "assign_(w)"
        )
