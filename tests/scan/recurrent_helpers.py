"""Recurrences for tests of recurrent_scan."""

from typing import Any

import pytest
import torch

from unitary_zoo.testing.subject import haar, normal, usable_backends

T, B, N, M = 5, 3, 4, 2
REAL = ["modrelu", "relu", "leaky_relu", "abs", "tanh", "sigmoid", "identity"]
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
