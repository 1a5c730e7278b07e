"""recurrent_scan: checks one recurrence, chooses a backend, bounds its memory."""

from __future__ import annotations

import os
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from unitary_zoo import nonlinearities
from unitary_zoo._torch import is_traced, is_transformed, without_autocast
from unitary_zoo.base import DenseMap, LinearMap
from unitary_zoo.scan import native, portable, reference
from unitary_zoo.scan.problem import (
    Problem,
    check_checkpoint,
    check_devices,
    check_inputs,
    check_shapes,
)
from unitary_zoo.scan.segments import in_segments


class Status(NamedTuple):
    """What :func:`backends` says of one."""

    available: bool
    reason: str


class Backend(Protocol):
    """A module that runs recurrences."""

    BOUNDS_ITS_MEMORY: bool  # run() heeds Problem.checkpoint

    def status(self) -> tuple[bool, str]:
        """Whether this machine has it, and how, or why not."""
        ...

    def supports(self, problem: Problem) -> tuple[bool, str]:
        """Whether it can run this, and why (not)."""
        ...

    def run(self, problem: Problem) -> Tensor:
        """All states (T, B, n), or the last one (B, n)."""
        ...


BACKENDS: MappingProxyType[str, Backend] = MappingProxyType(
    {"native": native, "portable": portable, "reference": reference}
)

ENVIRONMENT = "UNITARY_ZOO_SCAN"

# Packing W for the native kernel takes as long as this many rows take in one of its steps.
PACKING = 8

# What a step of a map by its factors costs in PyTorch operations, forward and backward, counted in
# multiplications of the dense recurrence: its calls, and each multiplication of the factors. Fewer
# rows than these do not make a dense step faster, for W has to be read. Found with
# `comparisons/benchmarks/scan_speed.py --structured` on two threads.
CALLS, FACTOR, LEAST_ROWS = 1e7, 25.0, 8


def recurrent_scan(
    x: Tensor,
    W: Tensor | LinearMap,
    h0: Tensor,
    nonlinearity: str,
    *,
    weight_ih: Tensor | None = None,
    bias: Tensor | None = None,
    threshold: Tensor | None = None,
    return_sequence: bool = True,
    backend: str = "auto",
    checkpoint: int | None = None,
) -> Tensor:
    r""":math:`h_t = \phi(W h_{t-1} + x_t + b)`, t = 1..T, or with :math:`V x_t` for x_t.

    Computes in float32 or better whatever the autocast state, in the highest precision given; if
    ``x`` is in half precision, so is a real result.

    Args:
        x: (T, B, n) pre-activations; with ``weight_ih``, (T, B, m) inputs.
        W: (n, n), or a LinearMap from ``Parametrization.prepare()``.
        h0: (B, n).
        nonlinearity: modrelu, relu, leaky_relu, abs, tanh, sigmoid or identity; complex states
            take modrelu and identity.
        weight_ih: V (n, m).
        bias: b (n).
        threshold: (n), real: the threshold of modReLU; None is zero.
        return_sequence: Return all states (T, B, n), or the last one (B, n).
        backend: "auto", or one of :func:`backends`; the environment variable
            ``UNITARY_ZOO_SCAN`` overrides "auto".
        checkpoint: For the backward pass keep the states of every ``checkpoint``-th step only
            and recompute those between: less memory, about a third more time.

    Raises:
        ValueError: A shape, nonlinearity, backend or checkpoint that does not fit.
    """
    problem = _checked(
        x, W, h0, nonlinearity, weight_ih, bias, threshold, return_sequence, checkpoint
    )
    name = (os.environ.get(ENVIRONMENT) or "auto") if backend == "auto" else backend
    with without_autocast(x.device):
        chosen, problem = _choose(name, problem)
        if checkpoint is None or chosen.BOUNDS_ITS_MEMORY:
            out = chosen.run(problem)
        else:
            out = in_segments(
                lambda x, h: chosen.run(replace(problem, x=x, h0=h)),
                problem.x, problem.h0, checkpoint, return_sequence,
            )  # fmt: skip
    low = x.dtype in (torch.float16, torch.bfloat16) and not out.is_complex()
    return out.to(x.dtype) if low else out


