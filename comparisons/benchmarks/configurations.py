"""The configurations of schemes that are timed, and the check of their maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import torch
from torch import Tensor

from comparisons.benchmarks.correctness import CorrectnessError
from unitary_zoo import Parametrization

LARGE = (16384,)
CHECKED_SIZES = (18, 16)  # the first that a scheme accepts
LIMITS = {torch.float32: 1e-4, torch.float64: 1e-11}  # of an error, relative to the largest entry


@dataclass(frozen=True)
class Configuration:
    """A scheme over a field, with options.

    Attributes:
        name: Registered name.
        field: "real" or "complex".
        options: Options of the scheme.
        structured: Whether an application takes less than n^2, so that it is timed at large n too.
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

    def build(self, n: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Parametrization:
        """A new scheme, which starts from the same parameters for the same seed."""
        torch.manual_seed(seed)
        options: dict[str, Any] = {**self.options, "dtype": dtype}
        cls = Parametrization.get(self.name)
        if len(cls.info.fields) > 1:
            options["field"] = self.field
        if self.name != "eigenphase" or n < min(LARGE):
            return cls(n, **options)
        # Its usual start takes the spectrum of a dense matrix, which is too large here.
        p = cls(n, device="meta", **options).to_empty(device="cpu")
        with torch.no_grad():
            for x in p.parameters():
                x.uniform_(-math.pi, math.pi)
        return p


# The options that make a scheme structured, and the fields where it is.
STRUCTURED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "arjovsky": ({}, ("complex",)),
    "butterfly": ({}, ("complex", "real")),
    "eigenphase": ({"basis": "dft"}, ("complex",)),
    "eunn": ({}, ("complex", "real")),
    "eunn_fft": ({}, ("complex", "real")),
    "householder": ({"reflections": 8}, ("real", "complex")),
    "kronecker": ({}, ("complex", "real")),
}


def configurations(only: str = "") -> list[Configuration]:
    """All schemes over all their fields, with default options and as structured ones."""
    found = []
    for name in Parametrization.names():
        options, structured = STRUCTURED.get(name, ({}, ()))
        for field in Parametrization.get(name).info.fields:
            if options or field not in structured:
                found.append(Configuration(name, field))
            if field in structured:
                found.append(Configuration(name, field, options, structured=True))
    return [configuration for configuration in found if only in configuration.title]


def inner(x: Tensor, y: Tensor) -> Tensor:
    """The real inner product."""
    return (x.conj() * y).real.sum()


def check_maps(chosen: Sequence[Configuration]) -> None:
    """Check the maps of all configurations against their matrices.

    Raises:
        CorrectnessError: A result is off; the message says which, and the error.
    """
    for configuration in chosen:
        accepts = Parametrization.get(configuration.name).info.accepts
        n = next(n for n in CHECKED_SIZES if accepts(n))
        for dtype, limit in LIMITS.items():
            _check(configuration, configuration.build(n, dtype), limit)


def _check(configuration: Configuration, p: Parametrization, limit: float) -> None:
    where = f"{configuration.title}, {configuration.field}, n={p.n}, {p.dtype}"
    found = p.describe()
    if p.info.exact and not found.defect <= found.tolerance:
        raise CorrectnessError(
            f"{where}: defect {found.defect:.3g}, limit {found.tolerance:.3g}; run "
            f"unitary_zoo.testing.check_parametrization({configuration.name!r})"
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
                raise CorrectnessError(
                    f"{where}: {what} of {name} off by {error:.3g}, limit {allowed:.3g}"
                )


def _results(
    p: Parametrization, h: Tensor, upstream: Tensor, product: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    h = h.clone().requires_grad_()
    out = product(h)
    leaves = [h, *p.learnable_parameters()]
    of_h, *rest = torch.autograd.grad(inner(upstream, out), leaves, materialize_grads=True)
    return out.detach(), of_h, torch.cat([x.flatten() for x in rest])
