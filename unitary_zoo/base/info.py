"""What a scheme claims: group, determinant, dimension, cost, tolerance. Claims are values."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from functools import partial

import torch

from unitary_zoo import linalg


class Group(enum.Enum):
    """A set of n x n matrices; the value is its notation for display."""

    ORTHOGONAL = "O(n)"
    SPECIAL_ORTHOGONAL = "SO(n)"
    NEGATIVE_ORTHOGONAL = "O(n) with det -1"
    UNITARY = "U(n)"
    SPECIAL_UNITARY = "SU(n)"
    NEAR_ORTHOGONAL = "near O(n)"
    NEAR_UNITARY = "near U(n)"
    CONTRACTIONS = "contractions"
    SPECTRAL_BAND = "singular values in 1 ± r"
    SCHUR_FORMS = "normal blocks in a Schur form"
    OTHER = "another set"

    def __str__(self) -> str:
        return self.value


class Determinant(enum.Enum):
    """What the determinant of a scheme's matrices can be; the value is the text for display.

    FIXED is the sign that W has at its start, +1 unless ``assign_`` was given a matrix with -1.
    EITHER is the same, but a large step can change it. The members after UNIT_CIRCLE are for
    schemes that are not unitary.
    """

    PLUS_ONE = "+1"
    MINUS_ONE = "-1"
    FIXED = "fixed"
    EITHER = "+-1"
    UNIT_CIRCLE = "unit circle"
    POSITIVE = "positive"
    NONZERO = "any but 0"
    ANY = "any"
    NEVER_NEGATIVE_IF_EVEN = "any, but none below 0 for even n"
    NEAR_SIGN = "near +1 or -1"
    NEAR_UNIT_CIRCLE = "near the unit circle"
    INTERVAL = "any in [-1, 1]"
    UNIT_DISC = "any in the unit disc"

    def __str__(self) -> str:
        return self.value

    @property
    def sign(self) -> int | None:
        """The sign that every matrix of the scheme has, +1 or -1; None if there is none."""
        return _SIGNS.get(self)


_SIGNS = {Determinant.PLUS_ONE: 1, Determinant.MINUS_ONE: -1, Determinant.POSITIVE: 1}
_COMPONENTS = {
    1: (Group.SPECIAL_ORTHOGONAL, Determinant.PLUS_ONE),
    -1: (Group.NEGATIVE_ORTHOGONAL, Determinant.MINUS_ONE),
}


@dataclass(frozen=True)
class Tolerance:
    """The claim that the unitarity defect stays below ``factor sqrt(n) eps``, with its reason.

    Rounding makes entries of W^H W - I of about eps. A matrix of n x n independent entries of size
    eps / sqrt(n) to eps has a norm that grows like sqrt(n) at most.

    ``truncation`` is for a map that stops a series early. It holds, for each real dtype, the
    defect that this adds at any n.
    """

    factor: float
    reason: str
    truncation: Mapping[torch.dtype, float] = dataclass_field(default_factory=dict)

    def __call__(self, n: int, dtype: torch.dtype) -> float:
        """Return the bound for size ``n`` and ``dtype`` (real or complex)."""
        rounding = self.factor * math.sqrt(n) * linalg.eps(dtype)
        return rounding + self.truncation.get(linalg.real_dtype(dtype), 0.0)


def _one_less(dimension: Callable[[int], int], n: int) -> int:
    return dimension(n) - 1


@dataclass(frozen=True)
class FieldClaims:
    """What a scheme claims over one field, "real" or "complex".

    Attributes:
        group: The smallest of the sets in :class:`Group` that holds every matrix reached.
        dimension: n -> number of independent directions, the rank of dW/dtheta.
        determinant: What the determinant can be.
        cost: Operations of one application W h, as an order in n.
        whole: Whether all of ``group`` is reached, up to limits; if not, a subset is.
        determinants: The values of the option ``determinant`` that choose a part of ``group``: +1
            and -1 a component of O(n), +1 the subgroup SU(n) of U(n).
    """

    group: Group
    dimension: Callable[[int], int]
    determinant: Determinant
    cost: str = "O(n^2)"
    whole: bool = True
    determinants: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in (("group", Group), ("determinant", Determinant)):
            if not isinstance(value := getattr(self, name), kind):
                raise TypeError(
                    f"FieldClaims: {name}={value!r} is no unitary_zoo.base.{kind.__name__}; pass "
                    f"one of its members, such as {kind.__name__}.{next(iter(kind)).name}, and "
                    "whole=False where only a subset is reached"
                )

    @property
    def reach(self) -> str:
        """The set reached, for display: "U(n)" or "subset of U(n)"."""
        return f"{self.group}" if self.whole else f"subset of {self.group}"

    def serves(self, determinant: int) -> bool:
        """Whether the option ``determinant`` may have this value."""
        certain = self.determinant is Determinant.PLUS_ONE
        return determinant in self.determinants or (determinant == 1 and certain)

    def restricted(self, determinant: int) -> FieldClaims:
        """Return the claims of the matrices with this determinant."""
        if self.determinant is Determinant.UNIT_CIRCLE:
            return replace(
                self,
                group=Group.SPECIAL_UNITARY,
                determinant=Determinant.PLUS_ONE,
                dimension=partial(_one_less, self.dimension),
            )
        group, sign = _COMPONENTS[determinant]
        return replace(self, group=group, determinant=sign)


def any_size(n: int) -> bool:
    """Accept every n >= 1."""
    return n >= 1


@dataclass(frozen=True)
class SchemeInfo:
    """What a scheme is and claims; every claim is checked by :mod:`unitary_zoo.testing`.

    Attributes:
        name: Registered name.
        title: One line, the map as a formula.
        reference: BibTeX entry of the source.
        family: "static" W = f(theta); "rebased" W = f(A) B with A moved into B; "projected" W
            stored and returned to the group after every optimizer step.
        claims: The claims for each field served.
        field: The field: of a class its default, of an instance the one chosen.
        tolerance: Bound on the unitarity defect.
        assignable: ``assign_`` reproduces every matrix that the scheme can produce.
        default_init: Initialiser used when none is named.
        accepts: n -> whether the scheme exists at that size.
        retraction_order: For a rebased or projected scheme, the order to which its step agrees with
            the geodesic: up to O(t^(order + 1)) from exp(tX) W; infinite where it is the geodesic.
        deviation: Empty for a scheme that is unitary by construction; else how far W may be from
            unitary and why. The defect of such a scheme is reported, not bounded.
        supports_vmap: Whether ``torch.func`` can evaluate many instances as one batch.
        expected_failures: Names of conformance checks known to fail, with the reason.
    """

    name: str
    title: str
    reference: str
    family: str
    claims: Mapping[str, FieldClaims]
    field: str
    tolerance: Tolerance
    assignable: bool = True
    default_init: str = "haar"
    accepts: Callable[[int], bool] = any_size
    retraction_order: float | None = None
    deviation: str = ""
    supports_vmap: bool = True
    expected_failures: Mapping[str, str] = dataclass_field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether W is unitary by construction, within :attr:`tolerance`."""
        return not self.deviation

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields served."""
        return tuple(self.claims)

    @property
    def group(self) -> Group:
        """The set that holds every matrix reached over :attr:`field`."""
        return self.claims[self.field].group

    @property
    def reach(self) -> str:
        """The set reached over :attr:`field`, for display."""
        return self.claims[self.field].reach

    @property
    def whole(self) -> bool:
        """Whether all of :attr:`group` is reached."""
        return self.claims[self.field].whole

    @property
    def determinant(self) -> Determinant:
        """What the determinant can be over :attr:`field`."""
        return self.claims[self.field].determinant

    @property
    def cost(self) -> str:
        """Order of the cost of one application."""
        return self.claims[self.field].cost

    def matches(self, claims: Mapping[str, object]) -> bool:
        """Whether the attributes have the given values; see :meth:`Parametrization.names`.

        Raises:
            TypeError: No such attribute.
        """
        known = {name for name in vars(SchemeInfo) if not name.startswith("_")}
        known |= set(SchemeInfo.__dataclass_fields__)
        known -= {"claims", "dimension", "accepts", "matches"}
        for claim in claims:
            if claim not in known:
                raise TypeError(f"no scheme claim {claim!r}; filter by one of {sorted(known)}")
        for claim, wanted in claims.items():
            value = getattr(self, claim)
            accepted = (value, value.value) if isinstance(value, enum.Enum) else (value,)
            if wanted not in (value if isinstance(value, tuple) else accepted):
                return False
        return True

    def dimension(self, n: int) -> int:
        """Return the number of independent directions at size ``n``, the rank of dW/dtheta."""
        return self.claims[self.field].dimension(n)


def real_skew_dimension(n: int) -> int:
    """Return the dimension of SO(n), n(n-1)/2."""
    return linalg.skew_dimension(n, "real")


def complex_skew_dimension(n: int) -> int:
    """Return the dimension of U(n), n^2."""
    return linalg.skew_dimension(n, "complex")


def real_matrix_dimension(n: int) -> int:
    """Return the dimension of all real n x n matrices, n^2."""
    return n * n


def complex_matrix_dimension(n: int) -> int:
    """Return the real dimension of all complex n x n matrices, 2 n^2."""
    return 2 * n * n


SPECIAL_ORTHOGONAL = FieldClaims(
    Group.SPECIAL_ORTHOGONAL, real_skew_dimension, Determinant.PLUS_ONE
)
ORTHOGONAL = FieldClaims(
    Group.ORTHOGONAL, real_skew_dimension, Determinant.FIXED, determinants=(1, -1)
)
ORTHOGONAL_CROSSING = replace(ORTHOGONAL, determinant=Determinant.EITHER)
UNITARY = FieldClaims(Group.UNITARY, complex_skew_dimension, Determinant.UNIT_CIRCLE)
UNITARY_OR_SPECIAL = replace(UNITARY, determinants=(1,))
