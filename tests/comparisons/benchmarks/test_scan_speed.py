"""Speed of the recurrence."""

import json

import pytest

from comparisons.benchmarks import correctness, scan_speed


@pytest.fixture(autouse=True)
def _short_check(monkeypatch):
    monkeypatch.setattr(correctness, "KINDS", correctness.KINDS[:1])


def test_scan_speed_writes_consistent_figures(run, tmp_path):
    path = tmp_path / "new" / "speed.json"
    assert run("scan_speed", "--rounds", "1", "--structured", "--json", str(path)) == 0
    found = json.loads(path.read_text())
    assert found["threads"] == 1
    speed = found["speed"]
    for row in speed:
        assert row["ratio"] == pytest.approx(row["their_ms"] / row["our_recurrence_ms"])
        wanted = {"target": row["ratio"], "target_of_layer": row["ratio_of_layer"]}
        reached = [ratio >= row[key] for key, ratio in wanted.items() if row[key] is not None]
        assert row["met"] is (all(reached) if reached else None)
    for key, of in (("target", "targets"), ("target_of_layer", "layer_targets")):
        targets = sum(len(getattr(case, of)) for case in scan_speed.CASES)
        assert sum(row[key] is not None for row in speed) == targets
    assert {row["against"] for row in speed} == {
        "nn.RNN", "nn.RNN (tanh)", "nn.LSTM", "nn.GRU", "geotorch loop", "torch orthogonal loop",
        "eager modReLU loop", "eager complex64 loop", "GEMM limit",
    }  # fmt: skip
    (limit,) = found["limit"]
    assert limit["gemm_gflops"] > 0
    for row in speed:
        if row["against"] == "GEMM limit":
            # n = 8, B = 2, T = 5: four real products, or three gates
            factor = 4 if "complex" in row["case"] else 3 if "gated" in row["case"] else 1
            flop = factor * 6 * 5 * 2 * 8**2
            assert row["their_ms"] == pytest.approx(flop / limit["gemm_gflops"] / 1e6)
    names = [row["case"].split(",")[0] for row in found["structured_or_dense"]]
    assert names == ["arjovsky"] * 2 + ["eigenphase"] * 2


def test_scan_speed_only_picks_cases(run, tmp_path):
    path = tmp_path / "speed.json"
    assert run("scan_speed", "--rounds", "1", "--only", "complex", "--json", str(path)) == 0
    assert {row["against"] for row in json.loads(path.read_text())["speed"]} == {
        "eager complex64 loop",
        "GEMM limit",
    }


def test_scan_speed_measures_all_targets():
    for case in scan_speed.CASES:
        layer, peers = scan_speed.against(scan_speed.tiny(case).recurrence)[1:]
        assert {*case.targets, *case.layer_targets} <= peers.keys() | {"GEMM limit"}
        assert layer.forward().shape == next(iter(peers.values())).forward().shape