def backends() -> dict[str, Status]:
    """Every backend, in the order in which "auto" tries them, and whether and why it is used."""
    return {name: Status(*backend.status()) for name, backend in BACKENDS.items()}


def _choose(name: str, problem: Problem) -> tuple[Backend, Problem]:
    if name == "auto":
        problem = _cheapest_form(problem)
        order = _by_cost(problem)
        return next(b for b in order if b.supports(problem)[0]), problem
    if name not in BACKENDS:
        names = tuple(BACKENDS)
        raise ValueError(f"unknown scan backend {name!r}; choose auto or one of {names}")
    ok, reason = BACKENDS[name].supports(problem)
    if not ok:
        raise ValueError(
            f"scan backend {name!r} cannot run this: {reason}; use backend='auto' and "
            f"leave {ENVIRONMENT} unset"
        )
    return BACKENDS[name], problem


def _by_cost(problem: Problem) -> list[Backend]:
    """The backends, the cheapest first where all can."""
    steps, batch, _ = problem.x.shape
    if is_transformed():  # the others have no derivative but their own backward pass
        return [reference]
    if steps == 1:  # the loop without its overhead, and without that of any other way
        return [reference]
    if is_traced() or steps * batch * PACKING < problem.h0.shape[-1]:
        return [portable, reference]
    return list(BACKENDS.values())


def _cheapest_form(problem: Problem) -> Problem:
    """The recurrence with a structured map made dense where that is the faster way."""
    w = problem.w
    if isinstance(w, (Tensor, DenseMap)):
        return problem
    steps, batch = problem.x.shape[:2]
    return problem if by_factors(w, steps, batch) else replace(problem, w=w.matrix())


def by_factors(w: LinearMap, steps: int, batch: int) -> bool:
    """Whether a map is cheaper by its factors than by its matrix, which has to be built first."""
    row = FACTOR * w.multiplications
    dense = w.n**2 * (4 if w.dtype.is_complex else 1)
    # The matrix is the image of n rows.
    build = CALLS + w.n * row
    return steps * (CALLS + batch * row) < steps * max(batch, LEAST_ROWS) * dense + build


def _checked(
    x: Tensor,
    w: Tensor | LinearMap,
    h0: Tensor,
    nonlinearity: str,
    weight_ih: Tensor | None,
    bias: Tensor | None,
    threshold: Tensor | None,
    return_sequence: bool,
    checkpoint: int | None,
) -> Problem:
    check_checkpoint(checkpoint)
    activation = nonlinearities.get(nonlinearity)
    n = w.n if isinstance(w, LinearMap) else w.shape[-1]
    if isinstance(w, Tensor) and w.shape != (n, n):
        raise ValueError(f"W has shape {tuple(w.shape)}; pass a square matrix (n, n)")
    width = n if weight_ih is None else weight_ih.shape[-1]
    check_inputs(x, width)
    wanted = {
        "h0": (h0, (x.shape[1], n)),
        "weight_ih": (weight_ih, (n, width)),
        "bias": (bias, (n,)),
        "threshold": (threshold, (n,)),
    }
    check_shapes(wanted)
    check_devices(x, {"W": w, **{key: tensor for key, (tensor, _) in wanted.items()}})
    if threshold is not None and not activation.has_threshold:
        raise ValueError(f"threshold given, but nonlinearity {nonlinearity!r} has none")
    dtype = torch.promote_types(w.dtype, torch.float32)
    for tensor in (x, h0, weight_ih, bias):
        if tensor is not None:
            dtype = torch.promote_types(dtype, tensor.dtype)
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
        weight_ih=None if weight_ih is None else weight_ih.to(dtype),
        bias=None if bias is None else bias.to(dtype),
        threshold=None if threshold is None else threshold.to(dtype.to_real()),
        return_sequence=return_sequence,
        checkpoint=checkpoint,
    )
