"""The scripts that draw gradients and states run, and draw what they say."""

import dataclasses
import json
import math
import re

import pytest
import torch

from comparisons.experiments import norms, theorems, vanishing
from comparisons.models import SequenceModel, check_model
from comparisons.papers import EXACT, PAPERS
from comparisons.tasks import TASKS, Batch
from unitary_zoo import theory


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Call the main function of a script; what it wrote."""

    def call(script, *argv):
        name = script.__name__.rpartition(".")[2]
        argv = [f"{name}.py", "--results", str(tmp_path), *argv]
        monkeypatch.setattr("sys.argv", argv)
        assert script.main() == 0
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        return json.loads((tmp_path / f"{name}.json").read_text())

    return call


# ----------------------------------------------------------------------------------------- norms


def test_norms_has_four_curves_of_each_model(run):
    models = ["lstm", "cayley", "rnn"]
    found = run(norms, "--tiny", "--schemes", *models)
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
    # What was read off a figure of 1,000 steps stands beside no other length.
    assert found["published"] == []
    # Training moved something.
    start, trained = (found["curves"][i]["mean"] for i in (0, 1))
    assert start != trained


def test_norms_of_equal_seeds_are_equal(run):
    first, second, other = (
        run(norms, "--tiny", "--schemes", "expm", "--seed", seed)["curves"] for seed in "001"
    )
    assert first == second != other


@pytest.mark.parametrize("model", ["lstm", "arjovsky"])
def test_a_gradient_is_that_of_the_sequences_own_loss(make_run, model):
    task = TASKS.get("adding")(7)
    run = make_run(model, task="adding", length=7)
    torch.manual_seed(0)
    net = SequenceModel(run.model, run.setting, task)
    batch = Batch(*task.batch(4, torch.Generator().manual_seed(1)))
    found = norms.gradients(net, task, batch)
    for i in range(4):
        alone = Batch(batch.inputs[:, i : i + 1], batch.targets[i : i + 1])
        torch.testing.assert_close(norms.gradients(net, task, alone)[:, 0], found[:, i])
    # The last state's by hand: C = (u h + b - y)^2, of real features.
    output = net.double()(batch.inputs.double())[0]
    residual = 2 * (output - batch.targets)[:, 0].detach().abs()
    expected = residual * net.readout.weight.detach().norm()
    torch.testing.assert_close(found[-1], expected, rtol=1e-6, atol=0)


def test_readings_are_approximate_and_belong_to_a_panel():
    readings = PAPERS["arjovsky2016"].readings
    assert {reading.panel for reading in readings} <= set(norms.PANELS)
    for reading in readings:
        assert reading.tag not in EXACT
        assert 0 <= reading.step < norms.PAPER_LENGTH
        check_model(reading.model)
    curve = norms.Curve("start", "lstm", 8, 5, 0, [1.0] * 5, [1.0] * 5, [1.0] * 5)
    panels = [dataclasses.replace(curve, panel=panel) for panel in norms.PANELS]
    figure = norms.draw(panels, readings, "caption")
    drawn = [len(axes.lines) for axes in figure.axes]
    # A line each, and the points of the models that are drawn.
    assert drawn == [1 + 1, 1 + 1, 1 + 1, 1]


def test_norms_refuses_an_unknown_scheme(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run(norms, "--tiny", "--schemes", "arjovski")
    assert stop.value.code == 2
    assert "arjovsky" in capsys.readouterr().err


# ------------------------------------------------------------------------------------- vanishing


def test_vanishing_measures_within_the_bounds(run):
    cases = run(vanishing, "--tiny")["cases"]
    assert [(c["nonlinearity"], c["factor"]) for c in cases] == [
        (name, mu) for name in vanishing.NONLINEARITIES for mu in vanishing.FACTORS
    ]
    for case in cases:
        steps = range(7, -1, -1)
        slope = 0.25 if case["nonlinearity"] == "sigmoid" else 1.0
        expected = [k * math.log(slope * case["factor"]) for k in steps]
        assert case["log_upper"] == pytest.approx(expected, abs=1e-10)
        upper = [math.exp(log) * (1 + 1e-9) for log in expected]
        assert all(m <= u for m, u in zip(case["largest"], upper, strict=True))
        assert case["largest"][-1] == pytest.approx(1)
        if case["nonlinearity"] == "abs":
            assert case["least"] == pytest.approx([case["factor"] ** k for k in steps])


@pytest.mark.parametrize(
    ("slopes", "low", "high"),
    [((1.0, 1.0), 1.1**7, 1.1**7), ((0.0, 0.2), 0.0, 0.22**7)],
    ids=["below", "above"],
)
def test_vanishing_stops_where_a_bound_is_broken(run, monkeypatch, slopes, low, high):
    real = theory.gradient_bounds
    # As if the slopes of the sigmoid were others.
    monkeypatch.setattr(theory, "gradient_bounds", lambda w, _, steps: real(w, slopes, steps))
    message = re.escape(f"bounds {low:.6g} to {high:.6g}")
    with pytest.raises(vanishing.BoundError, match=f"^sigmoid, mu = 1.1, t = 0: .*{message}$"):
        run(vanishing, "--tiny", "--factors", "1.1")


@pytest.mark.parametrize("argv", [("--factors", "1.5"), ("--length", "1")])
def test_vanishing_refuses(run, argv, capsys):
    with pytest.raises(SystemExit) as stop:
        run(vanishing, *argv)
    assert stop.value.code == 2
    assert argv[1] in capsys.readouterr().err


# -------------------------------------------------------------------------------------- theorems


def test_theorems_says_what_each_of_them_says(run):
    found = run(theorems, "--steps", "50", "--trials", "1")
    sizes = {(row["W"], row["twin"]) for row in found["twins"] if row["states"] == 4}
    assert sizes == {
        ("poster, n = 4", 8), ("program, n = 4", 8), ("random, n = 4", 8),
        ("two leaks, n = 4", 8), ("two leaks, n = 4", 6),
    }  # fmt: skip
    for row in found["twins"]:
        # A few hundred roundings of the largest state: sums of at most 18 terms, a norm below 1.
        eps = torch.finfo(getattr(torch, row["dtype"])).eps
        assert row["to nn.RNN"] <= 500 * eps * max(1, row["largest state"])
        assert row["to scan"] <= 500 * eps * max(1, row["largest state"])
        assert row["new states"] == 0
    assert all(row["states"] == 2 * row["n"] for row in found["certificates"])
    errors = {(row["n"], row["states"]): row["error"] for row in found["searches"]}
    assert errors[1, 1] > 0.1 > 1e-6 > errors[1, 2]
    assert errors[2, 2] > 0.1
    near = found["approximations"]
    assert all(row["error"] <= row["bound"] + 1e-15 for row in near)
    assert near[-1]["error"] < 1e-12 < near[0]["error"]


def test_theorems_refuses_no_steps(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["theorems.py", "--steps", "0"])
    with pytest.raises(SystemExit):
        theorems.main()
    assert "--steps 0" in capsys.readouterr().err
