"""Oracles and random inputs that many tests share, by numpy and torch alone.

Nothing here uses the library, so that no test compares it with itself.
"""

import numpy as np
import torch

F32, F64, C64, C128 = torch.float32, torch.float64, torch.complex64, torch.complex128
DTYPES = (F32, F64, C64, C128)
FIELDS = ("real", "complex")
SIZES = (1, 2, 3, 7, 17, 33)


def double(x):
    """``x`` (a tensor) in double precision: complex128 if complex, float64 if real."""
    return x.to(C128 if x.is_complex() else F64)


def as_numpy(x):
    """The values of ``x`` as a numpy array in double precision; arrays stay as they are."""
    if isinstance(x, np.ndarray):
        return x
    return double(x.detach()).resolve_conj().cpu().numpy()


def gap(found, wanted):
    """Largest modulus of an entry of the difference."""
    return np.abs(as_numpy(found) - as_numpy(wanted)).max()


def defect(w):
    """Spectral norm of W^H W - I, or of W W^H - I if W is wide; the largest of a batch."""
    w = as_numpy(w)
    w = w if w.shape[-2] >= w.shape[-1] else w.conj().swapaxes(-1, -2)
    excess = w.conj().swapaxes(-1, -2) @ w - np.eye(w.shape[-1])
    return np.linalg.norm(excess, 2, axis=(-2, -1)).max()


def rounding(n, dtype, factor):
    """``factor`` sqrt(n) eps, where products of matrices with unit rows round by sqrt(n) eps."""
    return factor * np.sqrt(n) * torch.finfo(dtype).eps


def normal(*shape, dtype=F64, seed=0):
    """A tensor of standard normal numbers."""
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def haar(rows, columns=None, *, dtype=F64, seed=0, determinant=None):
    """A random matrix with orthonormal columns, or rows if it is wide, Haar distributed.

    ``determinant`` (1 or -1) chooses the component of a square real one.
    """
    columns = rows if columns is None else columns
    rng = np.random.default_rng(seed)
    g = rng.standard_normal((max(rows, columns), min(rows, columns)))
    if dtype.is_complex:
        g = g + 1j * rng.standard_normal(g.shape)
    q, r = np.linalg.qr(g)
    diagonal = np.diag(r)
    q = q * (diagonal / np.abs(diagonal))
    if determinant is not None and np.linalg.det(q) * determinant < 0:
        q[:, 0] *= -1
    q = q if rows >= columns else q.conj().T
    return torch.from_numpy(np.ascontiguousarray(q)).to(dtype)


def learned(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that are trained, without frozen bases."""
    return [q for _, q in named_learned(module)]


def named_learned(module: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    """The parameters that are trained, with their names."""
    return [(name, q) for name, q in module.named_parameters() if q.requires_grad]
