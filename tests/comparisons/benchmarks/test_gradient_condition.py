"""The condition of dW/dtheta at fresh starts."""

import json

import pytest
import torch

from comparisons.benchmarks.configurations import Configuration, configurations
from comparisons.benchmarks.gradient_condition import gradient_condition


def test_gradient_condition_writes_a_row_for_each_configuration(run, tmp_path):
    path = tmp_path / "conditions.json"
    assert run("gradient_condition", "--json", str(path)) == 0
    rows = json.loads(path.read_text())["conditions"]
    titles = [(c.title, c.field) for c in configurations()]
    assert [(row["scheme"], row["field"]) for row in rows] == titles
    assert all(1 <= row["least"] <= row["median"] <= row["most"] for row in rows)
    assert any(row["least"] < row["most"] for row in rows)  # each seed has its own start


def test_gradient_condition_of_known_maps():
    # At A = 0 the coordinates of a Lie algebra are as long as what they move.
    (configuration,) = (c for c in configurations("lie_exp") if c.field == "real")
    assert gradient_condition(configuration, 5, seed=3) == pytest.approx(1, abs=1e-12)
    # One phase and a rotation of two columns: theta moves both, omega_j the one row it multiplies,
    # phi the second column. By hand: the Gram matrix of (phi, omega_1, omega_2) is
    # [[1, s^2, c^2], [s^2, 1, 0], [c^2, 0, 1]], of eigenvalues 1 and 1 +- sqrt(s^4 + c^4).
    configuration = Configuration("eunn", "complex", {"capacity": 1})
    theta = configuration.build(2, torch.float64).theta.detach()
    root = (theta.sin() ** 4 + theta.cos() ** 4).sqrt()
    largest, least = torch.maximum(1 + root, torch.tensor(2.0)), 1 - root
    wanted = float((largest / least).sqrt())
    assert gradient_condition(configuration, 2, seed=0) == pytest.approx(wanted, rel=1e-9)
