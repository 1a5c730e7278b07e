"""The benchmark scripts run, and refuse to time what is not correct."""

import json

import pytest
import torch

from comparisons.benchmarks import map_speed, scan_speed


def run(monkeypatch, *argv):
    monkeypatch.setattr(scan_speed, "CASES", [(4, 2, 5)])
    monkeypatch.setattr("sys.argv", ["scan_speed.py", "--threads", "1", "--rounds", "1", *argv])
    return scan_speed.main()


def test_scan_speed_writes_its_figures(monkeypatch, tmp_path):
    monkeypatch.setattr(scan_speed, "STRUCTURED_SIZES", (4, 8))
    path = tmp_path / "speed.json"
    # How fast so tiny a case is, is no matter here; only 0 and 1 say that it was measured.
    assert run(monkeypatch, "--json", str(path)) in (0, 1)
    found = json.loads(path.read_text())
    assert found["machine"]["cpu"]
    assert {row["variant"] for row in found["against_rnn"]} >= {"relu", "tanh", "modrelu"}
    for row in found["against_rnn"]:
        assert row["ratio"] == pytest.approx(row["nn_rnn_ms"] / row["ours_ms"])
    assert [row["case"].split()[0] for row in found["structured_or_dense"]] == ["n=4", "n=8"]


def test_scan_speed_times_nothing_that_is_wrong(monkeypatch):
    monkeypatch.setattr(scan_speed, "copy_weights", lambda ours, peer: None)
    with pytest.raises(AssertionError):
        run(monkeypatch)


@pytest.fixture(autouse=True)
def _keep_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run_maps(monkeypatch, *argv):
    monkeypatch.setattr(map_speed, "GATE_SIZES", (3,))
    argv = ["map_speed.py", "--threads", "1", "--rounds", "1", "--sizes", "8", "9", *argv]
    monkeypatch.setattr("sys.argv", argv)
    return map_speed.main()


def test_map_speed_writes_its_figures(monkeypatch, tmp_path, capsys):
    path = tmp_path / "speed.json"
    assert run_maps(monkeypatch, "--json", str(path)) == 0
    found = json.loads(path.read_text())
    assert found["machine"]["cpu"]
    assert found["threads"] == 1
    assert {row["n"] for row in found["maps"]} == {"8", "9"}
    titles = {row["map"].split(",")[0] for row in found["maps"]}
    assert titles == {"exp", "Cayley", "Householder", "polar"}
    for title, peer in zip(found["maps"], found["maps"][1:], strict=False):
        if title["variant"] == "ours":
            assert title["error_1e-6"] <= 2
            assert peer["ratio"] == pytest.approx(peer["ms"] / title["ms"])
    missed = [row for row in found["maps"] if row["target"] and row["ratio"] < float(row["target"])]
    assert capsys.readouterr().out.count("missed:") == len(missed)


@pytest.mark.parametrize("name", ["expm_skew", "cayley", "householder", "polar"])
def test_map_speed_times_nothing_that_is_wrong(monkeypatch, name):
    right = getattr(map_speed.linalg, name)
    monkeypatch.setattr(map_speed.linalg, name, lambda x: right(x) * (1 + 1e-10))
    with pytest.raises(AssertionError):
        run_maps(monkeypatch)
