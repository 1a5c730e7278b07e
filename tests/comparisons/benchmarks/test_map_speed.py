"""Speed of the maps onto the group."""

import itertools
import json

import pytest

from comparisons.benchmarks import map_speed


@pytest.fixture(autouse=True)
def _one_checked_size(monkeypatch):
    monkeypatch.setattr(map_speed, "CHECKED_SIZES", (3,))


def test_map_speed_writes_consistent_figures(run, tmp_path, capsys):
    path = tmp_path / "speed.json"
    assert run("map_speed", "--rounds", "1", "--json", str(path)) == 0
    maps = json.loads(path.read_text())["maps"]
    assert {row["n"] for row in maps} == {8, 9}
    assert {row["map"].split(",")[0] for row in maps} == {"exp", "Cayley", "Householder", "polar"}
    for ours, peer in itertools.pairwise(maps):
        if ours["variant"] == "ours":
            assert ours["error_1e-6"] <= 2
            assert peer["ratio"] == pytest.approx(peer["ms"] / ours["ms"])
            assert peer["met"] is (peer["ratio"] >= peer["target"])
    targets = [row for row in maps if row["target"] is not None]
    assert len(targets) == 2 * (3 + 3 + 3 + 3)  # each case of each size
    met = sum(row["met"] for row in targets)
    assert f"{met} of {len(targets)} targets met" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["expm_skew", "cayley", "householder", "polar"])
def test_check_maps_finds_wrong_values(monkeypatch, name):
    right = getattr(map_speed.linalg, name)
    monkeypatch.setattr(map_speed.linalg, name, lambda x: right(x) * (1 + 1e-10))
    with pytest.raises(AssertionError):
        map_speed.check_maps()
