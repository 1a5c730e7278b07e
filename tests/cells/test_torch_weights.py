"""Weights of nn.RNNCell and nn.GRUCell, loaded and exported: torch's steps are the oracle."""

import pytest
import torch
from torch import nn

from tests.cells.rnn_helpers import F64, B, M, N
from unitary_zoo import UnitaryGRUCell, UnitaryRNNCell
from unitary_zoo.testing.subject import haar, normal

KINDS = [
    (UnitaryRNNCell, nn.RNNCell, {"nonlinearity": "relu"}),
    (UnitaryRNNCell, nn.RNNCell, {"nonlinearity": "tanh"}),
    (UnitaryGRUCell, nn.GRUCell, {}),
]
kinds = pytest.mark.parametrize(("ours", "theirs", "options"), KINDS, ids=["relu", "tanh", "gru"])


@torch.no_grad()
def torch_cell(cls, **options):
    cell = cls(M, N, dtype=F64, **options)
    for seed, block in enumerate(cell.weight_hh.split(N)):
        block.copy_(haar(N, F64, determinant=1, seed=seed))
    return cell


def assert_same_step(a, b):
    x, h = normal(B, M, dtype=F64), normal(B, N, dtype=F64, seed=2)
    # W is off by assign_'s 100 n eps, and a step sums 2n + m + 2 terms below 10, with slopes of 2.
    limit = 2 * 10 * (100 * N + 2 * N + M + 2) * torch.finfo(F64).eps
    assert float((a(x, h) - b(x, h)).detach().abs().max()) <= limit


@kinds
@pytest.mark.parametrize("bias", [True, False])
def test_cell_goes_from_torch_and_back(ours, theirs, options, bias):
    ref = torch_cell(theirs, bias=bias, **options)
    cell = ours.from_torch(ref, "cayley", learn_h0=True)
    assert not cell.h0.any()
    assert_same_step(cell, ref)
    before = torch.random.get_rng_state()
    back = cell.to_torch()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert type(back) is theirs
    assert back.bias == bias
    assert_same_step(cell, back)


@kinds
def test_cell_loads_modules_and_states_and_returns_the_residual(ours, theirs, options):
    ref = torch_cell(theirs, **options)
    for load in ("load_torch", "load_state_dict"):
        cell = ours(M, N, "cayley", dtype=F64, **options)
        getattr(cell, load)(ref.state_dict())
        assert_same_step(cell, ref)
    with torch.no_grad():
        ref.weight_hh.mul_(1.25)
    with pytest.warns(UserWarning, match="weight_hh: .*0.25 away"):
        residual = ours(M, N, "cayley", dtype=F64, **options).load_torch(ref)
    # The rotation nearest to 1.25 Q is Q.
    assert residual == pytest.approx(0.25, abs=1e-10)


def test_cell_refuses_another_kind_or_function():
    with pytest.raises(TypeError, match=r"a GRUCell was passed; pass an nn\.RNNCell"):
        UnitaryRNNCell.from_torch(nn.GRUCell(M, N))
    with pytest.raises(TypeError, match=r"a RNNCell was passed; pass an nn\.GRUCell"):
        UnitaryGRUCell(M, N).load_torch(nn.RNNCell(M, N))
    with pytest.raises(ValueError, match="nonlinearity='tanh', and this one has 'relu'"):
        UnitaryRNNCell(M, N, nonlinearity="relu").load_torch(nn.RNNCell(M, N))
    with pytest.raises(ValueError, match=r"'modrelu' is not in nn\.RNN"):
        UnitaryRNNCell(M, N).to_torch()
    with pytest.raises(RuntimeError, match=r"'modrelu' is not in nn\.RNN"):
        UnitaryRNNCell(M, N).load_state_dict(nn.RNNCell(M, N).state_dict())
