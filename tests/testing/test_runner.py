"""The front ends of the checks of a scheme: results, errors, warnings, the pytest decorator."""

import math
from dataclasses import replace

import pytest

from tests.testing.faults import Cayley, TooLong
from unitary_zoo.testing import (
    ConformanceError,
    check_parametrization,
    parametrize_with_checks,
    runner,
)
from unitary_zoo.testing.checks import CHECKS
from unitary_zoo.testing.subject import Measure

# Three checks are enough for the front ends; TooLong fails the first two.
KEPT = ("unitary", "apply", "real_parameters")
# A scheme with a fault may warn before it fails.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _few_checks(monkeypatch):
    monkeypatch.setattr(runner, "CHECKS", {name: CHECKS[name] for name in KEPT})


def test_check_parametrization_lists_every_failure():
    results = {r.check: r.status for r in check_parametrization(TooLong, on_fail=None)}
    assert results == dict(zip(KEPT, ("failed", "failed", "passed"), strict=True))
    with pytest.raises(ConformanceError, match="TooLong fails 2 of 3 checks") as caught:
        check_parametrization(TooLong)
    for name in KEPT[:2]:
        assert name in str(caught.value)
    assert "tolerance" in str(caught.value)
    assert "residual" in str(caught.value)


def test_check_parametrization_refuses_an_unknown_on_fail():
    with pytest.raises(ValueError, match="warn"):
        check_parametrization(Cayley, on_fail="shout")


@pytest.mark.filterwarnings("default")
def test_check_parametrization_warns():
    with pytest.warns(UserWarning, match="TooLong fails"):
        check_parametrization(TooLong, on_fail="warn")


def test_expected_failures_are_strict(monkeypatch):
    monkeypatch.setattr(
        TooLong, "info", replace(Cayley.info, expected_failures={"unitary": "is too long"})
    )
    results = {r.check: r for r in check_parametrization(TooLong, on_fail=None)}
    assert results["unitary"].status == "expected failure"
    assert results["unitary"].message == "is too long"
    assert results["apply"].status == "failed", "the expectation covers its own check only"
    monkeypatch.setattr(
        TooLong, "info", replace(Cayley.info, expected_failures={"real_parameters": "no reason"})
    )
    results = {r.check: r for r in check_parametrization(TooLong, on_fail=None)}
    assert results["real_parameters"].status == "failed"
    assert "passes, but is claimed to fail" in results["real_parameters"].message


def test_measure_of_nan_does_not_hold():
    assert not Measure(math.nan, 1.0, "somewhere").holds


def test_parametrize_with_checks_names_scheme_and_check():
    mark = parametrize_with_checks(["cayley", TooLong])
    ids = [param.id for param in mark.args[1]]
    assert "cayley-check_unitary" in ids
    assert "TooLong-check_unitary" in ids
    scheme, check = next(p.values for p in mark.args[1] if p.id == "TooLong-check_unitary")
    with pytest.raises(ConformanceError, match="unitary"):
        check(scheme)
    scheme, check = next(p.values for p in mark.args[1] if p.id == "cayley-check_unitary")
    check(scheme)
