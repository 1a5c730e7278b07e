"""The experiment on the norms of gradients and states."""

import dataclasses

import pytest
import torch

from comparisons.experiments import norms
from comparisons.models import SequenceModel, check_model
from comparisons.papers import PAPERS
from comparisons.tasks import TASKS, Batch


def test_norms_draws_four_curves_of_each_model(run):
    models = ["lstm", "cayley", "rnn"]
    found = run("norms", "--tiny", "--schemes", *models)
    assert [(c["model"], c["panel"]) for c in found["curves"]] == [
        (model, panel) for model in models for panel in norms.PANELS
    ]
    for curve in found["curves"]:
        assert len(curve["mean"]) == len(curve["least"]) == len(curve["largest"]) == 12
        inside = zip(curve["least"], curve["mean"], curve["largest"], strict=True)
        assert all(
            0 <= low <= mean * (1 + 1e-12) <= high * (1 + 2e-12) for low, mean, high in inside
        )
        if curve["panel"] == "distances":
            assert curve["largest"][-1] == 0
            assert curve["largest"][0] > 0
    lengths = {c["panel"]: (c["trained_length"], c["iterations"]) for c in found["curves"]}
    assert lengths == {"start": (12, 0), "trained": (12, 2), "states": (6, 2), "distances": (6, 2)}
    # Values read off a figure of 1,000 steps are not shown at another length.
    assert found["published"] == []
    # Training moved something.
    start, trained = (found["curves"][i]["mean"] for i in (0, 1))
    assert start != trained


def test_norms_follow_the_seed(run):
    first, second, other = (
        run("norms", "--tiny", "--schemes", "expm", "--seed", seed)["curves"] for seed in "001"
    )
    assert first == second != other


@pytest.mark.parametrize("model", ["lstm", "arjovsky"])
def test_gradients_are_those_of_each_sequences_own_loss(make_run, model):
    task = TASKS.get("adding")(7)
    run = make_run(model, task="adding", length=7)
    torch.manual_seed(0)
    net = SequenceModel(run.model, run.setting, task)
    batch = Batch(*task.batch(4, torch.Generator().manual_seed(1)))
    found = norms.gradients(net, task, batch)
    for i in range(4):
        alone = Batch(batch.inputs[:, i : i + 1], batch.targets[i : i + 1])
        torch.testing.assert_close(norms.gradients(net, task, alone)[:, 0], found[:, i])
    # The gradient in the last state by hand: C = (u h + b - y)^2, with real features.
    output = net.double()(batch.inputs.double())[0]
    residual = 2 * (output - batch.targets)[:, 0].detach().abs()
    expected = residual * net.readout.weight.detach().norm()
    torch.testing.assert_close(found[-1], expected, rtol=1e-6, atol=0)


def test_readings_are_approximate_and_in_a_panel():
    readings = PAPERS["arjovsky2016"].readings
    assert {reading.panel for reading in readings} <= set(norms.PANELS)
    for reading in readings:
        assert not reading.tag.exact
        assert 0 <= reading.step < norms.PAPER_LENGTH
        check_model(reading.model)
    curve = norms.Curve("start", "lstm", 8, 5, 0, [1.0] * 5, [1.0] * 5, [1.0] * 5)
    panels = [dataclasses.replace(curve, panel=panel) for panel in norms.PANELS]
    figure = norms.draw(panels, readings, "caption")
    drawn = [len(axes.lines) for axes in figure.axes]
    # One line, and the points of the models that are drawn.
    assert drawn == [1 + 1, 1 + 1, 1 + 1, 1]


def test_norms_refuses_unknown_scheme(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run("norms", "--tiny", "--schemes", "arjovski")
    assert stop.value.code == 2
    assert "arjovsky" in capsys.readouterr().err
