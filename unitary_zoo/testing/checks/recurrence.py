"""Checks of W applied many times."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unitary_zoo.scan import recurrent_scan
from unitary_zoo.testing.checks.registry import FLOAT64, check, exact
from unitary_zoo.testing.subject import (
    Measure,
    Subject,
    distance,
    flat_gradient,
    normal,
    usable_backends,
)


@check(exact)
def check_norm(subject: Subject) -> Iterator[Measure]:
    """The norm of a state is kept over 200 applications."""
    for where, p in subject.cases(3, 8):
        with torch.no_grad():
            q, h = p.prepare(), normal(4, p.n, dtype=p.dtype)
            start = h.norm(dim=-1)
            for _ in range(200):
                h = q(h)
            drift = float((h.norm(dim=-1) / start - 1).abs().max())
        # Each step changes the norm by at most the defect, and by rounding of the same size.
        yield Measure(drift, 200 * p.info.tolerance(p.n, p.dtype), where)


@check()
def check_scan(subject: Subject) -> Iterator[Measure]:
    """Every scan backend equals the plain loop for this W: states and gradients."""
    for where, p in subject.cases(3, dtypes=FLOAT64):
        x, h0 = normal(8, 2, p.n, dtype=p.dtype), normal(2, p.n, dtype=p.dtype, seed=2)
        threshold = 0.1 * normal(p.n, dtype=torch.float64)
        found: dict[str, tuple[Tensor, Tensor]] = {}
        names = usable_backends()
        for backend in names:
            dense = p.matrix()
            h = recurrent_scan(x, dense, h0, "modrelu", threshold=threshold, backend=backend)
            has_parameters = any(q.numel() for q in p.learnable_parameters())
            found[backend] = h, flat_gradient(h, p) if has_parameters else h
        for name in names:
            for part, plain in zip(found[name], found["reference"], strict=True):
                scale = max(1.0, float(plain.detach().abs().max()))
                yield Measure(distance(part, plain), 1e-10 * scale, f"{where}: {name}")
        mapped = recurrent_scan(x, p.prepare(), h0, "modrelu", threshold=threshold)
        yield Measure(distance(mapped, found["reference"][0]), 1e-10, f"{where}: LinearMap")
