"""The cells take and refuse what torch's cells do; torch is the oracle in each case."""

import pytest
import torch
from torch import nn

from tests.cells.rnn_helpers import B, M, N
from unitary_zoo import UnitaryGRUCell, UnitaryRNNCell
from unitary_zoo.testing.subject import normal

PAIRS = [(UnitaryRNNCell, nn.RNNCell), (UnitaryGRUCell, nn.GRUCell)]
pair = pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=["rnn", "gru"])

F32 = torch.float32
X, H = torch.zeros(B, M), torch.zeros(B, N)
CALLS = {
    "batched": (X, H),
    "unbatched": (X[0], H[0]),
    "empty batch": (X[:0], H[:0]),
    "three dimensions": (X[None], None),
    "features": (torch.zeros(B, M + 1), None),
    "units": (X, torch.zeros(B, N + 1)),
    "unbatched state": (X, H[0]),
    "batched state": (X[0], H[:1]),
    "state to be broadcast": (X, H[:1]),
    "double": (X.double(), None),
    "integers": (X.long(), None),
    "double state": (X, H.double()),
    "double, both": (X.double(), H.double()),
    "another device": (X.to("meta"), None),
}


def is_taken(cell, call):
    try:
        cell(*call)
    except (ValueError, TypeError, RuntimeError):
        return False
    return True


@pair
@pytest.mark.parametrize("name", CALLS)
def test_cell_takes_and_refuses_the_tensors_that_torch_does(ours, theirs, name):
    assert is_taken(ours(M, N), CALLS[name]) == is_taken(theirs(M, N), CALLS[name])


@pair
def test_cell_takes_both_names_of_each_argument(ours, theirs):
    cell, x, h = ours(M, N), normal(B, M, dtype=F32), normal(B, N, dtype=F32, seed=2)
    wanted = cell(x, h)
    for first in ({"input": x}, {"x": x}):
        for second in ({"hx": h}, {"h": h}):
            assert torch.equal(cell(**first, **second), wanted)
    with pytest.raises(TypeError, match="hx and h are names of one argument"):
        cell(x, h, h=h)
    with pytest.raises(TypeError, match="input and x are names of one argument"):
        cell(x, x=x)
    with pytest.raises(TypeError, match="input is missing"):
        cell(hx=h)


@pair
def test_cell_names_both_dtypes_and_the_shape_it_was_given(ours, theirs):
    cell = ours(M, N)
    with pytest.raises(ValueError, match=r"input is torch\.float64, .*torch\.float32"):
        cell(X.double())
    with pytest.raises(ValueError, match=rf"h has shape \(1, {N}\); pass \({N},\)"):
        cell(X[0], H[:1])
    # The scan of a cell, which layers call, is held to the same.
    with pytest.raises(ValueError, match=r"input is torch\.float64, .*torch\.float32"):
        cell.scan(X[None].double())
