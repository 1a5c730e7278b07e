"""Time of a whole training step."""

import json

import pytest
import torch

from comparisons.benchmarks import networks, training_step
from comparisons.benchmarks.correctness import CorrectnessError


def test_training_step_writes_consistent_figures(run, tmp_path):
    path = tmp_path / "step.json"
    argv = ["--rounds", "1", "--only", "copying", "--json", str(path)]
    assert run("training_step", *argv) == 0
    found = json.loads(path.read_text())
    case = training_step.CASES[0]
    times = {row["step"]: row for row in found["times"]}
    assert list(times) == [*case.ours, *case.peers]
    for row in times.values():
        theirs = times["nn.RNN"]["ms_on_1_thread"]
        assert row["nn.RNN_by_it"] == pytest.approx(theirs / row["ms_on_1_thread"])
    divided = found["breakdown"]
    assert [(row["step"], row["threads"]) for row in divided] == [(name, 1) for name in case.ours]
    names = ("scan", "inputs", "W", "readout_and_loss", "optimizer", "rest")
    for row in divided:
        assert row["step_ms"] == pytest.approx(sum(row[f"{name}_ms"] for name in names))
    targets = found["targets"]  # the second core is no figure of one thread
    assert len(targets) == sum(map(len, case.targets.values()))
    assert all(row["met"] is (row["reached"] >= row["target"]) for row in targets)


def test_training_step_measures_all_targets():
    for case in training_step.CASES:
        times = {name: {1: 4.0, 2: 2.0} for name in case.ours}
        times |= {name: {1: 9.0, 2: 6.0} for name in case.peers}
        rows = training_step.target_rows(case, times)
        assert len(rows) == sum(map(len, case.targets.values())) + len(case.second_core)
        assert {row["step"] for row in rows} <= {*case.ours}
        assert {row["reached"] for row in rows} <= {2.0, 3.0}
        for row in training_step.times_rows(case, times):
            assert row["second_core"] == (2.0 if row["step"] in case.ours else 1.5)


@pytest.mark.parametrize("name", [*networks.OURS, *networks.PEERS])
def test_training_step_moves_every_parameter_and_lowers_the_loss(name):
    problem = networks.Problem("check", 8, 3, 5, features=4, classes=3)
    network = networks.build(name, problem)
    x, targets = problem.draw()
    step = training_step.training_step(network, x, targets)
    before = [p.detach().clone() for p in (*network.parameters(), *network.buffers())]
    losses = []
    for _ in range(20):
        step()
        losses.append(network(x, targets).item())
    assert losses == sorted(losses, reverse=True)
    after = [*network.parameters(), *network.buffers()]
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(moved) >= len(list(network.parameters())) - 1  # lie_exp's is zero after each step


def test_parts_cover_the_leaves_of_a_step():
    for case in map(training_step.tiny, training_step.CASES):
        for name in case.ours:
            found = training_step.parts(name, case.problem)
            assert {"scan", "W", "readout_and_loss", "optimizer"} <= found.keys()
            assert all(grad is not None for grad in found["W"]())


@pytest.mark.parametrize("name", networks.OURS)
def test_check_networks_finds_wrong_gradients(monkeypatch, name):
    right = networks.Network.states

    def tampered(network, x):
        out = right(network, x)
        return out * (1 + 1e-8) - (out * 1e-8).detach()

    monkeypatch.setattr(networks, "OURS", {name: networks.OURS[name]})
    networks.check_networks()
    monkeypatch.setattr(networks.Network, "states", tampered)
    with pytest.raises(CorrectnessError, match="off by"):
        networks.check_networks()
