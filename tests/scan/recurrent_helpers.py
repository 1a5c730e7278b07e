"""Recurrences for tests of recurrent_scan."""

from typing import Any

import pytest
import torch
from torch import Tensor

from unitary_zoo.testing.subject import haar, normal, usable_backends

T, B, N, M = 5, 3, 4, 2
REAL = ["modrelu", "relu", "leaky_relu", "abs", "tanh", "sigmoid", "identity"]
ACTIVATIONS = [(name, torch.float64) for name in REAL]
ACTIVATIONS += [("modrelu", torch.complex128), ("identity", torch.complex128)]
# A few products of sums of at most T B N terms of order 1 to 10, in double precision.
CLOSE = {"rtol": 0.0, "atol": T * B * N * 100 * torch.finfo(torch.float64).eps}
EVERY = pytest.mark.parametrize("backend", ["auto", *usable_backends()])


def inputs(name: str = "tanh", dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    real = dtype.to_real() if dtype.is_complex else dtype
    threshold = {"threshold": 0.1 * normal(N, dtype=real, seed=6)} if name == "modrelu" else {}
    return {
        "x": normal(T, B, M, dtype=dtype, seed=1),
        "W": haar(N, dtype),
        "h0": normal(B, N, dtype=dtype, seed=3),
        "weight_ih": normal(N, M, dtype=dtype, seed=4),
        "bias": normal(N, dtype=dtype, seed=5),
        **threshold,
    }


def leaves(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: t.detach().clone().requires_grad_() for key, t in tensors.items()}


def gradients(out: Tensor, tensors: dict[str, Tensor]) -> list[Tensor]:
    weight = normal(*out.shape, dtype=out.dtype, seed=8)
    return list(torch.autograd.grad((weight.conj() * out).real.sum(), list(tensors.values())))


def assert_close(got: list[Tensor], wanted: list[Tensor]) -> None:
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)
