"""Choose a backend for a recurrence, run it, and bound its memory."""

from __future__ import annotations

import os
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo._torch import is_traced, is_transformed, without_autocast
from unitary_zoo.base import DenseMap, LinearMap
from unitary_zoo.scan import native, portable, reference
from unitary_zoo.scan.checkpointing import in_segments
from unitary_zoo.scan.problem import AnyProblem, GatedProblem


class Status(NamedTuple):
    """Whether a backend is available on this machine, and when it is used or why it is not."""

    available: bool
    reason: str


class Backend(Protocol):
    """A module that runs recurrences."""

    HEEDS_CHECKPOINT: bool
    """Whether ``run`` keeps only every ``problem.checkpoint``-th state."""

    def status(self) -> tuple[bool, str]:
        """Return whether it is available on this machine, and when it is used or why it is not."""
        ...

    def supports(self, problem: AnyProblem) -> tuple[bool, str]:
        """Return whether it can run this problem, and why or why not."""
        ...

    def run(self, problem: AnyProblem) -> Tensor:
        """Return all states (T, B, n), or the last one (B, n)."""
        ...


BACKENDS: MappingProxyType[str, Backend] = MappingProxyType(
    {"native": native, "portable": portable, "reference": reference}
)

ENVIRONMENT = "UNITARY_ZOO_SCAN"

# Packing W for the native kernel takes as long as one of its steps takes for this many rows.
PACKING = 8

# The cost of a step by the factors of a map, forward and backward, in multiplications of the dense
# recurrence: CALLS for the calls of PyTorch, and FACTOR for each multiplication of the factors.
# Fewer rows than LEAST_ROWS make a dense step no faster, since W has to be read. Measured with
# `python -m comparisons.benchmarks scan_speed --structured` on two threads.
CALLS, FACTOR, LEAST_ROWS = 1e7, 25.0, 8


def backends() -> dict[str, Status]:
    """Return every backend, in the order in which "auto" tries them, and whether it is used."""
    return {name: Status(*backend.status()) for name, backend in BACKENDS.items()}


def run(problem: AnyProblem, backend: str, dtype: torch.dtype) -> Tensor:
    """Run a recurrence.

    Args:
        problem: The recurrence.
        backend: "auto" or the name of a backend; the environment overrides "auto".
        dtype: The dtype of the inputs as they were given; if it is a half precision, so is a real
            result.

    Raises:
        ValueError: There is no such backend, or it cannot run this problem.
    """
    name = (os.environ.get(ENVIRONMENT) or "auto") if backend == "auto" else backend
    with without_autocast(problem.x.device):
        chosen, problem = _choose(name, problem)
        if problem.checkpoint is None or chosen.HEEDS_CHECKPOINT:
            out = chosen.run(problem)
        else:
            out = in_segments(
                lambda x, h: chosen.run(replace(problem, x=x, h0=h)),
                problem.x, problem.h0, problem.checkpoint, problem.return_sequence,
            )  # fmt: skip
    low = linalg.is_low_precision(dtype) and not out.is_complex()
    return out.to(dtype) if low else out


def _choose(name: str, problem: AnyProblem) -> tuple[Backend, AnyProblem]:
    if name == "auto":
        problem = _cheapest_form(problem)
        return next(b for b in _by_cost(problem) if b.supports(problem)[0]), problem
    if name not in BACKENDS:
        names = tuple(BACKENDS)
        raise ValueError(
            f"unknown scan backend {name!r}; choose auto or one of {names}, by backend= or by "
            f"{ENVIRONMENT}"
        )
    ok, reason = BACKENDS[name].supports(problem)
    if not ok:
        raise ValueError(
            f"scan backend {name!r} cannot run this: {reason}; use backend='auto' and "
            f"leave {ENVIRONMENT} unset"
        )
    return BACKENDS[name], problem


def _by_cost(problem: AnyProblem) -> list[Backend]:
    """Return the backends, the cheapest first."""
    steps, batch, _ = problem.x.shape
    if is_transformed():  # the others have no derivative but their own backward pass
        return [reference]
    if steps == 1:  # the loop has no overhead
        return [reference]
    if is_traced() and isinstance(problem, GatedProblem):
        return [reference]
    if is_traced() or steps * batch * PACKING < problem.h0.shape[-1]:
        return [portable, reference]
    return [native, portable, reference]


def _cheapest_form(problem: AnyProblem) -> AnyProblem:
    """Return the problem with a structured map made dense if that is faster."""
    w = problem.w
    if isinstance(w, (Tensor, DenseMap)):
        return problem
    steps, batch = problem.x.shape[:2]
    return problem if by_factors(w, steps, batch) else replace(problem, w=w.matrix())


def by_factors(w: LinearMap, steps: int, batch: int) -> bool:
    """Return whether a map is cheaper by its factors than by its matrix, which has to be built."""
    factors_row = FACTOR * w.multiplications
    dense_row = w.n**2 * (4 if w.dtype.is_complex else 1)
    build = CALLS + w.n * factors_row  # the matrix is the image of n rows
    dense = steps * max(batch, LEAST_ROWS) * dense_row
    return steps * (CALLS + batch * factors_row) < dense + build
