import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comparisons.tasks.copying import Copying

lengths = st.integers(2, 60)
sizes = st.integers(1, 12)
seeds = st.integers(0, 2**32)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(lengths, sizes, seeds)
def test_copying_has_the_canonical_layout(length, size, seed):
    inputs, targets = Copying(length).batch(size, generator(seed))
    assert inputs.shape == (length + 20, size, 10)
    assert targets.shape == (length + 20, size)
    assert torch.equal(inputs.sum(-1), torch.ones(length + 20, size))  # one-hot
    symbols = inputs.argmax(-1)
    data = symbols[:10]
    assert ((data >= 1) & (data <= 8)).all()
    assert (symbols[10 : length + 9] == 0).all()  # T - 1 blanks
    assert (symbols[length + 9] == 9).all()  # the delimiter, at index T + 9
    assert (symbols[length + 10 :] == 0).all()  # 10 blanks
    assert (targets[: length + 10] == 0).all()
    assert torch.equal(targets[length + 10 :], data)


@pytest.mark.parametrize(
    ("length", "baseline"),
    [
        (100, 0.173287),
        (200, 0.094520),
        (300, 0.064983),
        (500, 0.039989),
        (1000, 0.020387),
        (2000, 0.010294),
    ],
)
def test_copying_baseline_is_the_published_one(length, baseline):
    assert Copying(length).baseline == pytest.approx(baseline, abs=5e-7)


def test_copying_baseline_is_loss_of_best_memoryless_predictor():
    task = Copying(30)
    targets = task.batch(500, generator(1))[1]
    outputs = torch.full((50, 500, 9), -1e4)
    outputs[:40, :, 0] = 1e4  # blanks for certain
    outputs[40:, :, 1:] = 0.0  # then a uniform guess
    # the loss does not depend on the data drawn: every symbol costs ln 8
    assert task.loss(outputs, targets).item() == pytest.approx(task.baseline, rel=1e-5)
    # no other constant guess is better: the symbols are uniform, and Monte-Carlo agrees
    counts = torch.bincount(targets[40:].flatten(), minlength=9)[1:] / 5000
    entropy = -(counts * counts.log()).sum().item()
    # the empirical entropy of N draws of 8 symbols is below ln 8 by about 7 / (2 N)
    assert entropy == pytest.approx(math.log(8), abs=20 / (2 * 5000))


def test_copying_accuracy_counts_the_recalled_symbols_alone():
    task = Copying(12)
    targets = task.batch(6, generator(0))[1]
    blanks = torch.zeros(32, 6, 9)
    blanks[..., 0] = 1.0
    assert task.accuracy(blanks, targets).item() == 0.0
