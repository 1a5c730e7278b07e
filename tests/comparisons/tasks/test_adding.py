import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from comparisons.tasks.adding import Adding

lengths = st.integers(2, 60)
sizes = st.integers(1, 12)
seeds = st.integers(0, 2**32)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(lengths, sizes, seeds)
def test_adding_has_one_marker_in_each_half(length, size, seed):
    inputs, targets = Adding(length).batch(size, generator(seed))
    assert inputs.shape == (length, size, 2)
    values, marks = inputs.unbind(-1)
    assert ((values >= 0) & (values < 1)).all()
    assert set(marks.unique().tolist()) <= {0.0, 1.0}
    half = length // 2
    assert torch.equal(marks[:half].sum(0), torch.ones(size))
    assert torch.equal(marks[half:].sum(0), torch.ones(size))
    torch.testing.assert_close(targets, (values * marks).sum(0)[:, None])


def test_adding_places_markers_all_over_their_halves():
    marks = Adding(5).batch(2000, generator(0))[0][..., 1]
    # 2000 draws over two or three places: each is hit 667 or 1000 times, sd below 23
    shares = marks.mean(1)
    expected = torch.tensor([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    assert ((shares - expected).abs() < 5 * 23 / 2000).all()


def test_adding_baseline_is_loss_of_best_constant():
    task = Adding(20)
    targets = task.batch(200_000, generator(3))[1]
    loss = task.loss(torch.ones_like(targets), targets).item()
    # (s - 1)^2 of a sum of two uniforms has variance 1/15 - 1/36: 0.197^2
    assert loss == pytest.approx(task.baseline, abs=5 * 0.197 / math.sqrt(200_000))
    best = task.loss(targets.mean().expand_as(targets), targets).item()
    assert best == pytest.approx(loss, abs=1e-4)


@pytest.mark.parametrize("length", [2, 3, 7, 10])
def test_adding_memoryless_baseline_is_loss_of_best_answer_to_last_input(length):
    task, count = Adding(length), 200_000
    inputs, targets = task.batch(count, generator(4))
    value, mark = inputs[-1].unbind(-1)
    # The other summand is 1/2 in the mean, and so is each of two unknown ones.
    best = torch.where(mark > 0, value + 0.5, torch.ones_like(value))[:, None]
    # squared errors have standard deviations below 0.2, see the test of the baseline
    assert task.loss(best, targets).item() == pytest.approx(
        task.memoryless, abs=5 * 0.2 / math.sqrt(count)
    )


def test_adding_memoryless_baseline_is_what_a_network_without_memory_learns():
    task, draw = Adding(4), generator(5)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(400):
        inputs, targets = task.batch(200, draw)
        optimizer.zero_grad()
        task.loss(model(inputs[-1]), targets).backward()
        optimizer.step()
    count = 200_000
    inputs, targets = task.batch(count, draw)
    with torch.no_grad():
        loss = task.loss(model(inputs[-1]), targets).item()
    error = 5 * 0.2 / math.sqrt(count)
    assert task.baseline - task.memoryless > 10 * error  # 1/24: the two can be told apart
    # It cannot be below, and is above by what 400 steps leave: 2 % of the difference.
    assert task.memoryless - error < loss < task.memoryless + error + 0.02 / 24
