"""The front ends of the checks: one call, and one pytest decorator."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from unitary_zoo.base import Parametrization
from unitary_zoo.testing.checks import CHECKS
from unitary_zoo.testing.layers import LAYER_CHECKS
from unitary_zoo.testing.layers.registry import expected_failure, layers_of
from unitary_zoo.testing.subject import Measure, Subject


class ConformanceError(AssertionError):
    """A scheme failed some checks; the message lists each with residual and tolerance."""


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
        check: Name of the check.
        status: "passed", "failed", or "expected failure" (claimed beforehand, with a reason).
        seconds: Time taken.
        residual: The worst measure's residual, in relation to its tolerance.
        tolerance: That measure's tolerance.
        message: Where the worst measure was, the exception, or the reason of the claim.
    """

    check: str
    status: Literal["passed", "failed", "expected failure"]
    seconds: float
    residual: float
    tolerance: float
    message: str


def yield_checks(
    scheme: str | type[Parametrization], **options: Any
) -> Iterator[tuple[str, Callable[[], CheckResult]]]:
    """Yield name and call of each check that applies to a scheme by its family and claims."""
    subject = _subject(scheme, options)
    info = subject.info
    for name, (_, applies) in CHECKS.items():
        if applies(info):
            yield name, partial(_run, name, subject)


def yield_layer_checks(
    scheme: str | type[Parametrization], **options: Any
) -> Iterator[tuple[str, Callable[[], CheckResult]]]:
    """Yield name and call of each check that applies to layers of a scheme."""
    subject = _subject(scheme, options)
    for name, check in LAYER_CHECKS.items():
        if any(map(check.applies_to, layers_of(subject))):
            yield name, partial(_run, name, subject)


def check_parametrization(
    scheme: str | type[Parametrization], on_fail: str | None = "raise", **options: Any
) -> list[CheckResult]:
    """Run every check that applies to a scheme.

    Args:
        scheme: Class or registered name.
        on_fail: "raise" one error listing all failures, "warn", or None to return only.
        options: Constructor options under which the scheme is checked.

    Returns:
        One result for each check.

    Raises:
        ConformanceError: Some check failed and ``on_fail`` is "raise".
        ValueError: ``on_fail`` is none of these.
    """
    return _run_all(scheme, yield_checks(scheme, **options), on_fail)


def check_orthogonal_layer(
    scheme: str | type[Parametrization], on_fail: str | None = "raise", **options: Any
) -> list[CheckResult]:
    """Run every check that applies to layers whose weight has a scheme.

    Each check is about something that must never happen silently to such a weight, and covers every
    field that the scheme serves, and square, tall and wide weights.

    Args:
        scheme: Class or registered name.
        on_fail: "raise" one error listing all failures, "warn", or None to return only.
        options: Options of the scheme under which it is checked.

    Returns:
        One result for each check.

    Raises:
        ConformanceError: Some check failed and ``on_fail`` is "raise".
        ValueError: ``on_fail`` is none of these.
    """
    return _run_all(scheme, yield_layer_checks(scheme, **options), on_fail)


def _run_all(
    scheme: str | type[Parametrization],
    checks: Iterator[tuple[str, Callable[[], CheckResult]]],
    on_fail: str | None,
) -> list[CheckResult]:
    if on_fail not in ("raise", "warn", None):
        raise ValueError(f"on_fail={on_fail!r}; pass 'raise', 'warn' or None")
    results = [run() for _, run in checks]
    failed = [result for result in results if result.status == "failed"]
    if failed and on_fail:
        name = scheme if isinstance(scheme, str) else scheme.__name__
        lines = [f"{name} fails {len(failed)} of {len(results)} checks:"]
        lines += [_line(result) for result in failed]
        if on_fail == "raise":
            raise ConformanceError("\n".join(lines))
        warnings.warn("\n".join(lines), stacklevel=3)
    return results


def parametrize_with_checks(
    schemes: Iterable[str | type[Parametrization]],
) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Pytest decorator: one test for each scheme and check, with ids ``scheme-check``.

    The checks are those of the scheme and of layers that have it. The latter leave out cases whose
    outcome cannot depend on the scheme; :func:`check_orthogonal_layer` runs all.

    The test takes ``scheme`` and ``check`` and calls ``check(scheme)``, which raises
    :class:`ConformanceError` on failure.
    """
    import pytest

    params = []
    for scheme in schemes:
        label = scheme if isinstance(scheme, str) else scheme.__name__
        for name, _ in (*yield_checks(scheme), *yield_layer_checks(scheme)):

            def check(scheme: str | type[Parametrization], name: str = name) -> None:
                result = _run(name, _subject(scheme, {}), thorough=False)
                if result.status == "failed":
                    raise ConformanceError(_line(result))

            params.append(pytest.param(scheme, check, id=f"{label}-check_{name}"))
    return pytest.mark.parametrize(("scheme", "check"), params)


def _subject(scheme: str | type[Parametrization], options: dict[str, Any]) -> Subject:
    cls = Parametrization.get(scheme) if isinstance(scheme, str) else scheme
    return Subject(cls, options)


def _measures(name: str, subject: Subject, thorough: bool) -> Iterator[Measure]:
    if name in CHECKS:
        return CHECKS[name][0](subject)
    return LAYER_CHECKS[name].check(subject, thorough)


def _run(name: str, subject: Subject, thorough: bool = True) -> CheckResult:
    start = time.perf_counter()
    worst = Measure(0.0, 0.0, "")
    error = ""
    try:
        for measure in _measures(name, subject, thorough):
            if _badness(measure) > _badness(worst) or not worst.where:
                worst = measure
    except Exception as exception:  # an error of a scheme is a finding, not a crash
        error = f"{type(exception).__name__}: {exception}"
    failed = bool(error) or not worst.holds
    # The info of an instance: options may bring expected failures of their own.
    reason = subject.info.expected_failures.get(name) or expected_failure(subject, name)
    status: Literal["passed", "failed", "expected failure"] = "failed" if failed else "passed"
    message = error or worst.where
    if reason is not None:
        # A failure that no longer happens must be removed from the claims.
        status = "expected failure" if failed else "failed"
        message = reason if failed else f"passes, but is claimed to fail: {reason}"
    seconds = time.perf_counter() - start
    return CheckResult(name, status, seconds, worst.residual, worst.tolerance, message)


def _badness(measure: Measure) -> float:
    """Return residual over tolerance; a measure that does not hold gets more than 1."""
    if measure.holds:
        return measure.residual / measure.tolerance if measure.tolerance else 0.0
    ratio = measure.residual / measure.tolerance if measure.tolerance > 0 else float("inf")
    return ratio if ratio == ratio and ratio > 1 else float("inf")


def _line(result: CheckResult) -> str:
    return (
        f"  {result.check}: residual {result.residual:.3g}, tolerance {result.tolerance:.3g}: "
        f"{result.message}"
    )
