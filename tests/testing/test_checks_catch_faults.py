"""The kit is tested itself: every check must find the faults that were planted for it."""

import functools
import math
from unittest import mock

import pytest

from tests.testing.faults import FAULTS, Cayley, TooLong
from unitary_zoo.testing import (
    ConformanceError,
    check_parametrization,
    parametrize_with_checks,
    yield_checks,
)
from unitary_zoo.testing.checks import CHECKS

# The failing reads these schemes provoke warn on their way, which is no concern here.
pytestmark = pytest.mark.filterwarnings("ignore")


@functools.cache
def status(check, scheme):
    """What the check says of a scheme; faults of one scheme share the control."""
    return dict(yield_checks(scheme))[check]().status


@pytest.mark.parametrize(
    ("check", "scheme"), FAULTS, ids=[f"{check}-{scheme.__name__}" for check, scheme in FAULTS]
)
def test_fault_is_caught(check, scheme):
    result = dict(yield_checks(scheme))[check]()
    assert result.status == "failed", result
    assert result.message
    sound = scheme.__mro__[1]
    assert status(check, sound) == "passed", "the fault is the only cause"


def test_every_check_has_a_planted_fault():
    assert {check for check, _ in FAULTS} == set(CHECKS)


@pytest.fixture
def few_checks():
    """Three quick checks instead of all: what the runner does with them is the same."""
    few = {name: CHECKS[name] for name in ("unitary", "apply", "real_parameters")}
    with mock.patch.dict(CHECKS, few, clear=True):
        yield


@pytest.mark.usefixtures("few_checks")
def test_one_error_lists_every_failure():
    results = check_parametrization(TooLong, on_fail=None)
    failed = [result.check for result in results if result.status == "failed"]
    assert len(failed) > 1
    with pytest.raises(ConformanceError) as caught:
        check_parametrization(TooLong)
    for name in failed:
        assert name in str(caught.value)
    assert "tolerance" in str(caught.value)
    assert "residual" in str(caught.value)


def test_on_fail_is_checked():
    with pytest.raises(ValueError, match="warn"):
        check_parametrization(Cayley, on_fail="shout")


@pytest.mark.usefixtures("few_checks")
@pytest.mark.filterwarnings("default")
def test_on_fail_warns():
    with pytest.warns(UserWarning, match="TooLong fails"):
        check_parametrization(TooLong, on_fail="warn")


@pytest.mark.usefixtures("few_checks")
def test_expected_failures_are_strict(monkeypatch):
    from dataclasses import replace

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


def test_a_nan_fails():
    from unitary_zoo.testing.subject import Measure

    assert not Measure(math.nan, 1.0, "somewhere").holds


def test_pytest_front_end_names_scheme_and_check():
    mark = parametrize_with_checks(["cayley", TooLong])
    ids = [param.id for param in mark.args[1]]
    assert "cayley-check_unitary" in ids
    assert "TooLong-check_unitary" in ids
    scheme, check = next(p.values for p in mark.args[1] if p.id == "TooLong-check_unitary")
    with pytest.raises(ConformanceError, match="unitary"):
        check(scheme)
    scheme, check = next(p.values for p in mark.args[1] if p.id == "cayley-check_unitary")
    check(scheme)
