"""Time every registered scheme over each field, and measure what it holds and how it learns.

A correctness check comes first: in both precisions the prepared map, its adjoint and the gradients
equal those of a product with the matrix, at a size off the powers of two where the scheme has one,
and W is unitary where that is claimed. The columns:

- ``parameters``, ``dimension``, ``group``, ``unitary``: what the scheme holds and claims;
  ``unitary`` is yes, or how far W may be from it.
- ``build_ms``: forward and backward of W(theta) and a random functional of it; for the structured
  schemes, which form no matrix, of preparing and one application. A projected scheme builds
  nothing: its work is in the step.
- ``step_ms``: a step of SGD with all that follows it, attached: retraction, rebase or projection.
- ``apply_ms``: forward and backward of one application of the prepared map to a batch, gradients
  in the batch and in all factors of the map.
- ``dense_ratio``: the time of the same with a dense matrix, measured in turns with it, divided by
  ``apply_ms``. Above 1 the map is the faster.
- ``drift``: unitarity defect after 1000 attached steps of AdamW with its default weight decay,
  lr = 1e-3, at n = 32 in single precision, each for a random functional of W of its own.

The second table says what the structured schemes hold in memory: the tensors of the prepared map,
and all that preparing and one application save for the backward pass.

    python -m comparisons.benchmarks scheme_speed [--sizes 128 512] [--large 16384] [--json FILE]

The exit code is 1 if the correctness check fails.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from comparisons.benchmarks.configurations import (
    LARGE,
    Configuration,
    check_maps,
    configurations,
    inner,
)
from comparisons.benchmarks.timing import Row, Step, medians
from comparisons.cli.console import say, show
from unitary_zoo import Parametrization, attach
from unitary_zoo.base import FactoredMap, LinearMap

SIZES = (128, 512)
BATCH, BATCH_LARGE = 128, 16
ROUNDS_LARGE = 3  # at most
DRIFT_SIZE, DRIFT_STEPS, DRIFT_LR = 32, 1000, 1e-3
MB, GIB = 1e6, 2**30  # bytes


def freed(x: Any) -> Any:
    """Copies, as leaves, of a tensor or of the tensors in a tuple or list."""
    if isinstance(x, Tensor):
        inexact = x.is_floating_point() or x.is_complex()
        return x.detach().clone().requires_grad_(inexact)
    return type(x)(map(freed, x)) if isinstance(x, (tuple, list)) else x


def tensors(x: Any) -> Iterator[Tensor]:
    """Yield the tensors in ``x``."""
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, (tuple, list)):
        for part in x:
            yield from tensors(part)


def with_factors(p: Parametrization) -> tuple[LinearMap, list[Tensor]]:
    """The prepared map and its factors, detached from the parameters."""
    with torch.no_grad():
        prepared = p.prepare()
    if isinstance(prepared, FactoredMap):
        numbers = freed(prepared.numbers)
        return FactoredMap(p.n, prepared.factors, numbers), [numbers]
    linear = copy.copy(prepared)
    vars(linear).update({key: freed(value) for key, value in vars(linear).items()})
    return linear, list(tensors(list(vars(linear).values())))


def application(product: Callable[[Tensor], Tensor], h: Tensor, factors: list[Tensor]) -> Step:
    """A step that runs one product forward and backward."""
    leaves = [h, *(x for x in factors if x.requires_grad)]
    upstream = torch.randn_like(h)

    def step() -> object:
        return torch.autograd.grad(product(h), leaves, upstream, allow_unused=True)

    return step


def building(configuration: Configuration, p: Parametrization, h: Tensor) -> Step:
    """A step that runs W(theta) forward and backward, or an application where W is not formed."""
    leaves = list(p.learnable_parameters())
    weight = (
        torch.randn_like(h) if configuration.structured else torch.randn(p.n, p.n, dtype=p.dtype)
    )

    def step() -> object:
        out = p.prepare()(h) if configuration.structured else p.matrix()
        return torch.autograd.grad(out, leaves, weight, allow_unused=True)

    return step


def drift(configuration: Configuration, n: int, steps: int) -> float:
    """The unitarity defect after so many steps."""
    p = configuration.build(n)
    optimizer = torch.optim.AdamW(p.parameters(), lr=DRIFT_LR)
    handle = attach(p, optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        inner(torch.randn(n, n, dtype=p.dtype), p.matrix()).backward()
        optimizer.step()
    handle.remove()
    return p.describe().defect


def stepping(p: Parametrization) -> Step:
    """A step of SGD on a copy of ``p``, with what ``attach`` adds to it."""
    p = copy.deepcopy(p)
    for x in p.learnable_parameters():
        x.grad = torch.randn_like(x).div_(math.sqrt(x.numel()))
    optimizer = torch.optim.SGD(p.parameters(), lr=1e-4)
    attach(p, optimizer)
    return optimizer.step


def times(
    configuration: Configuration, p: Parametrization, rounds: int, batch: int, limit: float
) -> Row:
    """Milliseconds, and the ratio to a dense product; None where that needs too many bytes."""
    h = torch.randn(batch, p.n, dtype=p.dtype, requires_grad=True)
    linear, factors = with_factors(p)
    steps = {
        "build": building(configuration, p, h.detach()),
        "apply": application(linear, h, factors),
        "step": stepping(p),
    }
    # The matrix, its gradient, and a copy of either on the way.
    if 3 * p.n**2 * h.element_size() <= limit:
        w = torch.randn(p.n, p.n, dtype=p.dtype).div_(math.sqrt(p.n)).requires_grad_()
        steps["dense"] = application(lambda h: h @ w.mT, h, [w])
    found = medians(steps, rounds)
    return {
        "build_ms": found["build"] * 1e3,
        "step_ms": found["step"] * 1e3,
        "apply_ms": found["apply"] * 1e3,
        "dense_ratio": found["dense"] / found["apply"] if "dense" in found else None,
    }


def memory(configuration: Configuration, p: Parametrization, batch: int) -> Row:
    """Megabytes held for one application, forward and backward."""
    saved: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        saved.append(x)
        return x

    h = torch.randn(batch, p.n, dtype=p.dtype, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        linear = p.prepare()
        linear(h)
    return {
        "scheme": configuration.title,
        "field": configuration.field,
        "n": p.n,
        "batch": batch,
        "map_mb": _bytes(list(tensors(list(vars(linear).values())))) / MB,
        "saved_mb": _bytes(saved) / MB,
        "dense_matrix_mb": p.n**2 * h.element_size() / MB,
    }


def _bytes(held: Sequence[Tensor]) -> int:
    storages = [x.untyped_storage() for x in held]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def measure(
    chosen: Sequence[Configuration], options: argparse.Namespace
) -> tuple[list[Row], list[Row]]:
    """The rows of both tables."""
    rows: list[Row] = []
    held: list[Row] = []
    for configuration in chosen:
        accepts = Parametrization.get(configuration.name).info.accepts
        lost = drift(configuration, options.drift_size, options.drift_steps)
        for n in [*options.sizes, *(options.large if configuration.structured else [])]:
            if not accepts(n):
                say(f"{configuration.title} does not accept n = {n}")
                continue
            large = n in options.large
            batch = BATCH_LARGE if large else BATCH
            rounds = min(options.rounds, ROUNDS_LARGE) if large else options.rounds
            p = configuration.build(n)
            row = {
                "scheme": configuration.title,
                "field": configuration.field,
                "n": n,
                "parameters": sum(x.numel() for x in p.learnable_parameters()),
                "dimension": p.info.dimension(n),
                "group": p.info.reach,
                "unitary": p.info.exact or p.info.deviation,
                **times(configuration, p, rounds, batch, options.limit_gib * GIB),
                "drift": lost,
            }
            rows.append(row)
            say(str({key: row[key] for key in ("scheme", "field", "n", "build_ms")}))
            if configuration.structured:
                held.append(memory(configuration, p, batch))
    return rows, held


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this benchmark."""
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--large", type=int, nargs="*", default=list(LARGE), help="structured ones")
    parser.add_argument("--limit-gib", type=float, default=4.0, help="of a dense application")
    parser.add_argument("--only", default="", help="the schemes whose title holds this text")


def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Check the maps of all schemes, then make both tables."""
    options.drift_size, options.drift_steps = DRIFT_SIZE, DRIFT_STEPS
    if options.tiny:
        options.sizes, options.large = [16], [64]
        options.drift_size, options.drift_steps = 8, 3
    chosen = configurations(options.only)
    check_maps(chosen)
    say("correctness check passed: maps, adjoints and gradients, float64 and float32")
    rows, held = measure(chosen, options)
    where = f"batch {BATCH}, at n in {options.large} {BATCH_LARGE}"
    show(f"schemes, float32, {where}", rows)
    if any(row["dense_ratio"] is None for row in rows):
        say(
            f"no dense_ratio where a dense application takes more than {options.limit_gib:g} GiB; "
            "raise --limit-gib to have it"
        )
    show("memory of the structured ones", held)
    return {"schemes": rows, "memory": held}
