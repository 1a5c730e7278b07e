import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comparisons.tasks import TASKS
from comparisons.tasks.adding import Adding
from comparisons.tasks.copying import Copying

lengths = st.integers(2, 60)
sizes = st.integers(1, 12)
LENGTHS = {"pixel_mnist": 64, "permuted_mnist": 64}  # an image has as many steps as pixels
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


def test_copying_baseline_is_what_the_best_memoryless_predictor_pays():
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


def test_adding_baseline_is_what_the_best_constant_pays():
    task = Adding(20)
    targets = task.batch(200_000, generator(3))[1]
    loss = task.loss(torch.ones_like(targets), targets).item()
    # (s - 1)^2 of a sum of two uniforms has variance 1/15 - 1/36: 0.197^2
    assert loss == pytest.approx(task.baseline, abs=5 * 0.197 / math.sqrt(200_000))
    best = task.loss(targets.mean().expand_as(targets), targets).item()
    assert best == pytest.approx(loss, abs=1e-4)


@pytest.mark.parametrize("name", TASKS.names())
def test_data_are_reproducible_and_fresh(name):
    task = TASKS.get(name)(LENGTHS.get(name, 12))
    batches = task.train_batches(5, generator(7))
    first, second = next(batches), next(batches)
    again = next(task.train_batches(5, generator(7)))
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.inputs, second.inputs)


@pytest.mark.parametrize("name", TASKS.names())
def test_a_test_set_is_the_same_every_time_and_as_large_as_asked(name):
    task = TASKS.get(name)(LENGTHS.get(name, 12))
    once, again = ([*task.test_batches(5, 12, generator(7))] for _ in range(2))
    for a, b in zip(once, again, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)
    if not once[-1].continues:  # a text is one sequence, cut into batches
        assert [batch.inputs.shape[1] for batch in once] == [5, 5, 2]


@pytest.mark.parametrize("name", TASKS.names())
def test_the_right_answer_scores_in_full(name):
    task = TASKS.get(name)(LENGTHS.get(name, 12))
    targets = next(task.train_batches(6, generator(0))).targets
    outputs = targets
    if not targets.is_floating_point():
        outputs = 50.0 * torch.nn.functional.one_hot(targets, task.output_size).float()
    assert task.loss(outputs, targets).item() < 1e-6
    assert task.accuracy(outputs, targets).item() == 1.0


def test_copying_accuracy_counts_the_recalled_symbols_alone():
    task = Copying(12)
    targets = task.batch(6, generator(0))[1]
    blanks = torch.zeros(32, 6, 9)
    blanks[..., 0] = 1.0
    assert task.accuracy(blanks, targets).item() == 0.0


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_states_what_it_is(name):
    task = TASKS.get(name)
    assert task.name == name
    assert task.title
    assert task.baseline_formula
    with pytest.raises(ValueError, match="longer"):
        task(task.shortest - 1)


def test_an_unknown_task_suggests_the_nearest():
    with pytest.raises(LookupError, match="copying"):
        TASKS.get("copyng")
