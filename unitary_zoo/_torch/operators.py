"""Call operators of torch that have no public name."""

from __future__ import annotations

import torch
from torch import Tensor

_aten = torch.ops.aten


def in_memory(x: Tensor) -> Tensor:
    """Return ``x``, or a copy if it is a gradient of zeros that autograd has not written out."""
    return x.clone() if torch._is_zerotensor(x) else x


def relu_gradient(grad: Tensor, h: Tensor, out: Tensor) -> Tensor:
    """Write the gradient of z, from that of h = relu(z), into ``out``."""
    return _aten.threshold_backward.grad_input(grad, h, 0, grad_input=out)


def leaky_relu_gradient(grad: Tensor, h: Tensor, slope: float, out: Tensor) -> Tensor:
    """Write the gradient of z, from that of h = leaky_relu(z), into ``out``."""
    return _aten.leaky_relu_backward.grad_input(grad, h, slope, True, grad_input=out)


def tanh_gradient(grad: Tensor, h: Tensor, out: Tensor) -> Tensor:
    """Write the gradient of z, from that of h = tanh(z), into ``out``."""
    return _aten.tanh_backward.grad_input(grad, h, grad_input=out)


def sigmoid_gradient(grad: Tensor, h: Tensor, out: Tensor) -> Tensor:
    """Write the gradient of z, from that of h = sigmoid(z), into ``out``."""
    return _aten.sigmoid_backward.grad_input(grad, h, grad_input=out)


def onednn_product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T`` by oneDNN, in float32 on a CPU.

    The compiler calls this operation. The public way to oneDNN's product warns of being deprecated.
    """
    out: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    return out
