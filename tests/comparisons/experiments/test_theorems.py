"""The experiment on the three theorems, and the weight of a sigmoid network of one state."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comparisons.experiments.theorems import scalar_recurrent_weight
from unitary_zoo import UnitaryRNN

F64 = torch.float64


def test_theorems_numbers_are_within_bounds(run):
    found = run("theorems", "--tiny")
    sizes = {
        (row["W"], row["unitary states"]) for row in found["equivalents"] if row["states"] == 4
    }
    assert sizes == {
        ("poster, n = 4", 8), ("program, n = 4", 8), ("random, n = 4", 8),
        ("corank 2, n = 4", 8), ("corank 2, n = 4", 6),
    }  # fmt: skip
    for row in found["equivalents"]:
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


@pytest.mark.parametrize("name", ["--steps", "--trials"])
def test_theorems_refuses_counts_below_one(run, name, capsys):
    with pytest.raises(SystemExit) as stop:
        run("theorems", name, "0")
    assert stop.value.code == 2
    assert f"{name}: 0: choose 1 or more" in capsys.readouterr().err


def scalar(w: float, v: float = 1.0, b: float = 0.0) -> UnitaryRNN:
    options = {"contractive": True, "dtype": F64}
    rnn = UnitaryRNN(1, 1, scheme="svd_projection", nonlinearity="sigmoid", **options)
    (cell,) = rnn.cells
    cell.recurrent.assign_(torch.tensor([[w]], dtype=F64))
    with torch.no_grad():
        cell.weight_ih_parts.fill_(v)
        cell.bias_parts.fill_(b)
    return rnn


@settings(max_examples=30)
@given(w=st.floats(-1, 1), v=st.floats(0.2, 3), b=st.floats(-2, 2), x=st.floats(-2, 2))
def test_scalar_recurrent_weight_is_w(w, v, b, x):
    found = scalar_recurrent_weight(scalar(w, v, b), torch.tensor(x, dtype=F64))
    # y_1 is in [sigmoid(-9), sigmoid(9)], so its logit is off by 1e4 eps at most; the y_0 are
    # sigmoid(b +- v), apart by 0.01 or more.
    assert abs(found - w) <= 1e6 * torch.finfo(F64).eps


def test_scalar_recurrent_weight_tells_unitary_networks_apart():
    x = torch.tensor(0.3, dtype=F64)
    assert abs(scalar_recurrent_weight(scalar(0.8), x) - 0.8) < 1e-10
    for w in (1.0, -1.0):
        orthogonal = UnitaryRNN(1, 1, scheme="svd_projection", nonlinearity="sigmoid", dtype=F64)
        orthogonal.cells[0].recurrent.assign_(torch.tensor([[w]]))
        assert abs(scalar_recurrent_weight(orthogonal, x) - w) < 1e-10
