"""Checks of the matrix: unitary, applied, adjoint, determinant, assigned, described."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo._torch import TorchDispatchMode
from unitary_zoo.base import (
    Determinant,
    NotRepresentableError,
    Parametrization,
    Projected,
)
from unitary_zoo.testing.checks.registry import FLOAT64, check, exact, holds, refuses, rounding
from unitary_zoo.testing.subject import (
    Measure,
    Subject,
    defect,
    distance,
    flat_gradient,
    normal,
)


@check(exact)
def check_unitary(subject: Subject) -> Iterator[Measure]:
    """The defect is within the claimed tolerance, at the start and with parameters times 10."""
    for where, p in subject.cases(1, 2, 3, 5, 8, 33):
        limit = p.info.tolerance(p.n, p.dtype)
        yield Measure(defect(p), limit, f"{where}: start")
        with torch.no_grad():
            for q in p.learnable_parameters():
                q.mul_(10).add_(normal(*q.shape, dtype=q.dtype))
        if isinstance(p, Projected):
            p.step_()
        yield Measure(defect(p), limit, f"{where}: parameters times 10")


@check()
def check_apply(subject: Subject) -> Iterator[Measure]:
    """p(h) = h W^T for any leading shape, values and gradients; prepare() agrees."""
    for where, p in subject.cases():
        w, q = p.matrix(), p.prepare()
        # A few factors, each rounding sums of length n; so do gradients, of size up to n.
        limit = rounding(p.n, p.dtype)
        yield Measure(distance(q.matrix(), w), limit, f"{where}: prepare().matrix()")
        for shape in ((), (3,), (2, 3)):
            h = normal(*shape, p.n, dtype=p.dtype)
            bound = limit * max(1.0, float(h.abs().max()))
            yield Measure(distance(p(h), h @ w.mT), bound, f"{where}: {shape}")
            yield Measure(distance(q(h), p(h)), bound, f"{where}: prepare(), {shape}")
        if any(r.numel() for r in p.learnable_parameters()):
            h = normal(3, p.n, dtype=p.dtype)
            direct, dense = flat_gradient(p(h), p), flat_gradient(h @ p.matrix().mT, p)
            scale = max(1.0, float(dense.abs().max()))
            yield Measure(distance(direct, dense), 10 * limit * scale, f"{where}: gradient")
        yield refuses("h of a wrong size", ValueError, str(p.n), p, torch.zeros(2, p.n + 1))


@check()
def check_adjoint(subject: Subject) -> Iterator[Measure]:
    """<W x, y> = <x, W^H y> and W^H y is y conj(W), for p and for prepare()."""
    for where, p in subject.cases():
        x, y = normal(4, p.n, dtype=p.dtype), normal(4, p.n, dtype=p.dtype, seed=9)
        w, limit = p.matrix(), rounding(p.n, p.dtype)
        size = float(x.norm() * y.norm())
        gap = torch.vdot(p(x).flatten(), y.flatten()) - torch.vdot(
            x.flatten(), p.adjoint(y).flatten()
        )
        yield Measure(float(gap.detach().abs()), limit * size, f"{where}: inner products")
        size = max(1.0, float(y.abs().max()))
        yield Measure(distance(p.adjoint(y), y @ w.conj()), limit * size, f"{where}: y conj(W)")
        yield Measure(distance(p.prepare().adjoint(y), p.adjoint(y)), limit * size, f"{where}: map")


_GROWTH: dict[str, Callable[[int], float]] = {
    "O(n)": lambda n: n,
    "O(n log n)": lambda n: n * math.log2(n),
    "O(n^2)": lambda n: n**2,
}


class _Work(TorchDispatchMode):
    """Count the multiplications of matrix products, and of other operations the entries written."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            inner = args[0].shape[-1] if func.overloadpacket.__name__ in ("mm", "mv", "bmm") else 1
            self.total += out.numel() * inner
        return out


@check()
def check_cost(subject: Subject) -> Iterator[Measure]:
    """The work of one application grows with n as claimed."""
    for field in subject.fields:
        small, large = subject.sizes(32)[0], subject.sizes(256)[0]
        counts = []
        for n in (small, large):
            q = subject.build(n, field, torch.float32).prepare()
            with torch.no_grad(), _Work() as work:
                q(normal(3, n, dtype=q.dtype))
            counts.append(work.total)
        claim = subject.build(small, field).info.cost
        yield holds(claim in _GROWTH, f"{field}: cost {claim!r} is one of {sorted(_GROWTH)}")
        # Lower-order terms make the measured growth smaller, not larger; 1.1 allows for a
        # remainder of entries.
        bound = 1.1 * _GROWTH[claim](large) / _GROWTH[claim](small)
        yield Measure(counts[1] / counts[0], bound, f"{field}: work from n={small} to n={large}")


