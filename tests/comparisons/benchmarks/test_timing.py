"""Timing in turns, the rate of a matrix product, and the JSON file."""

import json

import pytest
import torch

from comparisons.benchmarks import timing
from comparisons.training import machine


def test_medians_take_turns():
    turns = []
    found = timing.medians({name: lambda name=name: turns.append(name) for name in "ab"}, 3)
    assert turns == ["a", "b"] * 4  # the first is the warm-up
    assert all(seconds >= 0 for seconds in found.values())


def test_medians_call_what_comes_before_each_turn():
    turns = []
    steps = {name: lambda name=name: turns.append(name) for name in "ab"}
    timing.medians(steps, 2, before=lambda: turns.append("-"))
    assert turns == [*"ab", *"-a-b" * 2]


def test_medians_in_loops_take_turns_with_each_number_of_threads():
    turns, before = [], torch.get_num_threads()
    steps = {name: lambda name=name: turns.append((name, torch.get_num_threads())) for name in "ab"}
    found = timing.medians_in_loops(steps, (1, 2), 2, turn=0.0)
    # After the warm-up every turn is a step that is not timed and one that is.
    assert turns[4:] == [(name, n) for name in "ab" for n in (1, 1, 2, 2)] * 2
    assert {name: set(times) for name, times in found.items()} == {"a": {1, 2}, "b": {1, 2}}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gemm_limit_is_a_rate(dtype):
    assert 0 < timing.gemm_limit(dtype, sizes=(32,), repeats=2) < 1e6


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("comparisons/benchmarks/__main__.py", "python -m comparisons.benchmarks"),
        ("comparisons/experiments/norms.py", "python comparisons/experiments/norms.py"),
    ],
)
def test_write_json_adds_facts_about_the_run(monkeypatch, tmp_path, file, command):
    words = ["--rounds", "7", "--json", str(timing.ROOT / "docs" / "x.json")]
    monkeypatch.setattr("sys.argv", [str(timing.ROOT / file), *words])
    timing.write_json(tmp_path / "x.json", [0.5, 0.25, 0.125], table=[{"a": 1}])
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["command"] == f"{command} --rounds 7 --json docs/x.json"
    assert found["machine"]["cpu"] == machine.cpu_model()
    assert found["versions"]["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["date"]
    assert found["load_before"] == [0.5, 0.25, 0.125]
    assert "load_after" in found
    assert found["table"] == [{"a": 1}]


def test_write_json_refuses_a_table_named_like_a_fact(tmp_path):
    with pytest.raises(ValueError, match="machine"):
        timing.write_json(tmp_path / "x.json", machine=[])
