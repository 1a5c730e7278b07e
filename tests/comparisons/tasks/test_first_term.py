import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comparisons.tasks.first_term import FirstTerm


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.sampled_from([2, 3, 7, 17, 33]), st.integers(1, 12), st.integers(0, 2**32))
def test_first_term_target_is_first_number(length, size, seed):
    inputs, targets = FirstTerm(length).batch(size, generator(seed))
    assert inputs.shape == (length, size, 100)
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs.sum(-1), torch.ones(length, size))  # one-hot
    assert torch.equal(inputs.max(-1).values, torch.ones(length, size))
    assert torch.equal(inputs[0].argmax(-1), targets)


def test_first_term_numbers_are_uniform_at_every_step():
    steps, size = 3, 20_000
    shares = FirstTerm(steps).batch(size, generator(0))[0].mean(1)
    # a share of N draws of probability 1/100 has the deviation sqrt(p (1 - p) / N); of 300 shares
    # one in 6000 such sets has any beyond 5 of them
    deviation = math.sqrt(0.01 * 0.99 / size)
    assert (shares - 0.01).abs().max() < 5 * deviation


def test_first_term_baseline_is_loss_of_uniform_guess():
    task = FirstTerm(4)
    targets = task.batch(50, generator(1))[1]
    loss = task.loss(torch.zeros(50, 100), targets).item()
    assert loss == pytest.approx(task.baseline, rel=1e-6)  # float32 rounding of a mean of equals
    assert task.baseline == pytest.approx(4.60517, abs=5e-6)


def test_first_term_accuracy_counts_right_answers():
    task = FirstTerm(2)
    targets = torch.tensor([3, 1, 4, 1])
    outputs = torch.nn.functional.one_hot(torch.tensor([3, 1, 4, 2]), 100).float()
    assert task.accuracy(outputs, targets).item() == 0.75
