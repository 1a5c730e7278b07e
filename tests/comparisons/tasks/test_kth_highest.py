import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from comparisons.tasks.kth_highest import KthHighest, third_largest


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.sampled_from([3, 7, 17, 33]), st.integers(1, 12), st.integers(0, 2**32))
def test_kth_highest_target_is_third_largest_number(length, size, seed):
    inputs, targets = KthHighest(length).batch(size, generator(seed))
    assert inputs.shape == (length, size, length)
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs.sum(-1), torch.ones(length, size))  # one-hot
    assert torch.equal(inputs.max(-1).values, torch.ones(length, size))
    numbers = inputs.argmax(-1).numpy()
    np.testing.assert_array_equal(targets.numpy(), np.sort(numbers, axis=0)[-3])


@pytest.mark.parametrize(
    ("numbers", "answer"),
    [
        ([5, 7, 9, 53, 99, 98, 2, 100], 98),  # the authors' example
        ([5, 7, 8, 1, 4, 8, 2, 5], 7),  # that of the docstring
        ([9, 9, 7], 7),
        ([4, 4, 4, 1], 4),
    ],
)
def test_third_largest_counts_equal_numbers_separately(numbers, answer):
    assert third_largest(torch.tensor(numbers)[:, None]).tolist() == [answer]


@pytest.mark.parametrize("length", [3, 4, 5])
def test_probabilities_equal_those_of_all_sequences(length):
    every = itertools.product(range(1, length + 1), repeat=length)
    answers = [sorted(sequence)[-3] for sequence in every]
    counts = np.bincount(answers, minlength=length + 1)[1:]
    # binomials of exact integers, so a few roundings at most
    np.testing.assert_allclose(
        KthHighest(length).probabilities(), counts / length**length, rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("length", [7, 33, 100, 400])
def test_probabilities_equal_scipys(length):
    m = np.arange(length + 1)
    at_most = binom.cdf(2, length, 1 - m / length)  # at most two integers above m
    at_most[0] = 0.0
    # scipy's incomplete beta function is good to some 1e-14
    np.testing.assert_allclose(
        KthHighest(length).probabilities(), np.diff(at_most), rtol=0, atol=1e-12
    )


def test_kth_highest_baseline_is_loss_of_best_constant_guess():
    task, size = KthHighest(30), 20_000
    p = torch.tensor(task.probabilities(), dtype=torch.float64)
    numbers = torch.randint(1, 31, (30, size), generator=generator(2))
    targets = third_largest(numbers) - 1
    surprise = -p.log()
    loss = task.loss(p.log().expand(size, 30), targets).item()
    deviation = math.sqrt(float((p * surprise**2).sum() - (p * surprise).sum() ** 2) / size)
    assert loss == pytest.approx(task.baseline, abs=5 * deviation)


@pytest.mark.parametrize("length", [50, 100, 200, 400])
def test_kth_highest_constant_guess_is_as_good_at_all_lengths(length):
    task = KthHighest(length)
    assert 1.83 < task.baseline < 1.88  # what the docstring says
    assert 0.25 < max(task.probabilities()) < 0.265


def test_kth_highest_refuses_length_below_three():
    with pytest.raises(ValueError, match="at least 3"):
        KthHighest(2)


@pytest.mark.parametrize("length", [3, 4, 5])
def test_kth_highest_memoryless_baseline_equals_that_of_all_sequences(length):
    counts = np.zeros((length, length))
    for sequence in itertools.product(range(length), repeat=length):
        counts[sequence[-1], sorted(sequence)[-3]] += 1
    p = counts / length**length
    given = p / p.sum(1, keepdims=True)
    entropy = -sum(q * math.log(g) for q, g in zip(p.flat, given.flat, strict=True) if q)
    # some hundred roundings of numbers up to 1
    assert KthHighest(length).memoryless == pytest.approx(entropy, abs=1e-13)


@pytest.mark.parametrize(("length", "saved"), [(20, 0.0403), (100, 0.0083), (400, 0.0021)])
def test_kth_highest_last_integer_saves_little(length, saved):
    task = KthHighest(length)
    assert task.baseline - task.memoryless == pytest.approx(saved, abs=5e-5)
