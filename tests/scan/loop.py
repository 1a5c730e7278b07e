"""The recurrence in plain operations, written independently of the library."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Inputs:
    """The tensors of one recurrence; from `weight_ih` on they may be None."""

    x: Tensor
    w: Tensor
    h0: Tensor
    weight_ih: Tensor | None
    bias: Tensor | None
    threshold: Tensor | None

    def named(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}

    def to(self, dtype: torch.dtype, *requiring: str) -> "Inputs":
        """Leaves in the dtype of that precision; all require a gradient, or those named."""
        leaves = {}
        for name, tensor in self.named().items():
            leaf = tensor.detach().to(
                dtype.to_complex() if tensor.is_complex() else dtype, copy=True
            )
            leaves[name] = leaf.requires_grad_(not requiring or name in requiring)
        return replace(self, **leaves)


def phi(name: str, z: Tensor, b: Tensor | None) -> Tensor:
    """The activations by their formulas, off their kinks."""
    if name == "modrelu" and z.is_complex():
        r = (z.real**2 + z.imag**2) ** 0.5
        return torch.where(r + b > 0, (r + b) * (z / r), 0 * z)
    if name == "modrelu":
        return torch.where(z.abs() + b > 0, torch.where(z > 0, z + b, z - b), 0 * z)
    return {
        "relu": lambda: torch.where(z > 0, z, 0 * z),
        "leaky_relu": lambda: torch.where(z > 0, z, 0.01 * z),
        "abs": lambda: torch.where(z > 0, z, -z),
        "tanh": lambda: 1 - 2 / (torch.exp(2 * z) + 1),
        "sigmoid": lambda: 1 / (1 + torch.exp(-z)),
        "identity": lambda: z,
    }[name]()


def loop(name: str, p: Inputs, return_sequence: bool) -> tuple[Tensor, float]:
    """The states, and the least distance of a pre-activation to a kink."""
    h, states, margin = p.h0, [], math.inf
    for x_t in p.x:
        z = torch.einsum("ij,bj->bi", p.w, h)
        z = z + (x_t if p.weight_ih is None else torch.einsum("ij,bj->bi", p.weight_ih, x_t))
        z = z if p.bias is None else z + p.bias
        margin = min(margin, kink_distance(name, z.detach(), p.threshold))
        h = phi(name, z, p.threshold)
        states.append(h)
    return torch.stack(states) if return_sequence else h, margin


def kink_distance(name: str, z: Tensor, b: Tensor | None) -> float:
    if name in ("tanh", "sigmoid", "identity"):
        return math.inf
    distance = z.abs()
    if b is not None:
        distance = torch.minimum(distance, (distance + b.detach()).abs())
        if z.is_complex():
            # Where |z| << b the complex modReLU turns a rounding of z into a turn of h. Points
            # where its slope |h|/|z| exceeds 10 count as kinks.
            distance = torch.minimum(distance, z.abs() - b.detach() / 9)
    return float(distance.min())
