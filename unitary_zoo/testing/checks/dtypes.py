"""Checks of dtypes: which a scheme takes, and what a change of precision leaves of W."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg, optim
from unitary_zoo.base import Parametrization
from unitary_zoo.testing.checks.registry import HALF, check, holds, refuses
from unitary_zoo.testing.subject import Measure, Subject, defect, distance, normal

_CONVERSIONS: dict[str, Callable[[nn.Module], Any]] = {
    ".to(torch.complex64)": lambda module: module.to(torch.complex64),
    ".type(torch.complex128)": lambda module: module.type(torch.complex128),
    ".type(torch.int64)": lambda module: module.type(torch.int64),
    "to(torch.complex64) of a parent": lambda module: nn.Sequential(module).to(torch.complex64),
}


def _copy(p: Parametrization) -> dict[str, Tensor]:
    return {key: x.clone() for key, x in p.state_dict().items()}


def _unchanged(p: Parametrization, before: dict[str, Tensor], where: str) -> Measure:
    after = p.state_dict()
    same = after.keys() == before.keys() and all(
        x.dtype == before[key].dtype and torch.equal(x, before[key]) for key, x in after.items()
    )
    return holds(same, f"{where}: unchanged after a refusal")


def _rounded(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {key: x.to(dtype) if x.is_floating_point() else x for key, x in state.items()}


@check()
def check_foreign_dtypes(subject: Subject) -> Iterator[Measure]:
    """Complex and integer dtypes are refused, by conversions and states, and change nothing."""
    for where, p in subject.cases(3, dtypes=(torch.float32,)):
        before = _copy(p)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Complex modules are a new feature", UserWarning)
            for name, convert in _CONVERSIONS.items():
                yield refuses(f"{where}: {name}", TypeError, p.info.name, convert, p)
                yield _unchanged(p, before, f"{where}: {name}")
        for dtype in (torch.complex64, torch.int32):
            for assign in (False, True):
                state = _rounded(before, dtype)
                case = f"{where}: a state in {dtype}, assign={assign}"
                yield refuses(
                    case, RuntimeError, p.info.name, p.load_state_dict, state, assign=assign
                )
                yield _unchanged(p, before, case)
        p.type(torch.float64)
        for key, x in p.state_dict().items():
            kept = before[key].is_floating_point() or x.dtype == before[key].dtype
            yield holds(kept, f"{where}: the integers of {key} stay integers in double precision")


@check()
def check_lower_precision_state(subject: Subject) -> Iterator[Measure]:
    """A state of lower precision loads, also with assign=True, and W is as unitary as claimed."""
    cases = ((torch.float64, torch.float32), *((torch.float32, low) for low in HALF))
    for high, low in cases:
        for where, p in subject.cases(2, 5, dtypes=(high,)):
            source = subject.build(p.n, p.field, torch.float32, seed=7)
            wanted = source.matrix()
            # Rounding moves an entry of a parameter, of size up to about 4, by eps/2 of it; the
            # maps have conditions of order 10.
            near = 20 * p.n * linalg.eps(low)
            for assign in (False, True):
                q, case = copy.deepcopy(p), f"{where}: {low}, assign={assign}"
                q.load_state_dict(_rounded(_copy(source), low), assign=assign)
                yield Measure(distance(q.matrix(), wanted), near, f"{case}: W")
                # With assign=True the parameters have the dtype of the state at first.
                if q.to(high).info.exact:
                    yield Measure(defect(q), q.info.tolerance(q.n, q.dtype), f"{case}: defect")


@check()
def check_half_precision_step(subject: Subject) -> Iterator[Measure]:
    """Steps in half precision leave W finite, and as unitary as its dtype can show."""
    for dtype in HALF:
        for where, p in subject.cases(2, 5, dtypes=(torch.float32,)):
            p.to(dtype)
            opt = torch.optim.SGD(list(p.parameters()), lr=1e-2)
            handle = optim.attach(p, opt)
            for seed in (1, 2):
                opt.zero_grad()
                out = p(normal(3, p.n, dtype=p.dtype, seed=seed))
                (out - 1).abs().float().square().sum().backward()
                opt.step()
            handle.remove()
            w = p.matrix()
            yield holds(bool(torch.isfinite(w).all()), f"{where}, {dtype}: finite")
            if p.info.exact:
                # As in check_low_precision: the rounding of entries that are right to float32.
                limit = p.info.tolerance(p.n, torch.float32)
                limit += 1.1 * math.sqrt(p.n) * linalg.eps(dtype)
                yield Measure(defect(p), limit, f"{where}, {dtype}: defect")
