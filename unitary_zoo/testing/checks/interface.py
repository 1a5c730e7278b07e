"""Checks of the interface: info, arguments, forms, reading, copies, precision, starts."""

from __future__ import annotations

import copy
import io
import math
import pickle
import re
from collections.abc import Iterator

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base import (
    INITIALIZERS,
    Determinant,
    FieldClaims,
    Group,
    NotRepresentableError,
    Projected,
    Rebased,
    Static,
)
from unitary_zoo.testing.checks.registry import (
    FLOAT64,
    HALF,
    NAMES,
    check,
    exact,
    holds,
    refuses,
)
from unitary_zoo.testing.subject import (
    Measure,
    Subject,
    defect,
    distance,
    normal,
)

_FAMILIES = {"static": Static, "rebased": Rebased, "projected": Projected}
_UNITARY_GROUPS = {  # group -> its field, and the claims about the determinant that it allows
    Group.ORTHOGONAL: ("real", (Determinant.FIXED, Determinant.EITHER)),
    Group.SPECIAL_ORTHOGONAL: ("real", (Determinant.PLUS_ONE,)),
    Group.NEGATIVE_ORTHOGONAL: ("real", (Determinant.MINUS_ONE,)),
    Group.UNITARY: ("complex", (Determinant.UNIT_CIRCLE,)),
    Group.SPECIAL_UNITARY: ("complex", (Determinant.PLUS_ONE,)),
}


@check()
def check_info(subject: Subject) -> Iterator[Measure]:
    """The info is complete: family and base class agree, a bibtex entry, reasons given."""
    info = subject.info
    family = _FAMILIES.get(info.family)
    yield holds(family is not None, f"family {info.family!r} is one of {sorted(_FAMILIES)}")
    yield holds(
        family is not None and issubclass(subject.scheme, family),
        f"family {info.family!r} is that of the base class",
    )
    yield holds(set(info.fields) <= {"real", "complex"} and bool(info.fields), "fields")
    yield holds(info.field in info.fields, "the default field is served")
    yield holds(bool(info.title.strip()), "title")
    entry = info.reference.strip()
    yield holds(
        bool(re.match(r"@\w+\{[\w:-]+,", entry)) and entry.count("{") == entry.count("}"),
        "reference is a bibtex entry with balanced braces",
    )
    yield holds(bool(info.tolerance.reason.strip()), "the tolerance has a reason")
    for name, reason in info.expected_failures.items():
        yield holds(name in NAMES, f"expected failure {name!r} is the name of a check")
        yield holds(bool(reason.strip()), f"expected failure {name!r} has a reason")
    for field, claims in info.claims.items():
        yield _group_agrees(field, claims)
    if info.family != "static":
        yield holds(info.retraction_order is not None, "a retraction order is claimed")


def _group_agrees(field: str, claims: FieldClaims) -> Measure:
    """Compare the claimed dimension and determinant with those of the claimed group."""
    where = f"{field}: group {claims.reach!r}, dimension and determinant agree"
    if claims.group not in _UNITARY_GROUPS:
        return holds(True, where)
    own_field, determinants = _UNITARY_GROUPS[claims.group]
    sizes = range(1, 10)
    fewer = claims.group is Group.SPECIAL_UNITARY
    full = [linalg.skew_dimension(n, field) - fewer for n in sizes]
    dimensions = [claims.dimension(n) for n in sizes]
    inside = all(d <= whole for d, whole in zip(dimensions, full, strict=True))
    right_size = dimensions == full if claims.whole else inside
    agrees = field == own_field and claims.determinant in determinants and right_size
    return holds(agrees, where)


@check()
def check_bad_arguments(subject: Subject) -> Iterator[Measure]:
    """Bad sizes, fields, dtypes and options are refused, with the value in the message."""
    scheme, good = subject.scheme, subject.sizes()[-1]
    refused = [n for n in range(1, 9) if not scheme.info.accepts(n)]
    for n in (0, -3, *refused[:1]):
        yield refuses(f"n={n}", ValueError, str(n), scheme, n)
    for bad in (2.0, True):
        yield refuses(f"n={bad!r}", TypeError, str(bad), scheme, bad)
    yield refuses("field", ValueError, "quaternion", scheme, good, field="quaternion")
    yield refuses("dtype", TypeError, "complex64", scheme, good, dtype=torch.complex64)
    yield refuses("an unknown option", TypeError, "no_such_option", scheme, good, no_such_option=1)


@check()
def check_matrix_form(subject: Subject) -> Iterator[Measure]:
    """The matrix is n x n, of the dtype and device announced, complex as claimed."""
    for where, p in subject.cases():
        w = p.matrix()
        yield holds(w.shape == (p.n, p.n), f"{where}: shape {tuple(w.shape)}")
        yield holds(w.dtype == p.dtype, f"{where}: dtype {w.dtype}, announced {p.dtype}")
        yield holds(w.is_complex() == (p.info.field == "complex"), f"{where}: field")
        yield holds(w.device == p.device, f"{where}: device")
        yield holds(bool(torch.isfinite(w).all()), f"{where}: finite")


@check()
def check_real_parameters(subject: Subject) -> Iterator[Measure]:
    """Learnable parameters are real."""
    for where, p in subject.cases(dtypes=FLOAT64):
        for name, q in p.named_parameters():
            yield holds(not q.is_complex(), f"{where}: {name}")


@check()
def check_reproducible(subject: Subject) -> Iterator[Measure]:
    """Equal seeds give equal matrices; a generator that is given leaves the global one alone."""
    for where, p in subject.cases(dtypes=FLOAT64):
        yield Measure(distance(subject.build(p.n, p.field).matrix(), p.matrix()), 0.0, where)
        before = torch.random.get_rng_state()
        p.reset_parameters(generator=torch.Generator().manual_seed(5))
        first = p.matrix()
        p.reset_parameters(generator=torch.Generator().manual_seed(5))
        yield Measure(distance(p.matrix(), first), 0.0, f"{where}: reset twice from a generator")
        same = torch.equal(before, torch.random.get_rng_state())
        yield holds(same, f"{where}: global random state untouched")


