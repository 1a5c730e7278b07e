"""UnitaryGRU against torch.nn.GRU: values, gradients, packed sequences.

As in tests/scan, nn.GRU in single and in double precision measures what rounding does.
"""

import pytest
from torch.nn.utils.rnn import pack_padded_sequence

from tests.layers.gru_helpers import F32, F64, GATES, REAL, compare, gru_of, plain
from tests.recurrent import B, M, N, T
from unitary_zoo.testing.subject import normal

STACKS = [(layers, both) for layers in (1, 3) for both in (False, True)]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("layers", "both"), STACKS)
@pytest.mark.parametrize("gates", GATES)
def test_gru_equals_torch(gates, layers, both, batch_first, given):
    gru = gru_of(num_layers=layers, bidirectional=both, batch_first=batch_first, gates=gates)
    x = normal(*((B, T, M) if batch_first else (T, B, M)), dtype=F64)
    h_0 = normal(layers * (1 + both), B, N, dtype=F64, seed=2) if given else None
    compare(gru, plain, h_0, x)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_gru_equals_torch_at_awkward_sizes(n, dtype):
    for steps, batch in ((1, 1), (1, 3), (9, 1), (9, 3)):
        gru = gru_of(n=n, dtype=dtype, num_layers=2, bidirectional=True)
        h_0 = normal(4, batch, n, dtype=F32, seed=2)
        compare(gru, plain, h_0, normal(steps, batch, M, dtype=F32))


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("scheme", REAL)
def test_gru_equals_torch_with_every_real_scheme(scheme, gates):
    gru = gru_of(scheme, bidirectional=True, field="real", gates=gates)
    compare(gru, plain, None, normal(T, B, M, dtype=F64))


@pytest.mark.parametrize("checkpoint", [1, 3, 100])
def test_gru_equals_torch_with_checkpoints_and_without_bias(checkpoint):
    gru = gru_of(num_layers=2, bidirectional=True, bias=False, checkpoint=checkpoint)
    compare(gru, plain, None, normal(T, B, M, dtype=F64))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_gru_equals_torch_unbatched(given, batch_first):
    gru = gru_of(num_layers=2, bidirectional=True, batch_first=batch_first)
    compare(gru, plain, normal(4, N, dtype=F64, seed=2) if given else None, normal(T, M, dtype=F64))


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(("layers", "both"), STACKS)
@pytest.mark.parametrize("lengths", [[7, 5, 2, 1], [2, 7, 1, 5], [3, 7, 3, 7], [6], [1, 1]])
def test_gru_equals_torch_packed(lengths, layers, both, given):
    gru = gru_of(num_layers=layers, bidirectional=both)
    batch = len(lengths)
    h_0 = normal(layers * (1 + both), batch, N, dtype=F64, seed=2) if given else None
    pack = lambda leaf: pack_padded_sequence(leaf, lengths, enforce_sorted=False)
    compare(gru, pack, h_0, normal(max(lengths), batch, M, dtype=F64))
