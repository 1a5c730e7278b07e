"""A product of factors as the compiled kernel takes it."""

from __future__ import annotations

import ctypes
import math
from functools import cache

import torch
from torch import Tensor

from unitary_zoo.base import Diagonal, FactoredMap, Fourier, Pairs, Permutation, Reflection
from unitary_zoo.base.factors import Factor

_int, _pointer = ctypes.c_int64, ctypes.c_void_p

# In the order of `enum uz_factor_kind`; an inverse Fourier transform follows the transform.
_KINDS: dict[type[Factor], int] = {
    Diagonal: 0, Fourier: 1, Permutation: 3, Reflection: 4, Pairs: 5,
}  # fmt: skip


class FactorArgs(ctypes.Structure):
    """``uz_factor``."""

    _fields_ = (
        ("kind", _int), ("first", _int), ("stride", _int), ("start", _int), ("index", _pointer),
    )  # fmt: skip


class FactorsArgs(ctypes.Structure):
    """``uz_factors``; ``alive`` holds what its addresses point to."""

    alive: list[object]

    _fields_ = (
        ("parts", _int), ("n", _int), ("count", _int), ("numbers_count", _int),
        ("list", _pointer), ("numbers", _pointer), ("roots", _pointer),
        ("root_scale", ctypes.c_double),
    )  # fmt: skip


def supports(product: FactoredMap) -> tuple[bool, str]:
    """Return whether the kernel has these factors, and why or why not."""
    n = product.n
    for factor in product.factors:
        if type(factor) not in _KINDS:
            return False, f"the compiled kernel has no factor {type(factor).__name__}"
        if isinstance(factor, Fourier) and n & (n - 1):
            return False, f"its Fourier transform takes powers of two, and n = {n}"
    return True, "the compiled kernel has all factors"


def arguments(product: FactoredMap) -> FactorsArgs:
    """Return the factors by addresses."""
    factors, n = product.factors, product.n
    numbers = product.numbers.resolve_conj().resolve_neg().contiguous()
    entries = (FactorArgs * len(factors))()
    alive: list[object] = [entries, numbers]
    first = 0
    for factor, entry in zip(factors, entries, strict=True):
        entry.kind, entry.first = _KINDS[type(factor)], first
        first += factor.count(n)
        if isinstance(factor, Fourier):
            entry.kind += factor.inverse
        elif isinstance(factor, Pairs):
            entry.stride, entry.start = factor.stride, factor.start
        elif isinstance(factor, Permutation):
            index = factor.index.contiguous()
            alive.append(index)
            entry.index = index.data_ptr()
    args = FactorsArgs(
        parts=2 if numbers.is_complex() else 1,
        n=n,
        count=len(factors),
        numbers_count=numbers.numel(),
        list=ctypes.addressof(entries),
        numbers=numbers.data_ptr(),
        root_scale=1 / math.sqrt(n),
    )
    if any(isinstance(factor, Fourier) for factor in factors):
        roots = _roots(n, numbers.dtype)
        alive.append(roots)
        args.roots = roots.data_ptr()
    args.alive = alive
    return args


@cache
def _roots(n: int, dtype: torch.dtype) -> Tensor:
    r""":math:`e^{-2 \pi i k / n}`, k < n."""
    angles = torch.arange(n, dtype=torch.float64) * (-2 * math.pi / n)
    return torch.polar(torch.ones_like(angles), angles).to(dtype)
