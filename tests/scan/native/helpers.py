"""Recurrences for the tests of the compiled kernel, and their results."""

import math

import torch
from torch import Tensor

from unitary_zoo.scan import backends, recurrent_scan
from unitary_zoo.scan.native import library
from unitary_zoo.testing.subject import haar, normal

# Without the kernel one name stands for all: the modules that use this are skipped then.
ISAS = library.available() if backends()["native"].available else ("none",)
REAL = ["modrelu", "relu", "leaky_relu", "abs", "tanh", "sigmoid", "identity"]
ACTIVATIONS = [(name, False) for name in REAL] + [("modrelu", True), ("identity", True)]
SMOOTH = [("tanh", False), ("sigmoid", False), ("identity", False), ("identity", True)]


def inputs(
    n: int,
    batch: int,
    steps: int,
    name: str,
    *,
    is_complex: bool = False,
    dtype: torch.dtype = torch.float64,
    m: int = 2,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Leaves that require gradients; m = 0 gives pre-activations. W is orthogonal."""
    field = dtype.to_complex() if is_complex else dtype
    tensors = {
        # Rows that do not lie side by side, as slices of something wider.
        "x": normal(steps, batch, (m or n) + 1, dtype=field, seed=seed + 1)[..., :-1],
        "W": haar(n, field),
        "h0": normal(batch, n, dtype=field, seed=seed + 2),
        "bias": 0.1 * normal(n, dtype=field, seed=seed + 3),
    }
    if m:
        tensors["weight_ih"] = normal(n, m, dtype=field, seed=seed + 4)
    if name == "modrelu":
        # Below zero, where its slopes are at most 1.
        tensors["threshold"] = -0.1 * normal(n, dtype=dtype, seed=seed + 5).abs()
    return {key: tensor.detach().requires_grad_() for key, tensor in tensors.items()}


def results(tensors: dict[str, Tensor], nonlinearity: str, **options) -> dict[str, Tensor]:
    """The states, and the gradients of a fixed functional of them."""
    out = recurrent_scan(**tensors, nonlinearity=nonlinearity, **options)
    # The same numbers in either precision.
    single = torch.complex64 if out.is_complex() else torch.float32
    # Through a concatenation, so that rows of the gradient do not lie side by side either.
    wider = torch.cat([out, out.detach()], dim=-1)
    weight = normal(*wider.shape, dtype=single, seed=9).to(out.dtype) / math.sqrt(out.numel())
    grads = torch.autograd.grad((weight.conj() * wider).real.sum(), list(tensors.values()))
    return {"states": out.detach(), **dict(zip(tensors, grads, strict=True))}


def assert_equal(
    got: dict[str, Tensor], wanted: dict[str, Tensor], limit: float, label: str = ""
) -> None:
    """Compare what ``wanted`` holds; ``limit`` is relative to the larger of 1 and the result."""
    for key, true in wanted.items():
        scale = max(1.0, float(true.abs().max()))
        error = float((got[key] - true).abs().max())
        assert error <= limit * scale, (
            f"{label} {key} off by {error:.3g}, limit {limit * scale:.3g}"
        )
