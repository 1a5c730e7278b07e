"""What must never happen silently to an orthogonal weight: who passes, this library and its peers.

Each row of the table is a check of ``unitary_zoo.testing.layers``, which the test suite runs on
every scheme. A library that raises an error where it cannot do something is distinguished from one
that goes on with wrong numbers.

    python -m comparisons.benchmarks silent_failures [--schemes cayley expm] [--json FILE]

The exit code is 1 if a scheme of this library fails a check that applies to it. With ``--tiny``
there is one shape for each check, no slow check and no column of all schemes.
"""

from __future__ import annotations

import argparse
import enum
import importlib.metadata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from comparisons.benchmarks.parametrizations import column, every_scheme, peers
from comparisons.benchmarks.timing import BrokenPromiseError, Row
from comparisons.cli.console import say, show
from unitary_zoo.testing.layers import LAYER_CHECKS, LayerCheck, LayerSubject, SchemeLayers
from unitary_zoo.testing.layers.measures import MemoryMeasure
from unitary_zoo.testing.layers.registry import PREFIX, expected_failure
from unitary_zoo.testing.subject import Measure, Subject

ALL = "all our schemes"


class Outcome(enum.Enum):
    """How a check ended, the worst first; the value is the word in the table."""

    SILENT = "SILENT"
    ERROR = "error"
    COSTLY = "costly"
    PASSES = "passes"
    INAPPLICABLE = "-"

    @property
    def is_bad(self) -> bool:
        """Whether something is wrong."""
        return self not in (Outcome.PASSES, Outcome.INAPPLICABLE)


def examine(check: LayerCheck, subject: LayerSubject, shape: str) -> tuple[Outcome, str]:
    """Run a check on one shape; return how it ended, and what was found if it did not pass."""
    try:
        for measure in check.measures(subject, shape):
            if not measure.holds:
                costly = isinstance(measure, MemoryMeasure)
                return (Outcome.COSTLY if costly else Outcome.SILENT), _describe(measure)
    except Exception as error:  # whatever a library raises is not silent
        return Outcome.ERROR, f"{type(error).__name__}: {_first_line(str(error))}"
    return Outcome.PASSES, ""


def _describe(measure: Measure) -> str:
    if measure.tolerance == 0 and measure.residual == float("inf"):
        return _first_line(measure.where)
    return f"{measure.where}: {measure.residual:.2g} (limit {measure.tolerance:.2g})"


def _first_line(text: str) -> str:
    line = (text.strip().splitlines() or [""])[0]
    return line if len(line) <= 160 else line[:157] + "..."


@dataclass(frozen=True)
class Finding:
    """How a check ended for a subject on each of its shapes; without shapes, it does not apply.

    Attributes:
        check: The check.
        subject: What was checked.
        found: The outcome on each shape, and what was found.
        expected: Why the subject fails by its nature, and was not run; empty if it was.
    """

    check: LayerCheck
    subject: LayerSubject
    found: dict[str, tuple[Outcome, str]]
    expected: str = ""

    @property
    def outcome(self) -> Outcome:
        """The worst outcome."""
        outcomes = {outcome for outcome, _ in self.found.values()}
        return next((outcome for outcome in Outcome if outcome in outcomes), Outcome.INAPPLICABLE)

    @property
    def cell(self) -> str:
        """The worst outcome, and its shapes if it is bad and not the same for all."""
        shapes = [shape for shape, (outcome, _) in self.found.items() if outcome is self.outcome]
        alike = not self.outcome.is_bad or len(shapes) == len(self.found)
        return self.outcome.value if alike else f"{self.outcome.value} ({', '.join(shapes)})"

    @property
    def lines(self) -> Iterator[dict[str, str]]:
        """Its lines in the table of what was found: one for all shapes with the same words."""
        shapes: dict[tuple[str, str], list[str]] = {}
        if self.expected:
            shapes["expected", self.expected] = list(self.check.shapes)
        for shape, (outcome, words) in self.found.items():
            if outcome.is_bad:
                shapes.setdefault((outcome.value, words), []).append(shape)
        for (value, words), affected in shapes.items():
            yield {
                "row": _title(self.check),
                "of": self.subject.label,
                "shapes": ", ".join(affected),
                "outcome": value,
                "found": words,
            }

    @property
    def breaks_a_promise(self) -> bool:
        """Whether a scheme of this library fails a check that it claims to pass."""
        if not isinstance(self.subject, SchemeLayers) or not self.outcome.is_bad:
            return False
        # A cost that no scheme claims to spare is shown, but breaks no promise.
        return self.outcome is not Outcome.COSTLY or self.subject.serves_thin_weights


