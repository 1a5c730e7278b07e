"""UnitaryRNN against torch.nn.RNN: values, gradients, packed sequences."""

import math

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from tests.layers.rnn_helpers import (
    CASES,
    F64,
    STACKS,
    assert_near,
    compare,
    rnn_of,
    same_torch_layer,
)
from tests.oracles import learned
from tests.recurrent import B, M, N, T
from unitary_zoo import Parametrization
from unitary_zoo.testing.subject import normal


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("layers", "both"), STACKS)
@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
def test_rnn_equals_torch(nonlinearity, layers, both, batch_first, return_sequence, given):
    rnn = rnn_of(
        nonlinearity=nonlinearity, num_layers=layers, bidirectional=both, batch_first=batch_first,
        return_sequence=return_sequence,
    )  # fmt: skip
    x = normal(*((B, T, M) if batch_first else (T, B, M)), dtype=F64)
    h_0 = normal(layers * (1 + both), B, N, dtype=F64, seed=2) if given else None
    compare(rnn, lambda leaf: leaf, h_0, x)


@pytest.mark.parametrize("scheme", Parametrization.names(fields="real"))
def test_rnn_equals_torch_with_every_real_scheme(scheme):
    compare(
        rnn_of(scheme, num_layers=2, bidirectional=True, field="real"),
        lambda leaf: leaf, None, normal(T, B, M, dtype=F64),
    )  # fmt: skip


@pytest.mark.parametrize("checkpoint", [1, 3, 100])
@pytest.mark.parametrize("return_sequence", [True, False])
def test_rnn_equals_torch_with_checkpoints_and_without_bias(return_sequence, checkpoint):
    rnn = rnn_of(
        num_layers=2, bidirectional=True, bias=False, checkpoint=checkpoint,
        return_sequence=return_sequence,
    )  # fmt: skip
    compare(rnn, lambda leaf: leaf, None, normal(T, B, M, dtype=F64))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(("layers", "both"), STACKS)
def test_rnn_equals_torch_unbatched(layers, both, given, return_sequence, batch_first):
    rnn = rnn_of(
        num_layers=layers, bidirectional=both, batch_first=batch_first,
        return_sequence=return_sequence,
    )  # fmt: skip
    h_0 = normal(layers * (1 + both), N, dtype=F64, seed=2) if given else None
    compare(rnn, lambda leaf: leaf, h_0, normal(T, M, dtype=F64))


LENGTHS = {
    "sorted": [7, 5, 2, 1],
    "unsorted": [2, 7, 1, 5],
    "ties": [3, 7, 3, 7],
    "all equal": [4, 4, 4, 4],
    "one": [6],
    "ones": [1, 1],
}


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("layers", "both"), STACKS)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_rnn_equals_torch_packed(lengths, layers, both, return_sequence, given):
    rnn = rnn_of(num_layers=layers, bidirectional=both, return_sequence=return_sequence)
    batch = len(lengths)
    h_0 = normal(layers * (1 + both), batch, N, dtype=F64, seed=2) if given else None
    x = normal(max(lengths), batch, M, dtype=F64)
    enforced = [True, False] if lengths == sorted(lengths, reverse=True) else [False]
    for enforce_sorted in enforced:
        pack = lambda leaf: pack_padded_sequence(leaf, lengths, enforce_sorted=enforce_sorted)
        rnn.zero_grad()
        compare(rnn, pack, h_0, x)


def test_rnn_packed_ignores_batch_first_and_its_padding():
    rnn = rnn_of(batch_first=True, bidirectional=True)
    x = normal(B, T, M, dtype=F64)
    lengths = [2, 7, 1, 5]
    noisy = x.clone()
    for row, length in enumerate(lengths):
        noisy[row, length:] = math.nan
    pack = {"batch_first": True, "enforce_sorted": False}
    got, h_n = rnn(pack_padded_sequence(noisy, lengths, **pack))
    wanted, wanted_h_n = rnn(pack_padded_sequence(x, lengths, **pack))
    assert torch.equal(got.data, wanted.data)
    assert torch.equal(h_n, wanted_h_n)


@pytest.mark.parametrize(("scheme", "options"), CASES)
def test_rnn_packed_equals_each_sequence_alone(scheme, options):
    """For complex states too, which nn.RNN does not have; and with a learned start."""
    rnn = rnn_of(scheme, "modrelu", num_layers=2, bidirectional=True, learn_h0=True, **options)
    sequences = [normal(length, M, dtype=F64, seed=length) for length in (2, 7, 4)]
    output, h_n = rnn(pack_sequence(sequences, enforce_sorted=False))
    # Sorted by length 7, 4, 2; step t holds the sequences longer than t, one row each.
    assert output.batch_sizes.tolist() == [3, 3, 2, 2, 1, 1, 1]
    assert output.sorted_indices.tolist() == [1, 2, 0]
    steps = output.data.split(output.batch_sizes.tolist())
    for i, x in enumerate(sequences):
        alone, last = rnn(x)
        row = output.unsorted_indices[i]
        assert_near(torch.stack([step[row] for step in steps[: len(x)]]), alone, 2)
        assert_near(h_n[:, i], last, 2)
    rnn.return_sequence = False
    none, same = rnn(pack_sequence(sequences, enforce_sorted=False))
    assert none is None
    assert torch.equal(same, h_n)
    # The gradients of the batch are those of the sequences, summed.
    rnn.return_sequence = True
    parameters = learned(rnn)
    together = torch.autograd.grad(output.data.abs().square().sum(), parameters)
    apart = [torch.autograd.grad(rnn(x)[0].abs().square().sum(), parameters) for x in sequences]
    for got, *parts in zip(together, *apart, strict=True):
        assert_near(got, sum(parts), 3)


def test_rnn_has_the_shapes_of_torch_for_an_empty_batch():
    rnn = rnn_of(num_layers=2, bidirectional=True)
    x = torch.zeros(T, 0, M, dtype=F64)
    for got, wanted in zip(rnn(x), same_torch_layer(rnn)(x), strict=True):
        assert got.shape == wanted.shape
