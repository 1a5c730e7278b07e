"""Choose a backend for a recurrence."""

from __future__ import annotations

import math
import os
from types import MappingProxyType
from typing import NamedTuple, Protocol

from unitary_zoo._torch import is_transformed
from unitary_zoo.base import LinearMap
from unitary_zoo.scan import native, portable, reference
from unitary_zoo.scan.autograd import Engine
from unitary_zoo.scan.checkpointing import Segments
from unitary_zoo.scan.problem import AnyProblem, GatedProblem


class Status(NamedTuple):
    """Whether a backend is available on this machine, and when it is used or why it is not."""

    available: bool
    reason: str


class Backend(Protocol):
    """A module that runs recurrences."""

    def status(self) -> tuple[bool, str]:
        """Return whether it is available on this machine, and when it is used or why it is not."""
        ...

    def supports(self, problem: AnyProblem) -> tuple[bool, str]:
        """Return whether it can run this problem, and why or why not."""
        ...


BACKENDS: MappingProxyType[str, Backend] = MappingProxyType(
    {"native": native, "portable": portable, "reference": reference}
)

PLAIN_LOOP = "reference"
"""The backend without a backward pass of its own."""

_ENGINES: dict[str, Engine] = {"native": native, "portable": portable}
_HEED_CHECKPOINT = {"native"}
_HEED_LENGTHS = {"native"}

ENVIRONMENT = "UNITARY_ZOO_SCAN"

# Packing W for the native kernel takes as long as one of its steps takes for this many rows.
PACKING = 8

# The cost of a step by the factors of a map, forward and backward, in multiplications of the dense
# recurrence: CALLS for the calls of PyTorch, and FACTOR for each multiplication of the factors.
# Fewer rows than LEAST_ROWS make a dense step no faster, since W has to be read. Measured with
# `python -m comparisons.benchmarks scan_speed --structured` on two threads.
CALLS, FACTOR, LEAST_ROWS = 1e7, 25.0, 8

# The same for the factors in compiled code: COMPILED_FACTOR for each multiplication, and LAID_OUT
# for each number of a state, which is brought into lanes and out of them. A tile of rows costs as
# much as LANES of them. Measured on one thread for n = 32 ... 1024 and 1, 20 and 128 rows: the
# two forms take the same time near n = 64 if complex, 100 if real.
COMPILED_FACTOR, LAID_OUT, LANES = 2.0, 40.0, 16


def backends() -> dict[str, Status]:
    """Return every backend, in the order in which "auto" tries them, and whether it is used."""
    return {name: Status(*backend.status()) for name, backend in BACKENDS.items()}


def requested(backend: str) -> str:
    """Return "auto" or the name of a backend; the environment overrides "auto".

    Raises:
        ValueError: There is no such backend.
    """
    name = (os.environ.get(ENVIRONMENT) or "auto") if backend == "auto" else backend
    if name != "auto" and name not in BACKENDS:
        raise ValueError(
            f"unknown scan backend {name!r}; choose auto or one of {tuple(BACKENDS)}, by backend= "
            f"or by {ENVIRONMENT}"
        )
    return name


def choose(name: str, problem: AnyProblem) -> tuple[str, AnyProblem]:
    """Return a backend that runs the problem, and the problem in the form that it takes.

    Args:
        name: What :func:`requested` returns.
        problem: The recurrence.

    Raises:
        ValueError: The backend cannot run this problem.
    """
    if name == "auto":
        problem = _cheapest_form(problem)
        return _first(_by_cost(problem), problem), problem
    _require(name, problem)
    return name, problem


def choose_engine(name: str, problem: AnyProblem) -> Engine:
    """Return a backend that runs the problem, one with a backward pass of its own.

    Args:
        name: "auto", or the name of such a backend.
        problem: The recurrence, with W as a matrix.

    Raises:
        ValueError: The backend cannot run this problem.
    """
    if name == "auto":
        return engine(_first(_engines_by_cost(problem), problem), problem)
    _require(name, problem)
    return engine(name, problem)


def _first(names: list[str], problem: AnyProblem) -> str:
    """Return the first of the backends that can run the problem."""
    return next(name for name in names if BACKENDS[name].supports(problem)[0])


def _require(name: str, problem: AnyProblem) -> None:
    """Raise ValueError, with the reason, if the backend cannot run the problem."""
    ok, reason = BACKENDS[name].supports(problem)
    if not ok:
        raise ValueError(
            f"scan backend {name!r} cannot run this: {reason}; use backend='auto' and "
            f"leave {ENVIRONMENT} unset"
        )


def engine(name: str, problem: AnyProblem) -> Engine:
    """Return the backend called ``name``, one with a backward pass, as it heeds the checkpoint."""
    found = _ENGINES[name]
    if problem.checkpoint is None or name in _HEED_CHECKPOINT:
        return found
    return Segments(found)


def heeds_lengths(name: str) -> bool:
    """Return whether the backend called ``name`` ends each sequence where its length says."""
    return name in _HEED_LENGTHS


def prefers_plain_loop(problem: AnyProblem) -> bool:
    """Return whether the plain loop is the right choice whatever its form and its tensors."""
    # Under a transform, since the others have no derivative but their own backward pass; and for a
    # single step, since the loop has no overhead.
    return is_transformed() or problem.x.shape[0] == 1


def _by_cost(problem: AnyProblem) -> list[str]:
    """Return the backends, the cheapest first."""
    return [*([] if prefers_plain_loop(problem) else _engines_by_cost(problem)), PLAIN_LOOP]


def _engines_by_cost(problem: AnyProblem) -> list[str]:
    """Return the backends with a backward pass of their own, the cheapest first."""
    steps, batch, _ = problem.x.shape
    packs = steps * batch * PACKING >= problem.h0.shape[-1]
    return ["native", "portable"] if packs or problem.by_factors else ["portable"]


def _cheapest_form(problem: AnyProblem) -> AnyProblem:
    """Return the problem with a structured map made dense if that is faster."""
    if isinstance(problem, GatedProblem) or not isinstance(problem.w, LinearMap):
        return problem
    if not problem.by_factors:
        return problem
    steps, batch = problem.x.shape[:2]
    compiled = native.supports(problem)[0]
    return problem if by_factors(problem.w, steps, batch, compiled) else problem.dense()


def by_factors(w: LinearMap, steps: int, batch: int, compiled: bool) -> bool:
    """Return whether a map is cheaper by its factors than by its matrix, which has to be built.

    Args:
        w: The map.
        steps: Number of steps.
        batch: Number of rows.
        compiled: Whether the native backend applies the factors.
    """
    factors_row = FACTOR * w.multiplications
    dense_row = w.n**2 * (4 if w.dtype.is_complex else 1)
    build = CALLS + w.n * factors_row  # the matrix is the image of n rows
    dense = steps * max(batch, LEAST_ROWS) * dense_row
    if compiled:
        rows = math.ceil(batch / LANES) * LANES
        numbers = w.n * (2 if w.dtype.is_complex else 1)
        row = COMPILED_FACTOR * w.multiplications + LAID_OUT * numbers
        return steps * rows * row < dense + build
    return steps * (CALLS + batch * factors_row) < dense + build