def _title(check: LayerCheck) -> str:
    return check.name.replace("_", " ")


def find(check: LayerCheck, subject: LayerSubject, tiny: bool = False) -> Finding:
    """Run a check on all its shapes (if ``tiny``, on the first), unless it does not apply."""
    if not check.applies_to(subject):
        return Finding(check, subject, {})
    if isinstance(subject, SchemeLayers):
        reason = expected_failure(Subject(subject.scheme, subject.options), PREFIX + check.name)
        if reason is not None:
            return Finding(check, subject, {}, reason)
    shapes = check.shapes[:1] if tiny else check.shapes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers warn of their own deprecated calls
        return Finding(check, subject, {shape: examine(check, subject, shape) for shape in shapes})


def table(
    checks: Iterable[LayerCheck],
    columns: Sequence[LayerSubject],
    schemes: Sequence[SchemeLayers],
    tiny: bool,
) -> tuple[list[Row], list[Finding]]:
    """Make the table, with a column for each subject and one for all schemes together.

    Returns:
        The lines of the table, and all findings.
    """
    lines: list[Row] = []
    findings: list[Finding] = []
    for check in checks:
        line = {"what must not go wrong": _title(check)}
        ours = [find(check, scheme, tiny) for scheme in schemes]
        found = [find(check, subject, tiny) for subject in columns]
        for finding in found:
            line[finding.subject.label] = finding.cell
            if isinstance(finding.subject, SchemeLayers):
                line.setdefault(ALL, _common_cell(ours))
        lines.append(line)
        findings += found + ours
        say(f"{_title(check)}: done")
    return lines, findings


def _common_cell(findings: Sequence[Finding]) -> str:
    """The cell for all schemes together: the bad outcomes, or else the number of passes."""
    bad = [f"{f.subject.label}: {f.cell}" for f in findings if f.outcome.is_bad]
    passed = sum(finding.outcome is Outcome.PASSES for finding in findings)
    if bad:
        return "; ".join(bad)
    failing = "".join(f"; not {f.subject.label}" for f in findings if f.expected)
    return f"{Outcome.PASSES.value} ({passed}){failing}" if passed else Outcome.INAPPLICABLE.value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this benchmark."""
    parser.set_defaults(threads=1)  # the matrices are tiny
    parser.add_argument("--schemes", nargs="+", default=["cayley"], help="columns of their own")
    parser.add_argument("--only", default="", help="the checks whose name contains this text")


def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Run the checks on everything and print who passes.

    Raises:
        BrokenPromiseError: A scheme of this library fails a check that applies to it.
    """
    checks = [
        check
        for check in LAYER_CHECKS.values()
        if options.only in check.name and not (options.tiny and check.slow)
    ]
    columns = [*map(column, options.schemes), *peers()]
    schemes = [] if options.tiny else list(every_scheme())
    lines, findings = table(checks, columns, schemes, options.tiny)
    found: list[Row] = [line for finding in findings for line in finding.lines]
    versions: list[Row] = [
        {"library": name, "version": importlib.metadata.version(name)}
        for name in ("torch", "geotorch")
    ]
    show("what was found where a row is not passed", found)
    show("who passes", lines)
    show("versions", versions)
    tables: dict[str, list[Row]] = {
        "libraries": versions,
        "who_passes": lines,
        "rows": [{"row": _title(check), "what must not happen": check.meaning} for check in checks],
        "what_was_found": found,
    }
    broken = [finding for finding in findings if finding.breaks_a_promise]
    if broken:
        names = ", ".join(f"{_title(f.check)} ({f.subject.label})" for f in broken)
        raise BrokenPromiseError(names, tables)
    return tables
