"""Checks of awkward matrices: numbers that are not finite, and targets far from any scheme."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo._torch import TorchDispatchMode
from unitary_zoo.base import NotRepresentableError
from unitary_zoo.testing.checks.registry import FLOAT64, check, holds
from unitary_zoo.testing.subject import Measure, Subject, distance, normal

_DECOMPOSITIONS = ("linalg_eig", "_linalg_eig", "linalg_svd", "_linalg_svd")


class _NotFiniteError(Exception):
    """A decomposition was asked for numbers that are not finite."""


class _FiniteDecompositions(TorchDispatchMode):
    """Refuse to decompose a matrix that is not finite, before LAPACK can end the process."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name.startswith(_DECOMPOSITIONS) and not torch.isfinite(args[0]).all():
            raise _NotFiniteError(f"{name} of a matrix that is not finite")
        return func(*args, **(kwargs or {}))


@check()
def check_describe_not_finite(subject: Subject) -> Iterator[Measure]:
    """describe() of parameters that are not finite says NaN or raises a ValueError."""
    for value in (math.nan, math.inf):
        for everywhere in (True, False):
            for where, p in subject.cases(2, 5, dtypes=FLOAT64):
                with torch.no_grad():
                    for q in p.parameters():
                        (q if everywhere or not q.numel() else q[(-1,) * q.ndim]).fill_(value)
                case = f"{where}: {'all' if everywhere else 'one'} of the entries {value}"
                try:
                    with _FiniteDecompositions():
                        found = p.describe()
                        finite = bool(torch.isfinite(p.matrix()).all())
                except ValueError:
                    continue  # a clear error is right too
                except _NotFiniteError as error:
                    yield holds(False, f"{case}: {error}")
                    continue
                # A limit such as that of the Cayley map at infinity may be finite.
                numbers = (found.defect, found.determinant.real, float(found.eigenphases.sum()))
                said = [math.isnan(x) for x in numbers]
                yield holds(finite or all(said), f"{case}: {numbers} of a matrix not finite")


def _targets(n: int, dtype: torch.dtype, few: bool) -> Iterator[tuple[str, Tensor]]:
    one = torch.eye(n, dtype=dtype)
    reflection = one.clone()
    reflection[0, 0] = -1
    q = torch.linalg.qr(normal(n, n, dtype=dtype)).Q
    yield "0", 0 * one
    yield "an orthogonal matrix", q
    yield "one of the other determinant", q @ reflection
    if few:
        return
    yield "-I", -one
    yield "a reflection", reflection
    yield "a matrix of rank 1", normal(n, 1, dtype=dtype) @ normal(1, n, dtype=dtype, seed=2)
    if n > 1:
        yield "a permutation", one.roll(1, 0)


@check()
def check_nearest(subject: Subject) -> Iterator[Measure]:
    """Any finite matrix is taken as the nearest, or refused with NotRepresentableError."""
    for where, p in subject.cases(1, 2, 4, dtypes=FLOAT64):
        start = {key: x.clone() for key, x in p.state_dict().items()}
        few = not p.info.assignable  # a fit takes its time
        for what, w in _targets(p.n, p.dtype, few):
            for k in {p.n} if few else {p.n, 1}:
                assign = p.assign_ if k == p.n else p.assign_columns_
                case, target = f"{where}: {what}, {k} columns", w[:, :k]
                p.load_state_dict(start)
                try:
                    assign(target)
                except NotRepresentableError:
                    same = all(torch.equal(x, start[key]) for key, x in p.state_dict().items())
                    yield holds(same, f"{case}: unchanged after a refusal")
                residual = assign(target, nearest=True)
                read = p.columns(k)
                yield holds(bool(torch.isfinite(read).all()), f"{case}: finite")
                # The largest entry of a difference is at most its spectral norm.
                limit = residual + 100 * p.n * linalg.eps(p.dtype)
                yield Measure(distance(read, target), limit, f"{case}: within the residual")
