"""The arguments of the scans: checked, and brought to one dtype."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unitary_zoo import linalg, nonlinearities
from unitary_zoo.base import DenseMap, LinearMap
from unitary_zoo.errors import is_int
from unitary_zoo.scan.lengths import checked
from unitary_zoo.scan.problem import GatedProblem, Problem


def make_problem(
    x: Tensor,
    w: Tensor | LinearMap,
    h0: Tensor,
    nonlinearity: str,
    weight_ih: Tensor | None,
    bias: Tensor | None,
    threshold: Tensor | None,
    return_sequence: bool,
    checkpoint: int | None,
    lengths: Tensor | None,
) -> Problem:
    """Check the arguments of ``recurrent_scan`` and bring them to one dtype.

    Raises:
        ValueError: A shape, device, nonlinearity, checkpoint or lengths that do not fit.
    """
    activation = nonlinearities.get(nonlinearity)
    n = w.n if isinstance(w, LinearMap) else w.shape[-1]
    width = n if weight_ih is None else weight_ih.shape[-1]
    if isinstance(w, Tensor) and w.shape != (n, n):
        raise ValueError(f"W has shape {tuple(w.shape)}; pass a square matrix (n, n)")
    shapes = {
        "h0": (h0, (x.shape[1] if x.dim() == 3 else 0, n)),
        "weight_ih": (weight_ih, (n, width)),
        "bias": (bias, (n,)),
        "threshold": (threshold, (n,)),
    }
    _check(x, width, {"W": w}, shapes, checkpoint)
    if threshold is not None and not activation.has_threshold:
        raise ValueError(f"threshold given, but nonlinearity {nonlinearity!r} has none")
    dtype = _common_dtype(w, x, h0, weight_ih, bias)
    activation.check(dtype.is_complex)
    if activation.has_threshold and threshold is None:
        threshold = x.real.new_zeros(n)
    if isinstance(w, Tensor):
        w = w.to(dtype)
    elif w.dtype != dtype:
        w = DenseMap(w.matrix().to(dtype))
    return Problem(
        x=x.to(dtype),
        w=w,
        h0=h0.to(dtype),
        activation=activation,
        weight_ih=_cast(weight_ih, dtype),
        bias=_cast(bias, dtype),
        threshold=_cast(threshold, linalg.real_dtype(dtype)),
        return_sequence=return_sequence,
        checkpoint=checkpoint,
        lengths=checked(lengths, x, return_sequence),
    )


def make_gated_problem(
    x: Tensor,
    w: Tensor,
    h0: Tensor,
    weight_ih: Tensor,
    bias: Tensor | None,
    bias_hn: Tensor | None,
    return_sequence: bool,
    checkpoint: int | None,
    lengths: Tensor | None,
) -> GatedProblem:
    """Check the arguments of ``gated_scan`` and bring them to one dtype.

    Raises:
        ValueError: A shape, dtype, device, checkpoint or lengths that do not fit.
    """
    n, width = w.shape[-1], weight_ih.shape[-1]
    shapes = {
        "W": (w, (3 * n, n)),
        "h0": (h0, (x.shape[1] if x.dim() == 3 else 0, n)),
        "weight_ih": (weight_ih, (3 * n, width)),
        "bias": (bias, (3 * n,)),
        "bias_hn": (bias_hn, (n,)),
    }
    _check(x, width, {}, shapes, checkpoint)
    for name, tensor in {"x": x, **{name: tensor for name, (tensor, _) in shapes.items()}}.items():
        if tensor is not None and tensor.is_complex():
            raise ValueError(
                f"{name} is {tensor.dtype}, and gates compare real numbers; pass the real features "
                "as_real(...), and matrices of a real scheme"
            )
    dtype = _common_dtype(x, w, h0, weight_ih, bias, bias_hn)
    return GatedProblem(
        x=x.to(dtype),
        w=w.to(dtype),
        h0=h0.to(dtype),
        weight_ih=weight_ih.to(dtype),
        bias=_cast(bias, dtype),
        bias_hn=_cast(bias_hn, dtype),
        return_sequence=return_sequence,
        checkpoint=checkpoint,
        lengths=checked(lengths, x, return_sequence),
    )


def _check(
    x: Tensor,
    width: int,
    maps: Mapping[str, Tensor | LinearMap],
    shapes: Mapping[str, tuple[Tensor | None, tuple[int, ...]]],
    checkpoint: int | None,
) -> None:
    """Raise ValueError unless the arguments fit together.

    Args:
        x: Must be (T, B, width) with T > 0.
        width: m, or n without input weights.
        maps: Tensors or maps of which only the device is checked.
        shapes: Tensors with the shapes that they must have; None fits any.
        checkpoint: Must be None, or an int of at least 1.
    """
    if checkpoint is not None and not (is_int(checkpoint) and checkpoint >= 1):
        raise ValueError(f"checkpoint={checkpoint!r}; pass the number of steps between kept states")
    if x.dim() != 3 or x.shape[-1] != width:
        raise ValueError(f"x has shape {tuple(x.shape)}; pass (T, B, {width})")
    if x.shape[0] == 0:
        raise ValueError("x has T = 0 steps; pass at least one")
    for name, (tensor, shape) in shapes.items():
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; pass {shape}")
    for name, other in {**maps, **{name: tensor for name, (tensor, _) in shapes.items()}}.items():
        if other is not None and other.device != x.device:
            raise ValueError(
                f"{name} is on {other.device}, and x is on {x.device}; move them to one device"
            )


def _common_dtype(*tensors: Tensor | LinearMap | None) -> torch.dtype:
    """Return the dtype that holds all tensors, float32 or wider."""
    dtype = torch.float32
    for tensor in tensors:
        if tensor is not None:
            dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def _cast(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if tensor is None else tensor.to(dtype)
