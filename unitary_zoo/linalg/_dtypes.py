"""Dtypes of one precision, and real and imaginary parts of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

_REAL = {
    torch.complex32: torch.float16,
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
}


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """The real dtype of the same precision."""
    # torch.compile cannot trace dtype.to_real().
    return _REAL.get(dtype, dtype)


def complex_dtype(dtype: torch.dtype) -> torch.dtype:
    """The complex dtype of the same precision; complex64 for half and bfloat16."""
    # torch.compile cannot trace dtype.to_complex().
    return torch.promote_types(dtype, torch.complex64)


def is_low_precision(dtype: torch.dtype) -> bool:
    """Whether ``dtype`` is half or bfloat16, which no decomposition of a matrix accepts."""
    return dtype in (torch.float16, torch.bfloat16)


def eps(dtype: torch.dtype) -> float:
    """Spacing of floating-point numbers at 1 for ``dtype`` (real or complex)."""
    return torch.finfo(dtype).eps


def double(x: Tensor) -> Tensor:
    """``x`` in double precision: complex128 if it is complex, else float64."""
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


def view_as_real_parts(w: Tensor) -> Tensor:
    """``w`` itself if it is real, else a view (..., 2) of its real and imaginary parts."""
    return torch.view_as_real(w) if w.is_complex() else w


def from_real_parts(x: Tensor, field: str) -> Tensor:
    """Inverse of :func:`view_as_real_parts`, for a ``field`` "real" or "complex"."""
    # torch.view_as_complex refuses slices of a flat parameter at an odd offset.
    return torch.complex(x[..., 0], x[..., 1]) if field == "complex" else x


def as_real(h: Tensor) -> Tensor:
    """The real features of a state: [Re h, Im h] (..., 2n) if complex, ``h`` itself if real."""
    if not h.is_complex():
        return h
    # One copy. The gradients of h.real and h.imag would each fill a tensor of all of h.
    return torch.view_as_real(h.resolve_conj()).transpose(-2, -1).flatten(-2)


def identity_like(w: Tensor) -> Tensor:
    """I of the size, dtype and device of ``w`` (..., n, n)."""
    return torch.eye(w.shape[-1], dtype=w.dtype, device=w.device)
