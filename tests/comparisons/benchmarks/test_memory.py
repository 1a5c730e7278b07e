"""Peak memory of the recurrence."""

import json
import sys
from dataclasses import replace

import pytest

from comparisons.benchmarks import correctness, memory


def test_memory_writes_a_row_for_each_size(monkeypatch, run, tmp_path):
    monkeypatch.setattr(correctness, "KINDS", correctness.KINDS[:1])
    path = tmp_path / "memory.json"
    assert run("memory", "--only", "last state, checkpoint", "--json", str(path)) == 0
    rows = json.loads(path.read_text())["memory"]
    assert [(row["n"], row["B"], row["T"]) for row in rows] == [(8, 2, 4), (8, 2, 5)]
    if sys.platform == "linux":
        assert all(row["peak_mb"] >= 0 for row in rows)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_measure_counts_the_states_of_the_eager_loop():
    r = replace(memory.REQUIRED, batch=128, steps=300)
    mb, note = memory.measure("eager loop", r, threads=1)
    states = r.steps * r.batch * r.n * 4 / 1e6
    # Each step keeps its pre-activation's product and its state; a few copies, not dozens.
    assert not note
    assert states < mb < 12 * states


def test_forms_return_states():
    for form, build in memory.FORMS.items():
        r = replace(memory.REQUIRED, n=3, batch=2, steps=5)
        states = build(r).results()["states"]
        assert states.shape == ((5, 2, 3) if "sequence" in form else (2, 3)), form


def test_peaks_leave_out_sizes_beyond_the_limit(monkeypatch):
    asked = []

    def measure(form, r, threads):
        asked.append(r.steps)
        return (None, "failed") if form == "broken" else (2.0 * r.steps, "")

    monkeypatch.setattr(memory, "measure", measure)
    sizes = [replace(memory.REQUIRED, batch=1, steps=steps) for steps in (100, 1, 10)]
    rows = list(memory.peaks(["fine"], sizes, limit_mb=50, threads=1))
    assert asked == [1, 10]
    assert [row["peak_mb"] for row in rows] == [2.0, 20.0, None]
    assert "not run" in rows[-1]["note"]
    rows = list(memory.peaks(["broken"], sizes, limit_mb=50, threads=1))
    assert [row["note"] for row in rows] == ["failed"] * 3


@pytest.mark.parametrize(("mb", "met"), [(499.0, True), (501.0, False), (None, None)])
def test_requirement_is_met_up_to_the_limit(mb, met):
    where = {"n": 128, "B": 16, "T": 100_000, "peak_mb": mb}
    rows = [
        {**where, "form": "ours, last state"},
        {**where, "form": "ours, last state", "T": 1000},
        {**where, "form": "nn.RNN"},
    ]
    (row,) = memory.requirement(rows)
    assert row["met"] is met


def test_measure_reports_a_process_that_fails():
    assert memory.measure("no such form", memory.REQUIRED, 1) == (None, "failed: exit code 1")
