"""Checks of steps: a scheme takes one for each step of an optimizer, however that is called."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from unitary_zoo import optim
from unitary_zoo.base import Parametrization
from unitary_zoo.testing.checks.registry import FLOAT64, check, rounding
from unitary_zoo.testing.optimizers import VARIANTS, descent
from unitary_zoo.testing.subject import Measure, Subject, distance, normal


def _train(p: Parametrization, optimizer: Any) -> None:
    """Take two steps."""
    for _ in range(2):
        p.zero_grad()
        weight = normal(p.n, p.n, dtype=p.dtype, seed=8)
        (p.matrix() * weight).real.sum().backward()
        optimizer.step()


def _state_distance(p: Parametrization, q: Parametrization) -> float:
    found = q.state_dict()
    return max((distance(x, found[key]) for key, x in p.state_dict().items()), default=0.0)


@check()
def check_one_step(subject: Subject) -> Iterator[Measure]:
    """Wrapped, extended and copied optimizers take the same steps as a plain one."""
    for where, p in subject.cases(4, dtypes=FLOAT64):
        plain, half = copy.deepcopy(p), copy.deepcopy(p)
        optimizer = descent(list(plain.parameters()))
        optim.attach(plain, optimizer)
        _train(plain, optimizer)
        _train(plain, optimizer)
        # All compute the same, so only the order of sums could differ.
        limit = rounding(p.n, p.dtype)
        for name, make in VARIANTS.items():
            q = copy.deepcopy(p)
            variant = make(list(q.parameters()))
            optim.attach(q, variant)
            _train(q, variant)
            _train(q, variant)
            yield Measure(_state_distance(plain, q), limit, f"{where}: {name}")
        optimizer = descent(list(half.parameters()))
        optim.attach(half, optimizer)
        _train(half, optimizer)
        copied, optimizer = copy.deepcopy((half, optimizer))
        _train(copied, optimizer)
        name = "a copy of scheme and optimizer"
        yield Measure(_state_distance(plain, copied), limit, f"{where}: {name}")
