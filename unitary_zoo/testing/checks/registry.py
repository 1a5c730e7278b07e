"""The decorator and the list of the checks of a scheme, and the measures that checks share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from unitary_zoo import linalg
from unitary_zoo.base import SchemeInfo
from unitary_zoo.testing.subject import Measure, Subject

Check = Callable[[Subject], Iterator[Measure]]
CHECKS: dict[str, tuple[Check, Callable[[SchemeInfo], bool]]] = {}
NAMES: set[str] = set()
"""The names of all checks, those of layers included: what a claim of failure can name."""

FLOAT64 = (torch.float64,)
HALF = (torch.bfloat16, torch.float16)


def always(info: SchemeInfo) -> bool:
    """Apply to every scheme."""
    return True


def exact(info: SchemeInfo) -> bool:
    """Apply to schemes that claim to be unitary."""
    return info.exact


def check(applies: Callable[[SchemeInfo], bool] = always) -> Callable[[Check], Check]:
    """Return a decorator that registers a check for the schemes to which it applies."""

    def enter(function: Check) -> Check:
        name = function.__name__.removeprefix("check_")
        if name in CHECKS:
            raise ValueError(f"there is a check called {name!r} already; take another name")
        CHECKS[name] = (function, applies)
        NAMES.add(name)
        return function

    return enter


def rounding(n: int, dtype: torch.dtype) -> float:
    """Return 20 sqrt(n) eps, a bound on an entry of a product of a few matrices of norm 1."""
    return 20 * math.sqrt(n) * linalg.eps(dtype)


def holds(condition: bool, where: str) -> Measure:
    """Return a measure that holds if ``condition`` does."""
    return Measure(0.0 if condition else math.inf, 0.0, where)


def refuses(
    where: str,
    kind: type[Exception],
    mention: str,
    call: Callable[..., object],
    *args: Any,
    **options: Any,
) -> Measure:
    """Return a measure that holds if a call raises ``kind`` with ``mention`` in its message."""
    try:
        call(*args, **options)
    except kind as error:
        wrong = "" if mention in str(error) else f": message {str(error)!r} lacks {mention!r}"
    except Exception as error:
        wrong = f": raised {type(error).__name__}: {error}"
    else:
        wrong = ": did not raise"
    return holds(not wrong, where + wrong)
