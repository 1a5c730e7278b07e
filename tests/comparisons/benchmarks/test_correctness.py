"""The check of the recurrences finds planted faults."""

import pytest

from comparisons.benchmarks import correctness, recurrences
from comparisons.benchmarks.correctness import CorrectnessError, check_recurrences
from unitary_zoo.scan import gated_scan, recurrent_scan


@pytest.fixture(params=correctness.KINDS, ids=str)
def kind(request, monkeypatch):
    """One kind of recurrence, which alone is checked."""
    monkeypatch.setattr(correctness, "KINDS", [request.param])
    return request.param


def tamper(monkeypatch, change):
    """Let ``change`` see the inputs and the result of both recurrences, and replace the result."""
    for scan in (recurrent_scan, gated_scan):
        monkeypatch.setattr(
            recurrences,
            scan.__name__,
            lambda x, *args, scan=scan, **options: change(x, scan(x, *args, **options)),
        )


def test_check_recurrences_passes():
    check_recurrences()


def test_check_recurrences_finds_wrong_results(monkeypatch, fault, kind):
    tamper(monkeypatch, lambda x, out: fault(out))
    with pytest.raises(CorrectnessError, match="off by"):
        check_recurrences()


def test_check_recurrences_finds_faults_after_many_steps(monkeypatch, kind):
    monkeypatch.setattr(correctness, "SIZES", ())
    tamper(monkeypatch, lambda x, out: out * (1 + 1e-6 * (len(x) > 50)))
    with pytest.raises(CorrectnessError, match="T=100: states off by"):
        check_recurrences()


@pytest.mark.parametrize("nonlinearity", ["relu", "tanh", "modrelu"])
def test_check_recurrences_finds_wrong_peers(monkeypatch, nonlinearity):
    right = recurrences._EAGER[nonlinearity]
    monkeypatch.setitem(recurrences._EAGER, nonlinearity, lambda z, b: right(z, b) + 1e-6)
    with pytest.raises(CorrectnessError):
        check_recurrences()


@pytest.mark.parametrize("name", ["scan_speed", "memory"])
def test_main_measures_no_wrong_recurrence(monkeypatch, run, name):
    tamper(monkeypatch, lambda x, out: 2 * out)
    assert run(name) == 1
