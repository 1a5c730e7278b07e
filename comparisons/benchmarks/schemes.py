"""Every registered scheme over each field: what it holds, how fast it is, how well it learns.

A correctness gate comes first: in both precisions the prepared map, its adjoint and the gradients
equal those of a product with the matrix, at a size off the powers of two where the scheme has one,
and W is unitary where that is claimed. The columns:

- ``parameters``, ``dimension``, ``group``, ``unitary``: what the scheme holds and claims;
  ``unitary`` is yes, or how far W may be from it.
- ``build_ms``: forward and backward of W(theta) and a random functional of it; for the structured
  schemes, without the matrix, of preparing and one application. A projected scheme has no more to
  build than a check: its work is in the step.
- ``step_ms``: a step of SGD with all that follows it, attached: retraction, rebase or projection.
- ``apply_ms``: forward and backward of one application of the prepared map to a batch, gradients
  in the batch and in all factors of the map. ``dense_ratio``: the time of the same with a dense
  matrix, which takes turns with it, by this. A ratio above 1 says that the map is the faster.
- ``gradient_condition``: largest by least singular value of dW/dtheta at a fresh start at n = 16
  in double precision, of those above 1e-9 of the largest. A projected scheme stores W, so it is 1.
- ``drift``: unitarity defect after 1000 attached steps of AdamW with its default weight decay,
  lr = 1e-3, at n = 32 in single precision, each for a random functional of W of its own.

The second table says what the structured schemes hold in memory: the tensors of the prepared map,
and all that preparing and one application save for the backward pass.

    python comparisons/benchmarks/schemes.py [--sizes 128 512] [--large 16384] [--json FILE]

Exit code 1 if the correctness gate fails, and only then.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

# A checkout is run as it is, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor

from comparisons.benchmarks.gate import GateError
from comparisons.benchmarks.timing import Row, Step, medians, show, write_json
from comparisons.cli.console import console
from unitary_zoo import Parametrization, attach
from unitary_zoo.base import LinearMap

SIZES = (128, 512)
LARGE = (16384,)
BATCH, BATCH_LARGE = 128, 16
ROUNDS_LARGE = 3  # at most
GATE_SIZES = (18, 16)  # the first that a scheme accepts
LIMITS = {torch.float32: 1e-4, torch.float64: 1e-11}  # of an error, by the largest entry
CONDITION_SIZE, CONDITION_CUT = 16, 1e-9
DRIFT_SIZE, DRIFT_STEPS, DRIFT_LR = 32, 1000, 1e-3
MB, GIB = 1e6, 2**30  # bytes


@dataclass(frozen=True)
class Subject:
    """A scheme over a field, with options.

    Attributes:
        name: Registered name.
        field: "real" or "complex".
        options: Of the scheme.
        structured: Whether it is applied in less than n^2, and so exists at large n.
    """

    name: str
    field: str
    options: Mapping[str, Any] = dataclass_field(default_factory=dict)
    structured: bool = False

    @property
    def title(self) -> str:
        """The name, and the options if there are any."""
        options = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{self.name}({options})" if options else self.name

    def build(self, n: int, dtype: torch.dtype = torch.float32) -> Parametrization:
        """A fresh one; always the same."""
        torch.manual_seed(0)
        options: dict[str, Any] = {**self.options, "dtype": dtype}
        cls = Parametrization.get(self.name)
        if len(cls.info.fields) > 1:
            options["field"] = self.field
        if self.name != "eigenphase" or n < min(LARGE):
            return cls(n, **options)
        # It would start from the spectrum of a dense matrix.
        p = cls(n, device="meta", **options).to_empty(device="cpu")
        with torch.no_grad():
            for x in p.parameters():
                x.uniform_(-math.pi, math.pi)
        return p


# With options by which a scheme that is dense by itself is structured, and the fields where it is.
STRUCTURED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "arjovsky": ({}, ("complex",)),
    "butterfly": ({}, ("complex", "real")),
    "eigenphase": ({"basis": "dft"}, ("complex",)),
    "eunn": ({}, ("complex", "real")),
    "eunn_fft": ({}, ("complex", "real")),
    "householder": ({"reflections": 8}, ("real", "complex")),
    "kronecker": ({}, ("complex", "real")),
}


def subjects(only: str = "") -> list[Subject]:
    """All schemes over all their fields, as they are and as they are structured."""
    found = []
    for name in Parametrization.names():
        options, structured = STRUCTURED.get(name, ({}, ()))
        for field in Parametrization.get(name).info.fields:
            if options or field not in structured:
                found.append(Subject(name, field))
            if field in structured:
                found.append(Subject(name, field, options, structured=True))
    return [subject for subject in found if only in subject.title]


def inner(x: Tensor, y: Tensor) -> Tensor:
    """The real inner product."""
    return (x.conj() * y).real.sum()


# ------------------------------------------------------------------------------------------ gate


def gate(chosen: Sequence[Subject]) -> None:
    """Check the maps of all subjects against their matrices.

    Raises:
        GateError: It says what is how far off.
    """
    for subject in chosen:
        accepts = Parametrization.get(subject.name).info.accepts
        n = next(n for n in GATE_SIZES if accepts(n))
        for dtype, limit in LIMITS.items():
            _check(subject, subject.build(n, dtype), limit)


def _check(subject: Subject, p: Parametrization, limit: float) -> None:
    where = f"{subject.title}, {subject.field}, n={p.n}, {p.dtype}"
    found = p.describe()
    if p.info.exact and not found.defect <= found.tolerance:
        raise GateError(
            f"{where}: defect {found.defect:.3g}, limit {found.tolerance:.3g}; run "
            f"unitary_zoo.testing.check_parametrization({subject.name!r})"
        )
    h, upstream = (torch.randn(5, p.n, dtype=p.dtype) for _ in range(2))
    by_map, by_matrix = (
        {name: _results(p, h, upstream, product) for name, product in products.items()}
        for products in (
            {"map": lambda h: p.prepare()(h), "adjoint": lambda h: p.prepare().adjoint(h)},
            {"map": lambda h: h @ p.matrix().mT, "adjoint": lambda h: h @ p.matrix().conj()},
        )
    )
    for name, results in by_map.items():
        for what, got, wanted in zip(
            ["value", "gradient in h", "gradient in theta"], results, by_matrix[name], strict=True
        ):
            error = float((got - wanted).abs().max())
            allowed = limit * max(1.0, float(wanted.abs().max()))
            if not error <= allowed:  # so that NaN fails
                raise GateError(
                    f"{where}: {what} of {name} off by {error:.3g}, limit {allowed:.3g}"
                )


def _results(
    p: Parametrization, h: Tensor, upstream: Tensor, product: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    h = h.clone().requires_grad_()
    out = product(h)
    leaves = [h, *p.parameters()]
    of_h, *rest = torch.autograd.grad(inner(upstream, out), leaves, materialize_grads=True)
    return out.detach(), of_h, torch.cat([x.flatten() for x in rest])


# ------------------------------------------------------------------------------------- factors


def freed(x: Any) -> Any:
    """``x``, a tensor or tensors in a tuple or list, as leaves of their own."""
    if isinstance(x, Tensor):
        inexact = x.is_floating_point() or x.is_complex()
        return x.detach().clone().requires_grad_(inexact)
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*map(freed, x))
    return type(x)(map(freed, x)) if isinstance(x, (tuple, list)) else x


def tensors(x: Any) -> Iterator[Tensor]:
    """The tensors in ``x``."""
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, (tuple, list)):
        for part in x:
            yield from tensors(part)


def with_factors(p: Parametrization) -> tuple[LinearMap, list[Tensor]]:
    """The prepared map and its factors, which do not know of the parameters any more."""
    with torch.no_grad():
        linear = copy.copy(p.prepare())
    vars(linear).update({key: freed(value) for key, value in vars(linear).items()})
    return linear, list(tensors(list(vars(linear).values())))


def application(product: Callable[[Tensor], Tensor], h: Tensor, factors: list[Tensor]) -> Step:
    """Forward and backward of one product."""
    leaves = [h, *(x for x in factors if x.requires_grad)]
    upstream = torch.randn_like(h)

    def step() -> object:
        return torch.autograd.grad(product(h), leaves, upstream, allow_unused=True)

    return step


# -------------------------------------------------------------------------------------- figures


def building(subject: Subject, p: Parametrization, h: Tensor) -> Step:
    """Forward and backward of W(theta), or of an application where W is not formed."""
    leaves = list(p.parameters())
    weight = torch.randn_like(h) if subject.structured else torch.randn(p.n, p.n, dtype=p.dtype)

    def step() -> object:
        out = p.prepare()(h) if subject.structured else p.matrix()
        return torch.autograd.grad(out, leaves, weight, allow_unused=True)

    return step


def gradient_condition(subject: Subject, n: int) -> float:
    """Of dW/dtheta at a fresh start, on its range."""
    p = subject.build(n, torch.float64)
    leaves = list(p.parameters())
    w = p.matrix()
    entries = (torch.view_as_real(w) if w.is_complex() else w).flatten()
    rows = [
        torch.autograd.grad(entry, leaves, retain_graph=True, materialize_grads=True)
        for entry in entries.unbind()
    ]
    jacobian = torch.stack([torch.cat([x.flatten() for x in row]) for row in rows])
    values = torch.linalg.svdvals(jacobian)
    return float(values[0] / values[values > CONDITION_CUT * values[0]][-1])


def drift(subject: Subject, n: int, steps: int) -> float:
    """The unitarity defect after so many steps."""
    p = subject.build(n)
    optimizer = torch.optim.AdamW(p.parameters(), lr=DRIFT_LR)
    handle = attach(p, optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        inner(torch.randn(n, n, dtype=p.dtype), p.matrix()).backward()
        optimizer.step()
    handle.remove()
    return p.describe().defect


def stepping(p: Parametrization) -> Step:
    """A step of SGD on a copy, and what is attached to it."""
    p = copy.deepcopy(p)
    for x in p.parameters():
        x.grad = torch.randn_like(x).div_(math.sqrt(x.numel()))
    optimizer = torch.optim.SGD(p.parameters(), lr=1e-4)
    attach(p, optimizer)
    return optimizer.step


def times(subject: Subject, p: Parametrization, rounds: int, batch: int, limit: float) -> Row:
    """Milliseconds, and how much a dense product takes; None where it needs too many bytes."""
    h = torch.randn(batch, p.n, dtype=p.dtype, requires_grad=True)
    linear, factors = with_factors(p)
    steps = {
        "build": building(subject, p, h.detach()),
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


def memory(subject: Subject, p: Parametrization, batch: int) -> Row:
    """What is held for one application, forward and backward."""
    saved: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        saved.append(x)
        return x

    h = torch.randn(batch, p.n, dtype=p.dtype, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        linear = p.prepare()
        linear(h)
    return {
        "scheme": subject.title,
        "field": subject.field,
        "n": p.n,
        "batch": batch,
        "map_mb": _bytes(list(tensors(list(vars(linear).values())))) / MB,
        "saved_mb": _bytes(saved) / MB,
        "dense_matrix_mb": p.n**2 * h.element_size() / MB,
    }


def _bytes(held: Sequence[Tensor]) -> int:
    storages = [x.untyped_storage() for x in held]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def measure(chosen: Sequence[Subject], options: argparse.Namespace) -> tuple[list[Row], list[Row]]:
    """The rows of both tables."""
    rows: list[Row] = []
    held: list[Row] = []
    for subject in chosen:
        accepts = Parametrization.get(subject.name).info.accepts
        condition = gradient_condition(subject, options.condition_size)
        lost = drift(subject, options.drift_size, options.drift_steps)
        for n in [*options.sizes, *(options.large if subject.structured else [])]:
            if not accepts(n):
                console.print(f"{subject.title} does not accept n = {n}")
                continue
            large = n in options.large
            batch = BATCH_LARGE if large else BATCH
            rounds = min(options.rounds, ROUNDS_LARGE) if large else options.rounds
            p = subject.build(n)
            row = {
                "scheme": subject.title,
                "field": subject.field,
                "n": n,
                "parameters": sum(x.numel() for x in p.parameters()),
                "dimension": p.info.dimension(n),
                "group": p.info.group,
                "unitary": p.info.exact or p.info.deviation,
                **times(subject, p, rounds, batch, options.limit_gib * GIB),
                "gradient_condition": condition,
                "drift": lost,
            }
            rows.append(row)
            console.print({key: row[key] for key in ("scheme", "field", "n", "build_ms")})
            if subject.structured:
                held.append(memory(subject, p, batch))
    return rows, held


def main() -> int:
    """Run the gate and both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--large", type=int, nargs="*", default=list(LARGE), help="structured ones")
    parser.add_argument("--limit-gib", type=float, default=4.0, help="of a dense application")
    parser.add_argument("--only", default="", help="the schemes whose title holds this text")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: does it run at all?")
    options = parser.parse_args()
    options.condition_size, options.drift_size = CONDITION_SIZE, DRIFT_SIZE
    options.drift_steps = DRIFT_STEPS
    if options.tiny:
        options.sizes, options.large = [16], [64]
        options.condition_size, options.drift_size, options.drift_steps = 8, 8, 3
    torch.set_num_threads(options.threads)
    chosen = subjects(options.only)
    try:
        gate(chosen)
    except GateError as error:
        console.print(f"[red]the correctness gate failed, nothing is measured:[/] {error}")
        return 1
    console.print("correctness gate passed: maps, adjoints and gradients, float64 and float32")
    rows, held = measure(chosen, options)
    where = f"batch {BATCH}, at n in {options.large} {BATCH_LARGE}"
    show(f"schemes, float32, {where}", rows, console)
    if any(row["dense_ratio"] is None for row in rows):
        console.print(
            f"no dense_ratio where a dense application takes more than {options.limit_gib:g} GiB; "
            "raise --limit-gib to have it"
        )
    show("memory of the structured ones", held, console)
    if options.json:
        write_json(options.json, schemes=rows, memory=held)
    return 0


if __name__ == "__main__":
    sys.exit(main())
