"""The check of the recurrences finds planted faults."""

import pytest

from comparisons.benchmarks import correctness, recurrences
from comparisons.benchmarks.correctness import CorrectnessError, check_recurrences
from unitary_zoo.scan import recurrent_scan


@pytest.fixture(params=correctness.KINDS, ids=str)
def kind(request, monkeypatch):
    """One kind of recurrence, which alone is checked."""
    monkeypatch.setattr(correctness, "KINDS", [request.param])
    return request.param


def test_check_recurrences_passes():
    check_recurrences()


def test_check_recurrences_finds_wrong_results(monkeypatch, fault, kind):
    monkeypatch.setattr(
        recurrences,
        "recurrent_scan",
        lambda *args, **options: fault(recurrent_scan(*args, **options)),
    )
    with pytest.raises(CorrectnessError, match="off by"):
        check_recurrences()


def test_check_recurrences_finds_faults_after_many_steps(monkeypatch, kind):
    def tampered(x, *args, **options):
        return recurrent_scan(x, *args, **options) * (1 + 1e-6 * (len(x) > 50))

    monkeypatch.setattr(correctness, "SIZES", ())
    monkeypatch.setattr(recurrences, "recurrent_scan", tampered)
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
    wrong = lambda *args, **options: 2 * recurrent_scan(*args, **options)
    monkeypatch.setattr(recurrences, "recurrent_scan", wrong)
    assert run(name) == 1