@check(exact)
def check_determinant(subject: Subject) -> Iterator[Measure]:
    """The determinant is the one claimed, and the one asked for where it can be chosen."""
    for where, p in subject.cases(dtypes=FLOAT64):
        # A product of n eigenvalues, each right to a few eps.
        limit = 100 * p.n * linalg.eps(p.dtype)
        det = torch.linalg.det(p.matrix().detach())
        claim = p.info.determinant
        if claim is Determinant.UNIT_CIRCLE:
            yield Measure(abs(float(det.abs()) - 1), limit, f"{where}: modulus")
            yield holds(p.field == "complex", f"{where}: {claim} is for complex matrices")
        else:
            wanted = -1.0 if claim is Determinant.MINUS_ONE else 1.0
            yield Measure(float((det - wanted).abs()), limit, f"{where}: {claim}")
            signed = claim.sign or claim in (Determinant.FIXED, Determinant.EITHER)
            yield holds(bool(signed), f"{where}: {claim} is for unitary matrices")


@check(exact)
def check_determinant_option(subject: Subject) -> Iterator[Measure]:
    """determinant=+1 and -1 keep it, whatever the parameters, or are refused as claimed."""
    if "determinant" in subject.options:
        return  # check_determinant covers a determinant chosen by the options
    for where, p in subject.cases(1, 2, 3, 5, dtypes=FLOAT64):
        for sign in (1, -1):

            def build(p: Parametrization = p, sign: int = sign) -> Parametrization:
                options = {**subject.options, "determinant": sign}
                return Subject(subject.scheme, options).build(p.n, p.field)

            if not p.info.claims[p.field].serves(sign):
                yield refuses(f"{where}: {sign:+d}", ValueError, "determinant", build)
                continue
            q = build()
            limit = 100 * q.n * linalg.eps(q.dtype)
            for point in ("start", "parameters times 10"):
                det = torch.linalg.det(q.matrix().detach())
                yield Measure(float((det - sign).abs()), limit, f"{where}: {sign:+d}, {point}")
                with torch.no_grad():
                    for r in q.learnable_parameters():
                        r.mul_(10).add_(normal(*r.shape, dtype=r.dtype))
                q.step_()
            if q.info.assignable and q.field == "real":
                other = torch.eye(q.n, dtype=q.dtype)
                other[0, 0] = -sign
                if other.diagonal().prod() == sign:
                    continue
                name = q.info.name
                yield refuses(f"{where}: the other", NotRepresentableError, name, q.assign_, other)


@check()
def check_assign(subject: Subject) -> Iterator[Measure]:
    """assign_ reproduces what the scheme can produce, and refuses the rest unchanged."""
    for where, p in subject.cases(1, 2, 5):
        name, w = p.info.name, p.matrix().detach()
        if p.info.assignable:
            source = copy.deepcopy(p)
            source.reset_parameters(generator=torch.Generator().manual_seed(13))
            wanted = source.matrix().detach()
            residual = p.assign_(wanted)
            limit = 100 * p.n * linalg.eps(p.dtype)  # the limit that assign_ states
            yield Measure(distance(p.matrix(), wanted), limit, f"{where}: round trip")
            yield Measure(residual, limit, f"{where}: residual returned")
            yield holds(
                distance(p.matrix(), wanted) <= residual + linalg.eps(p.dtype),
                f"{where}: the residual is the norm of the difference",
            )
            w = p.matrix().detach()
        foreign = 2 * torch.eye(p.n, dtype=p.dtype)
        if p.info.exact:
            yield refuses(f"{where}: 2 I", NotRepresentableError, name, p.assign_, foreign)
            yield Measure(distance(p.matrix(), w), 0.0, f"{where}: unchanged after a refusal")
            residual = p.assign_(foreign, nearest=True)
            # ||W - 2 I|| >= 1 for every unitary W, and <= 3.
            yield holds(0.99 <= residual <= 3.01, f"{where}: nearest=True returns {residual}")
        yield refuses(f"{where}: shape", ValueError, str(p.n + 1), p.assign_, torch.eye(p.n + 1))
        nan = torch.full((p.n, p.n), math.nan)
        yield refuses(f"{where}: NaN", ValueError, "finite", p.assign_, nan)


@check()
def check_describe(subject: Subject) -> Iterator[Measure]:
    """describe() reports what an independent computation finds."""
    for where, p in subject.cases(dtypes=FLOAT64):
        found, w = p.describe(), p.matrix().detach()
        limit = 100 * p.n * linalg.eps(p.dtype)
        yield Measure(abs(found.defect - defect(p)), limit, f"{where}: defect")
        det = complex(torch.linalg.slogdet(w).sign) * float(torch.linalg.slogdet(w).logabsdet.exp())
        yield Measure(abs(found.determinant - det), limit, f"{where}: determinant")
        count = sum(q.numel() for q in p.learnable_parameters())
        yield holds(found.parameters == count, f"{where}: parameters")
        for word in (p.info.name, "defect", "determinant", "eigenphases"):
            yield holds(word in repr(found), f"{where}: {word!r} in its text")
