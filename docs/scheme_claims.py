"""What the schemes claim, from SchemeInfo: the table of all, and the tables of one."""

import math
import sys
from dataclasses import replace
from pathlib import Path

# mkdocs does not look for modules in the folder it is started in.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from comparisons.results.text import markdown_table
from unitary_zoo import Parametrization, SchemeInfo
from unitary_zoo.base import Determinant

SIZE = 128
HEADER = (
    "scheme",
    "W",
    "family",
    "field",
    "group",
    f"dimension at n = {SIZE}",
    "det",
    "cost",
    "unitary",
)
FAMILIES = {
    "static": "static: W is a function of the parameters, and a step needs no after-care",
    "rebased": "rebased: every K steps the coordinates move into a base; without `attach` W stays "
    "unitary, but the coordinates grow",
    "projected": "projected: W itself is stored, and after a step it is returned to the group; "
    "without `attach` reading it raises",
}
ASSIGNED = {
    True: "reproduces every matrix that the scheme can produce",
    False: "holds no general matrix; with `nearest=True` it takes one nearby",
}


def by_field(scheme: SchemeInfo) -> list[SchemeInfo]:
    """The info for each field served, the default field first."""
    fields = sorted(scheme.fields, key=lambda field: field != scheme.field)
    return [replace(scheme, field=field) for field in fields]


def dimension(info: SchemeInfo) -> str:
    """The dimension at SIZE, or at the next size that the scheme accepts."""
    size = next(n for n in range(SIZE, 2 * SIZE + 1) if info.accepts(n))
    return f"{info.dimension(size)}" + ("" if size == SIZE else f" (n = {size})")


def rows() -> list[tuple[str, ...]]:
    """One row for each registered scheme and each field it serves, its default field first."""
    found = []
    for name in Parametrization.names():
        for info in by_field(Parametrization.get(name).info):
            cells = (f"[`{name}`](schemes/{name}.md)", f"`{info.title}`", info.family, info.field)
            cells += (info.reach, dimension(info), str(info.determinant), info.cost)
            found.append((*cells, info.deviation or "yes"))
    return found


def overview() -> str:
    """The table of all registered schemes."""
    return markdown_table(HEADER, rows())


def option(info: SchemeInfo) -> str:
    """Values that the option ``determinant`` takes over the info's field, and their meaning."""
    if not info.claims[info.field].determinants:
        return "`+1` (no change)" if info.determinant is Determinant.PLUS_ONE else "-"
    return "`+1`: SU(n)" if info.field == "complex" else "`+1`, `-1`: a component of O(n)"


def claims(scheme: SchemeInfo) -> str:
    """Table of a scheme's claims over each field."""
    header = ("field", "group", f"dimension at n = {SIZE}", "determinant", "cost of W h")
    lines = [
        (info.field, info.reach, dimension(info), str(info.determinant), info.cost, option(info))
        for info in by_field(scheme)
    ]
    return markdown_table((*header, "option `determinant`"), lines)


def accepted(info: SchemeInfo) -> str:
    """The sizes at which the scheme exists, in words."""
    sizes = [n for n in range(1, 65) if info.accepts(n)]
    return "every n" if len(sizes) == 64 else ", ".join(map(str, sizes)) + ", ..."


def bound(info: SchemeInfo) -> str:
    """The tolerance as a formula, and its reason."""
    tolerance = info.tolerance
    extra = " and ".join(f"{x:.1e} in {dtype}" for dtype, x in tolerance.truncation.items())
    series = f", and of the series that is cut {extra}" if extra else ""
    return f"{tolerance.factor:g} √n eps{series}: {tolerance.reason}"


def facts(info: SchemeInfo) -> str:
    """Table of the claims that hold over every field."""
    lines = [
        ("family", FAMILIES[info.family]),
        ("unitary", info.deviation or "by construction"),
        ("tolerance", bound(info)),
        ("`assign_`", ASSIGNED[info.assignable]),
        ("default start", f"`{info.default_init}`"),
        ("sizes", accepted(info)),
    ]
    if info.retraction_order is not None:
        order = info.retraction_order
        agreement = f"order {order:g}" if math.isfinite(order) else "every order"
        lines.append(("step", f"agrees with the geodesic to {agreement}"))
    return markdown_table(("", "at the default options"), lines)


def failures(info: SchemeInfo) -> str:
    """The conformance checks that a scheme is known to fail."""
    if not info.expected_failures:
        return "Every [conformance check](../extending.md) that applies passes."
    known = "\n".join(f"- `{check}`: {why}" for check, why in info.expected_failures.items())
    return f"Expected failures of the [conformance checks](../extending.md):\n\n{known}"


def claims_of(name: str) -> str:
    """The section of a scheme's page on what it claims."""
    info = Parametrization.get(name).info
    return f"{claims(info)}\n\n{facts(info)}\n\n{failures(info)}"
