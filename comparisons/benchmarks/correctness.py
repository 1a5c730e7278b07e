"""Check that the recurrences to be timed equal their peers, outputs and gradients.

The reference is a peer in double precision: nn.RNN, nn.GRU, or for modReLU the loop in eager torch.
The
limit of an error is measured: the peer runs in single precision too, and its error is what rounding
does to the problem. Another order of the same sums stays within a small multiple of that error, in
either precision.

Problems of many steps and sequences, which a backend may divide among threads, are checked in
double precision only: in single precision rounding always carries some pre-activation over a kink.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from comparisons.benchmarks import recurrences
from comparisons.benchmarks.recurrences import Layer, Recurrence, Tensors

KINDS = (
    ("relu", False),
    ("tanh", False),
    ("modrelu", False),
    ("modrelu", True),
    (recurrences.GATED, False),
)
SIZES = ((2, 2, 3), (7, 3, 9), (33, 26, 3), (67, 2, 9))  # n, B, T: no multiples of tiles
MANY = (64, 50, 100)
SAFETY = 16  # factor between the errors of two correct implementations
DRAWS = 100
# Relative to the largest entry. The rounding of a hundred steps in double precision stays orders
# below it, and any mistake lies orders above it.
TOLERANCE_OF_MANY = 1e-9


class CorrectnessError(Exception):
    """Code that was to be timed gives wrong results; the message says which, and the error."""


def check_recurrences() -> None:
    """Compare all kinds of recurrences with their peers at small sizes.

    Raises:
        CorrectnessError: A result is off by more than rounding.
    """
    for (nonlinearity, is_complex), last_only in itertools.product(KINDS, (True, False)):
        for size in SIZES:
            _check(Recurrence(*size, nonlinearity, last_only, is_complex))
        _check_many(Recurrence(*MANY, nonlinearity, last_only, is_complex))


def _check(r: Recurrence) -> None:
    """Check the recurrence in both precisions, the layer, and the eager loop, which is a peer."""
    layer, x, w, upstream = _problem(r)
    single = _cast(w, torch.float32)
    true = _truth(r, w, x, upstream)
    rough = _truth(r, single, x.float(), _single(upstream))
    rough = {name: tensor.to(true[name].dtype) for name, tensor in rough.items()}
    true |= _of_layer(layer, true)
    rough |= _of_layer(layer, rough)
    rounding = {
        # At least the rounding of a sum of n terms as large as the result: a result with few
        # entries may happen to be exact.
        name: max(
            float((rough[name] - wanted).abs().max()) / torch.finfo(torch.float32).eps,
            math.sqrt(r.n) * max(1.0, float(wanted.abs().max())),
        )
        for name, wanted in true.items()
    }
    found = {
        "recurrence": recurrences.our_recurrence(r, w, x).results(upstream),
        "layer": recurrences.our_layer(layer, x).results(upstream),
        "recurrence in float32": recurrences.our_recurrence(r, single, x.float()).results(
            _single(upstream)
        ),
    }
    if not r.is_gated:
        found["eager loop"] = recurrences.eager_loop(r, w, x).results(upstream)
    for who, results in found.items():
        for name, got in results.items():
            limit = SAFETY * rounding[name] * torch.finfo(got.dtype).eps
            _compare(f"{who}, {r}: {name}", got, true[name], limit)


def _check_many(r: Recurrence) -> None:
    layer, x = recurrences.draw(r, torch.float64)
    w = recurrences.weights(layer)
    upstream = _upstream(r, w)
    true = _truth(r, w, x, upstream)
    for name, got in recurrences.our_recurrence(r, w, x).results(upstream).items():
        limit = TOLERANCE_OF_MANY * max(1.0, float(true[name].abs().max()))
        _compare(f"recurrence, {r}: {name}", got, true[name], limit)


def _compare(what: str, got: Tensor, wanted: Tensor, limit: float) -> None:
    error = float((got - wanted).abs().max())
    if not error <= limit:  # so that NaN fails
        raise CorrectnessError(f"{what} off by {error:.3g}, limit {limit:.3g}")


def _upstream(r: Recurrence, w: Tensors) -> Tensor:
    shape = (r.batch, r.n) if r.last_only else (r.steps, r.batch, r.n)
    return torch.randn(shape, dtype=w["W"].dtype)


def _problem(r: Recurrence) -> tuple[Layer, Tensor, dict[str, Tensor], Tensor]:
    """A layer in double precision, inputs, its weights and a gradient of its result.

    Problems in which rounding could carry a pre-activation across a kink are drawn again.
    """
    for seed in range(DRAWS):
        layer, x = recurrences.draw(r, torch.float64, seed)
        w = recurrences.weights(layer)
        margin, largest = _kinks(r, w, x)
        if margin > 100 * math.sqrt(r.n) * torch.finfo(torch.float32).eps * max(1.0, largest):
            return layer, x, w, _upstream(r, w)
    raise CorrectnessError(f"{r}: no problem off the kinks in {DRAWS} draws")


def _kinks(r: Recurrence, w: Tensors, x: Tensor) -> tuple[float, float]:
    """The least distance of a pre-activation from a kink, and the largest entry of a state."""
    if r.is_gated:  # it is smooth, and its states are means of numbers within 1
        return math.inf, 1.0
    with torch.no_grad():
        whole = Recurrence(r.n, r.batch, r.steps, r.nonlinearity, False, r.is_complex)
        states = recurrences.eager_loop(whole, w, x).forward()
        before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
        z = before @ w["W"].mT + x.to(states.dtype) @ w["V"].mT + w["b"]
    distance = z.abs()
    if "threshold" in w:
        b = w["threshold"].detach()
        distance = torch.minimum(distance, (distance + b).abs())
        if r.is_complex:
            # Where |z| << b a rounding of z turns h; slopes |h| / |z| above 10 count as kinks.
            distance = torch.minimum(distance, z.abs() - b / 9)
    margin = math.inf if r.nonlinearity == "tanh" else float(distance.min())
    return margin, float(states.abs().max())


def _truth(r: Recurrence, w: Tensors, x: Tensor, upstream: Tensor) -> dict[str, Tensor]:
    """The results of a peer by our names."""
    if r.is_gated:
        found = recurrences.torch_gru(r, w, x).results(upstream)
        found["b_hn"] = found.pop("bias_hh_l0")[2 * r.n :]
        return found
    peer = recurrences.eager_loop if r.nonlinearity == "modrelu" else recurrences.torch_rnn
    return peer(r, w, x).results(upstream)


def _of_layer(layer: Layer, gradients: Tensors) -> dict[str, Tensor]:
    """Gradients in the layer's parameters, given those in W, V, b and the threshold."""
    cell = layer.cells[0]
    outputs = recurrences.by_role(cell)
    found = torch.autograd.grad(
        list(outputs.values()), list(layer.parameters()), [gradients[role] for role in outputs]
    )
    return dict(zip(dict(layer.named_parameters()), found, strict=True))


def _single(x: Tensor) -> Tensor:
    return x.to(torch.complex64 if x.is_complex() else torch.float32)


def _cast(w: Tensors, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        name: tensor.detach()
        .to(dtype.to_complex() if tensor.is_complex() else dtype)
        .requires_grad_()
        for name, tensor in w.items()
    }
