"""Subject: a scheme with its options, built at any size, field and dtype, and what checks use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import Parametrization, Projected, SchemeInfo
from unitary_zoo.scan import backends


def usable_backends() -> tuple[str, ...]:
    """Return the scan backends that this machine can use."""
    return tuple(name for name, status in backends().items() if status.available)


@dataclass(frozen=True)
class Measure:
    """One comparison: it holds if ``residual <= tolerance``.

    Attributes:
        residual: The measured value.
        tolerance: Its limit, which each check derives in a comment.
        where: A description of the case.
    """

    residual: float
    tolerance: float
    where: str

    @property
    def holds(self) -> bool:
        """Whether the residual is within the tolerance; NaN is not."""
        return self.residual <= self.tolerance


@dataclass(frozen=True)
class Subject:
    """A scheme class with fixed options."""

    scheme: type[Parametrization]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def info(self) -> SchemeInfo:
        """The info with the options applied; the class's if the scheme cannot be built."""
        try:
            return self.build(self.sizes()[-1]).info
        except Exception:  # the checks will report the error
            return self.scheme.info

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields to check."""
        given = self.options.get("field")
        return (given,) if given else self.info.fields  # options can leave one field only

    def sizes(self, *wanted: int) -> list[int]:
        """Return the wanted sizes that the scheme accepts, else the next larger or its smallest."""
        accepts = self.scheme.info.accepts
        wanted = wanted or (1, 2, 3, 5, 8)
        others = (*range(max(wanted), 1025), *range(1, max(wanted)))
        return [n for n in wanted if accepts(n)] or [next(n for n in others if accepts(n))]

    def build(
        self,
        n: int,
        field: str | None = None,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
    ) -> Parametrization:
        """Return an instance drawn from ``seed``, without touching the global random state."""
        options = dict(self.options)
        if field is not None:
            options["field"] = field
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.scheme(n, dtype=dtype, **options)

    def cases(
        self, *sizes: int, dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
    ) -> Iterator[tuple[str, Parametrization]]:
        """Yield instances over fields, sizes and dtypes, each with its description."""
        for own_field in self.fields:
            for n in self.sizes(*sizes):
                for dtype in dtypes:
                    yield f"{own_field}, n={n}, {dtype}", self.build(n, own_field, dtype)


def normal(*shape: int, dtype: torch.dtype, seed: int = 1) -> Tensor:
    """Return Gaussian numbers drawn from ``seed``."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def haar(n: int, dtype: torch.dtype, seed: int = 2, determinant: int | None = None) -> Tensor:
    """Return a Haar matrix by a route that no scheme uses: the polar factor by ``eigh``."""
    g = linalg.double(normal(n, n, dtype=dtype, seed=seed))
    values, v = torch.linalg.eigh(g.mH @ g)
    w = g @ (v * values.rsqrt()) @ v.mH
    w = w @ (1.5 * linalg.identity_like(w) - 0.5 * w.mH @ w)
    if determinant is not None and not w.is_complex() and torch.linalg.det(w) * determinant < 0:
        w[:, 0].neg_()
    return w.to(dtype)


def distance(a: Tensor, b: Tensor) -> float:
    """Return the largest entry of the difference, in double precision; NaN if any entry is."""
    difference = (linalg.double(a.detach()) - linalg.double(b.detach())).abs()
    return float(difference.amax()) if difference.numel() else 0.0


def defect(p: Parametrization) -> float:
    """Return the unitarity defect of an instance."""
    return float(linalg.unitarity_defect(p.matrix()))


def differentiable_matrix(p: Parametrization) -> Tensor:
    """Return W for parameters that may be off the group; projected schemes project."""
    if isinstance(p, Projected):
        p.begin_step_()
    return p.matrix()


def flat_gradient(output: Tensor, p: Parametrization, seed: int = 3) -> Tensor:
    """Return the gradient of a random functional of ``output`` in all parameters, flattened."""
    weight = normal(*output.shape, dtype=output.dtype, seed=seed)
    loss = (output * weight).real.sum()
    learned = list(p.learnable_parameters())
    grads = torch.autograd.grad(loss, learned, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(q) if g is None else g).reshape(-1)
            for q, g in zip(learned, grads, strict=True)
        ]
    )


@torch.no_grad()
def generic_point(p: Parametrization) -> None:
    """Move the parameters off the special points of the start."""
    for q in p.learnable_parameters():
        q.add_(0.1 * normal(*q.shape, dtype=q.dtype, seed=6))
        if isinstance(p, Projected):
            q.mul_(0.5)  # a projection onto a ball has its kink on the sphere