@check()
def check_reading_is_pure(subject: Subject) -> Iterator[Measure]:
    """Reading W or applying it changes no parameter, buffer or random state."""
    for where, p in subject.cases(dtypes=FLOAT64):
        state = {key: value.clone() for key, value in p.state_dict().items()}
        before = torch.random.get_rng_state()
        first = p.matrix()
        p(normal(2, p.n, dtype=p.dtype))
        p.describe()
        yield Measure(distance(p.matrix(), first), 0.0, f"{where}: two reads")
        yield holds(torch.equal(before, torch.random.get_rng_state()), f"{where}: random state")
        for key, value in p.state_dict().items():
            yield holds(torch.equal(value, state[key]), f"{where}: {key}")


@check()
def check_serialises(subject: Subject) -> Iterator[Measure]:
    """deepcopy, pickle, torch.save and a state_dict round trip keep W exactly."""
    for where, p in subject.cases():
        w = p.matrix()
        yield Measure(distance(copy.deepcopy(p).matrix(), w), 0.0, f"{where}: deepcopy")
        yield Measure(distance(pickle.loads(pickle.dumps(p)).matrix(), w), 0.0, f"{where}: pickle")
        buffer = io.BytesIO()
        torch.save(p, buffer)
        buffer.seek(0)
        loaded = torch.load(buffer, weights_only=False)
        yield Measure(distance(loaded.matrix(), w), 0.0, f"{where}: torch.save")
        other = subject.build(p.n, p.field, p.dtype.to_real(), seed=7)
        other.load_state_dict(p.state_dict())
        yield Measure(distance(other.matrix(), w), 0.0, f"{where}: state_dict")


@check(exact)
def check_low_precision(subject: Subject) -> Iterator[Measure]:
    """In half precision, and under autocast, W is as unitary as its dtype can show."""
    for where, p in subject.cases(2, 5, 16, dtypes=(torch.float32,)):
        w, h = p.matrix(), normal(3, p.n, dtype=p.dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            # The computation must be the same as without autocast, to the last digit.
            yield Measure(distance(p.matrix(), w), 0.0, f"{where}: matrix under autocast")
            yield Measure(distance(p(h), h @ w.mT.to(h.dtype)), math.inf, "runs under autocast")
            applied = p(h)
        yield Measure(distance(applied, p(h)), 0.0, f"{where}: forward under autocast")
        for dtype in HALF:
            low = copy.deepcopy(p).to(dtype)
            # W is computed in float32 and then rounded. This changes an entry by eps/2 of its
            # size, the norm by sqrt(n) eps/2 and the defect by twice that; 1.1 covers the second
            # order.
            claimed = p.info.tolerance(p.n, p.dtype)
            limit = 1.1 * math.sqrt(p.n) * linalg.eps(dtype) + claimed
            yield Measure(defect(low), limit, f"{where}: {dtype}")
            yield holds(bool(torch.isfinite(low(h.to(low.dtype))).all()), f"{where}: {dtype} apply")


@check()
def check_initializers(subject: Subject) -> Iterator[Measure]:
    """W gets the eigenphases of the initialiser's matrix, or a clear error is raised."""
    for where, p in subject.cases(dtypes=FLOAT64):
        if not p.info.exact:
            continue
        for name in INITIALIZERS.names():
            if name == "dft" and p.field == "real":
                refusal = ValueError if p.info.assignable else NotRepresentableError
                yield refuses(f"{where}: dft is complex", refusal, "dft", p.reset_parameters, name)
                continue
            generator = torch.Generator().manual_seed(11)
            if not p.info.assignable:
                yield refuses(
                    f"{where}: {name}", NotRepresentableError, name, p.reset_parameters, name
                )
                continue
            try:
                p.reset_parameters(name, generator=generator)
            except NotRepresentableError as error:
                # A scheme that reaches a subset of the group may lack this matrix.
                yield holds(
                    not p.info.whole and name in str(error), f"{where}: {name} refused: {error}"
                )
                continue
            wanted = INITIALIZERS.get(name)(
                p.n,
                p.field,
                determinant=p.initial_determinant,
                dtype=torch.float64,
                device=p.device,
                generator=torch.Generator().manual_seed(11),
            )
            if p.determinant is not None and p.field == "complex":
                wanted = linalg.with_unit_determinant(wanted)
            # A Cayley angle near pi is only approached: sqrt(eps) off, as its assignment states.
            yield Measure(
                _spectral_distance(p.matrix(), wanted), 10 * math.sqrt(linalg.eps(p.dtype)),
                f"{where}: {name}",
            )  # fmt: skip
        p.reset_parameters()
        yield Measure(defect(p), p.info.tolerance(p.n, p.dtype), f"{where}: default")
        refusal = ValueError if p.info.assignable else NotRepresentableError
        yield refuses(f"{where}: unknown", refusal, "harr", p.reset_parameters, "harr")


def _spectral_distance(a: Tensor, b: Tensor) -> float:
    """Return the largest distance between two unitary spectra, matched along the circle."""
    x = torch.linalg.eigvals(linalg.double(a.detach())).angle().sort().values
    y = torch.linalg.eigvals(linalg.double(b)).angle().sort().values
    best = math.inf
    for shift in range(len(x)):
        gap = torch.remainder(x - y.roll(shift) + math.pi, 2 * math.pi) - math.pi
        best = min(best, float(gap.abs().max()))
    return best
