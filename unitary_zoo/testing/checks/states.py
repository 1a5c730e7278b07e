"""Checks of what a file of weights holds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import optim
from unitary_zoo.base import Parametrization
from unitary_zoo.testing.checks.registry import check, holds
from unitary_zoo.testing.subject import Measure, Subject


def _by_columns(x: Tensor) -> Tensor:
    """Return an equal tensor whose numbers lie column after column."""
    return x.mT.contiguous().mT if x.ndim > 1 else x.clone()


def _assign(p: Parametrization) -> None:
    p.assign_(_by_columns(p.matrix().detach()), nearest=True)


def _load(p: Parametrization) -> None:
    p.load_state_dict({key: _by_columns(x) for key, x in p.state_dict().items()}, assign=True)


def _step(p: Parametrization) -> None:
    opt = torch.optim.SGD(list(p.parameters()), lr=1e-2)
    handle = optim.attach(p, opt)
    (p.matrix() - 1).abs().sum().backward()
    opt.step()
    handle.remove()


_CHANGES: dict[str, Callable[[Parametrization], Any]] = {
    "the start": lambda p: None,
    "assign_": _assign,
    "a step": _step,
    ".double()": lambda p: p.double(),
    ".half()": lambda p: p.half(),
    "load_state_dict with assign=True": _load,
}


@check()
def check_state_memory(subject: Subject) -> Iterator[Measure]:
    """Entries of a state are contiguous and share no memory, as safetensors demands."""
    for where, p in subject.cases(2, 5, dtypes=(torch.float32,)):
        for what, change in _CHANGES.items():
            q = copy.deepcopy(p)
            change(q)
            owners: dict[int, str] = {}
            for key, x in q.state_dict().items():
                case = f"{where}, after {what}: {key}"
                yield holds(x.is_contiguous() and not x.is_conj(), f"{case} is contiguous")
                if x.numel():
                    other = owners.setdefault(x.untyped_storage().data_ptr(), key)
                    yield holds(other == key, f"{case} shares memory with {other}")
