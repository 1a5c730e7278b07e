"""The real Fourier basis."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def real_fourier(n: int, device: torch.device | None = None) -> Tensor:
    """The orthogonal matrix with sampled waves as its columns, float64 (n, n).

    Cosine and sine of one frequency are neighbours; the constant and, for even n, the alternating
    wave come last.
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
