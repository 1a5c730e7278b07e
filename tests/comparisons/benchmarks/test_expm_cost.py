"""Cost of the exponential in a training step."""

import json

import pytest
import torch
from torch import nn

from comparisons.benchmarks import expm_cost
from comparisons.benchmarks.correctness import CorrectnessError
from unitary_zoo import Parametrization, UnitaryRNN


def test_expm_cost_writes_and_draws_its_figures(run, tmp_path):
    files = tmp_path / "cost.json", tmp_path / "cost.png"
    argv = ["--rounds", "1", "--json", str(files[0]), "--png", str(files[1])]
    assert run("expm_cost", *argv) == 0
    rows = json.loads(files[0].read_text())["cost"]
    assert [row["n"] for row in rows] == [4, 7]
    for row in rows:
        assert row["exp_%_of_rnn"] == pytest.approx(100 * row["exp_ms"] / row["rnn_ms"])
        assert row["update_%_of_gru"] == pytest.approx(100 * row["update_ms"] / row["gru_ms"])
    assert files[1].read_bytes().startswith(b"\x89PNG")


def test_check_exponential_refuses_another_map(monkeypatch):
    real = Parametrization.create
    monkeypatch.setattr(Parametrization, "create", lambda _, n, **o: real("cayley", n, **o))
    with pytest.raises(CorrectnessError, match=r"exp\(A/2\)"):
        expm_cost.check_exponential()


@pytest.mark.parametrize(
    "rnn", [nn.GRU(4, 4), UnitaryRNN(4, 4, scheme="lie_exp", nonlinearity="tanh")], ids=type
)
def test_training_step_moves_every_weight(rnn):
    before = [p.detach().clone() for p in (*rnn.parameters(), *rnn.buffers())]
    x = torch.randn(3, 2, 4)
    expm_cost.training_step(rnn, x, torch.ones(3, 2, 4))()
    after = [*rnn.parameters(), *rnn.buffers()]
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    # What lie_exp learns goes into its base, a buffer, and is zero again.
    assert sum(moved) == len(moved) - (1 if isinstance(rnn, UnitaryRNN) else 0)


def test_update_turns_the_matrix():
    p = Parametrization.create("lie_exp", 5)
    before = p.matrix().detach().clone()
    expm_cost.update(p)()
    assert not torch.equal(before, p.matrix())
    assert p.describe().defect < 1e-5
