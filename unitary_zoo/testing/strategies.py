"""Hypothesis strategies: they draw sizes, dtypes, seeds and scales, never matrix entries."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from unitary_zoo.base import Parametrization, Projected
from unitary_zoo.testing.subject import Subject, normal


def sizes(scheme: str | type[Parametrization], largest: int = 24) -> SearchStrategy[int]:
    """Draw a size that the scheme accepts."""
    cls = Parametrization.get(scheme) if isinstance(scheme, str) else scheme
    return st.sampled_from([n for n in range(1, largest + 1) if cls.info.accepts(n)])


def dtypes() -> SearchStrategy[torch.dtype]:
    """Draw float32 or float64."""
    return st.sampled_from([torch.float32, torch.float64])


def seeds() -> SearchStrategy[int]:
    """Draw a seed of a random generator."""
    return st.integers(0, 2**31 - 1)


def scales() -> SearchStrategy[float]:
    """Draw a factor for the parameters, from nearly 0 to 100."""
    return st.sampled_from([1e-4, 1e-2, 1.0, 10.0, 100.0])


def batch_shapes() -> SearchStrategy[tuple[int, ...]]:
    """Draw the leading shape of a batch of states, possibly the empty one."""
    return st.lists(st.integers(1, 4), max_size=2).map(tuple)


@st.composite
def parametrizations(
    draw: st.DrawFn, /, scheme: str | type[Parametrization], largest: int = 24, **options: Any
) -> Parametrization:
    """Draw an instance at a random point: its start plus ``scale`` times Gaussian numbers."""
    cls = Parametrization.get(scheme) if isinstance(scheme, str) else scheme
    field = draw(st.sampled_from(cls.info.fields))
    seed, scale = draw(seeds()), draw(scales())
    n = draw(sizes(cls, largest))
    p = Subject(cls, options).build(n, field, draw(dtypes()), seed)
    with torch.no_grad():
        for q in p.learnable_parameters():
            q.add_(scale * normal(*q.shape, dtype=q.dtype, seed=seed))
    if isinstance(p, Projected):
        p.step_()
    return p
