"""Checks of the derivative: right, finite, complete, of the claimed rank."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import (
    Parametrization,
    Projected,
)
from unitary_zoo.testing.checks.registry import FLOAT64, check, holds
from unitary_zoo.testing.subject import (
    Measure,
    Subject,
    differentiable_matrix,
    distance,
    flat_gradient,
    generic_point,
    normal,
)


@check()
def check_gradient(subject: Subject) -> Iterator[Measure]:
    """The gradient of W agrees with central differences."""
    for where, p in subject.cases(3, dtypes=FLOAT64):
        generic_point(p)
        weight = normal(p.n, p.n, dtype=p.dtype, seed=3)

        def value(p: Parametrization = p, weight: Tensor = weight) -> Tensor:
            return (differentiable_matrix(p) * weight).real.sum()

        for name, q in p.named_parameters():
            if not q.numel() or not q.requires_grad:
                continue
            (grad,) = torch.autograd.grad(value(), q)
            step = 1e-5
            numeric = torch.zeros_like(q)
            with torch.no_grad():
                for i in range(q.numel()):
                    entry = q.view(-1)[i]
                    start = entry.clone()
                    entry.copy_(start + step)
                    above = value()
                    entry.copy_(start - step)
                    below = value()
                    entry.copy_(start)
                    numeric.view(-1)[i] = (above - below) / (2 * step)
            # Truncation step^2 f'''/6 and rounding eps/step are both near 1e-10, times the size
            # of the functional.
            scale = max(1.0, float(weight.abs().sum()))
            yield Measure(distance(grad, numeric), 1e-8 * scale, f"{where}: {name}")


@check()
def check_finite_gradients(subject: Subject) -> Iterator[Measure]:
    """Gradients are finite at the identity, at eigenvalues -1 and at exactly unitary points."""
    for where, p in subject.cases(1, 2, 4, 5):
        half_turns = -torch.eye(p.n)
        if p.n % 2:
            half_turns[-1, -1] = 1
        points = {"start": None, "identity": torch.eye(p.n), "eigenvalues -1": half_turns}
        for point, w in points.items():
            if w is not None:
                if not (p.info.assignable and p.info.exact):
                    continue
                p.assign_(w, nearest=True)
            if any(q.numel() for q in p.learnable_parameters()):
                grad = flat_gradient(differentiable_matrix(p), p)
                yield holds(bool(torch.isfinite(grad).all()), f"{where}: {point}")
            if isinstance(p, Projected):
                p.step_()


@check()
def check_gradient_reaches(subject: Subject) -> Iterator[Measure]:
    """Every parameter gets a gradient, also when W was first read under no_grad."""
    for where, p in subject.cases(2, 3, 5, dtypes=FLOAT64):
        with torch.no_grad():
            p.matrix()
            p.prepare()
        weight = normal(p.n, p.n, dtype=p.dtype, seed=4)
        (p.matrix() * weight).real.sum().backward()
        for name, q in p.named_parameters():
            if q.numel() and q.requires_grad:
                reached = q.grad is not None and bool(q.grad.any())
                yield holds(reached, f"{where}: {name}")


@check()
def check_dimension(subject: Subject) -> Iterator[Measure]:
    """The rank of dW/dtheta is the dimension claimed."""
    for where, p in subject.cases(1, 2, 3, 4, 6, dtypes=FLOAT64):
        generic_point(p)
        w = linalg.view_as_real_parts(differentiable_matrix(p).resolve_conj()).reshape(-1)
        rows = [
            torch.cat(
                [
                    g.reshape(-1)
                    for g in torch.autograd.grad(
                        entry,
                        list(p.learnable_parameters()),
                        retain_graph=True,
                        materialize_grads=True,
                    )
                ]
            )
            for entry in w
        ]
        jacobian = torch.stack(rows)
        # Singular values are either of order 1 or rounding; 1e-9 lies far from both. If W is
        # constant, all are rounding, and only an absolute limit is above them.
        limits = {"rtol": 1e-9, "atol": 1e-12}
        rank = int(torch.linalg.matrix_rank(jacobian, **limits)) if jacobian.numel() else 0
        claim = p.info.dimension(p.n)
        yield Measure(abs(rank - claim), 0.0, f"{where}: rank {rank}, claimed {claim}")
