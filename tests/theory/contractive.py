"""Contractive ReLU networks, inputs within a bound, and a limit on the rounding of their states."""

import numpy as np
import torch
from torch import Tensor, nn

from unitary_zoo.testing.subject import haar, normal

F64, F32 = torch.float64, torch.float32


@torch.no_grad()
def contractive(
    m: int, n: int, norms: float | list[float], dtype: torch.dtype = F64, seed: int = 0, **options
) -> nn.RNN:
    """An nn.RNN whose recurrent matrices have the norm, or of one cell the singular values."""
    rnn = nn.RNN(m, n, nonlinearity="relu", dtype=F64, **options)
    for i, (name, p) in enumerate(rnn.named_parameters()):
        p.copy_(normal(*p.shape, dtype=F64, seed=seed + i))
        if name.startswith("weight_hh") and isinstance(norms, float):
            p.mul_(norms / torch.linalg.matrix_norm(p, 2))
        elif name.startswith("weight_hh"):
            s = torch.tensor(norms, dtype=F64)
            p.copy_((haar(n, F64, seed) * s) @ haar(n, F64, seed + 1))
    return rnn.to(dtype)


def inputs(*shape: int, bound: float, dtype: torch.dtype = F64, seed: int = 9) -> Tensor:
    """Inputs of norms up to the bound; about half of them reach it."""
    x = normal(*shape, dtype=F64, seed=seed)
    length = torch.rand(*shape[:-1], 1, dtype=F64, generator=torch.Generator().manual_seed(seed))
    x *= bound * (2 * length).clamp(max=1) / x.norm(dim=-1, keepdim=True)
    return x.to(dtype)


def rounding(rnn: nn.RNN, x: Tensor, states: Tensor) -> float:
    """The largest distance of two evaluations of one cell, at any time.

    In each evaluation a sum of k products is off by k eps times the sum of the absolute values. W
    carries the error on without growth, so it adds up over the steps, or to 1 / (1 - rho) of them.
    """
    w, v, *biases = (p.detach().double() for p in rnn.parameters())
    terms = 2 * (len(w) + v.shape[1]) + 8
    largest = np.linalg.norm(w.abs(), 2) * float(states.detach().norm(dim=-1).max())
    largest += np.linalg.norm(v.abs(), 2) * float(x.norm(dim=-1).max())
    largest += sum(float(b.norm()) for b in biases)
    rho, steps = min(np.linalg.norm(w, 2), 1.0), x.shape[0]
    amount = steps if rho == 1 else min(steps, 1 / (1 - rho))
    return 2 * terms * torch.finfo(x.dtype).eps * largest * amount


def shared(output: Tensor, n: int, directions: int = 1) -> tuple[Tensor, Tensor]:
    """The states of the given network, and the new ones, of each direction side by side."""
    parts = output.unflatten(-1, (directions, -1))
    return parts[..., :n].flatten(-2), parts[..., n:].flatten(-2)
