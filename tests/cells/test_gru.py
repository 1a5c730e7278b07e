"""UnitaryGRUCell against torch.nn.GRUCell."""

import pytest
import torch
from torch import nn

from tests.layers.gru_helpers import F32, F64, GATES, biased
from tests.recurrent import B, M, N
from unitary_zoo import UnitaryGRUCell
from unitary_zoo.testing.subject import normal


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_cell_equals_torch(dtype, bias, gates):
    cell = biased(UnitaryGRUCell(M, N, bias=bias, dtype=dtype, gates=gates))
    ref = nn.GRUCell(M, N, bias=bias, dtype=F64)
    with torch.no_grad():
        ref.weight_hh.copy_(cell.weight_hh)
        ref.weight_ih.copy_(cell.weight_ih)
        if bias:
            ref.bias_ih.copy_(cell.bias)
            ref.bias_hh.zero_()[2 * N :] = cell.bias_hn
    x, h = normal(6, B, M, dtype=F32), normal(B, N, dtype=F32, seed=2)
    w, prepared, wanted = cell.weight_hh, h, h.double()
    h = h.to(dtype)
    for x_t in x:
        h, prepared = cell(x_t.to(dtype), h), cell(x_t.to(dtype), prepared.to(dtype), w)
        wanted = ref(x_t.double(), wanted)
        assert torch.equal(h, prepared)
    # Six steps of sums of at most N + M + 2 terms below 10; a step's slope in h is at most that
    # of the gates, below 2, which 6 steps raise to 64.
    limit = 64 * 6 * (N + M + 2) * 10 * torch.finfo(dtype).eps
    assert float((h - wanted).detach().abs().max()) <= limit
    assert torch.equal(cell(x[0].to(dtype)[0]), cell(x[0].to(dtype)[:1])[0])  # unbatched
