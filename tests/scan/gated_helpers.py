"""Gated recurrences for tests."""

from collections.abc import Callable

import torch
from torch import Tensor

from unitary_zoo.scan import backends
from unitary_zoo.testing.subject import haar, normal

T, B, M, N = 5, 3, 2, 4
F32, F64 = torch.float32, torch.float64
BACKENDS = ["portable", "reference"] + ["native"] * backends()["native"].available


def draw(
    steps: int = T, batch: int = B, n: int = N, m: int = M,
    *, bias: bool = True, bias_hn: bool = True, seed: int = 0, scale: float = 1.0,
) -> dict[str, Tensor]:  # fmt: skip
    """Numbers that single precision holds exactly, in double precision; each W orthogonal."""
    tensors = {
        "x": normal(steps, batch, m, dtype=F32, seed=seed + 1),
        "W": torch.cat([haar(n, F32, seed=seed + 2 + i) for i in range(3)]),
        "h0": normal(batch, n, dtype=F32, seed=seed + 5),
        "weight_ih": scale * normal(3 * n, m, dtype=F32, seed=seed + 6),
        "bias": normal(3 * n, dtype=F32, seed=seed + 7) if bias else None,
        "bias_hn": normal(n, dtype=F32, seed=seed + 8) if bias_hn else None,
    }
    return {name: t.to(F64) for name, t in tensors.items() if t is not None}


def leaves(tensors: dict[str, Tensor], dtype: torch.dtype = F64, *only: str) -> dict[str, Tensor]:
    """Copies; all require a gradient, or those named."""
    return {
        name: t.detach().to(dtype, copy=True).requires_grad_(not only or name in only)
        for name, t in tensors.items()
    }


def results(run: Callable[[dict[str, Tensor]], Tensor], given: dict[str, Tensor]):
    """The states, and the gradient of a fixed functional of them in each input requiring one."""
    out = run(given)
    wanted = {name: t for name, t in given.items() if t.requires_grad}
    weight = normal(*out.shape, dtype=F32, seed=99).to(out.dtype)
    grads = torch.autograd.grad((weight * out).sum(), list(wanted.values()))
    return {"states": out.detach(), **dict(zip(wanted, grads, strict=True))}
