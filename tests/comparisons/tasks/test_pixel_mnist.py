"""The properties of both tasks of images, and the order of the plain one."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comparisons.data import DataError, images
from comparisons.plan import PlanError, plan
from comparisons.tasks.permuted_mnist import PermutedMNIST
from comparisons.tasks.pixel_mnist import PixelMNIST

tasks = pytest.mark.parametrize("task", [PixelMNIST, PermutedMNIST])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


on_digits = functools.cache(lambda task: task(64))  # the images are read once


def pictures(batch) -> list[tuple]:
    """Each sequence of a batch with its class, to be counted."""
    rows = batch.inputs[:, :, 0].T.tolist()
    return [(*row, label) for row, label in zip(rows, batch.targets.tolist(), strict=True)]


def test_pixel_order_is_row_by_row():
    train, _ = images.digits()
    task = PixelMNIST(64)
    batch = next(task.train_batches(len(train.labels), generator(0)))
    ours = sorted(pictures(batch))
    # bytes over 16 are exact in float32
    rows = (train.pixels.double() / 16).tolist()
    assert ours == sorted((*row, k) for row, k in zip(rows, train.labels.tolist(), strict=True))


@tasks
@given(size=st.sampled_from([1, 3, 33, 128, 2000]), seed=st.integers(0, 2**32))
def test_image_batches_have_sequence_shape(task, size, seed):
    batch = next(on_digits(task).train_batches(size, generator(seed)))
    count = min(size, 1438)
    assert batch.inputs.shape == (64, count, 1)
    assert batch.inputs.dtype == torch.float32
    assert batch.targets.shape == (count,)
    assert batch.inputs.min() >= 0
    assert batch.inputs.max() <= 1
    assert not batch.continues


@tasks
def test_image_epoch_contains_every_image_once_in_new_order(task):
    batches = task(64).train_batches(100, generator(3))
    epochs = [[*itertools.islice(batches, 15)] for _ in range(2)]
    for epoch in epochs:
        assert [len(batch.targets) for batch in epoch] == [100] * 14 + [38]
    first, second = ([row for batch in epoch for row in pictures(batch)] for epoch in epochs)
    assert first != second
    assert sorted(first) == sorted(second)
    assert len({*first}) > 1430  # a few of the images are equal


@tasks
def test_image_test_set_size(task):
    whole = [*task(64).test_batches(100, 5000, generator(0))]
    assert [len(batch.targets) for batch in whole] == [100, 100, 100, 59]
    some = [*task(64).test_batches(100, 150, generator(0))]
    assert [len(batch.targets) for batch in some] == [100, 50]
    everything = {row for batch in whole for row in pictures(batch)}
    assert {row for batch in some for row in pictures(batch)} < everything
    _, test = images.digits()
    rows = (test.pixels[:, task(64).order].double() / 16).tolist()
    assert everything == {(*row, k) for row, k in zip(rows, test.labels.tolist(), strict=True)}


def test_image_test_subset_is_drawn_from_whole_set():
    test = images.digits()[1]
    batches = PixelMNIST(64).test_batches(9, 36, generator(1))
    drawn = {row for batch in batches for row in pictures(batch)}
    first = (test.pixels[:36].double() / 16).tolist()
    shared = drawn & {(*row, k) for row, k in zip(first, test.labels[:36].tolist(), strict=True)}
    # of 36 drawn out of 359, 3.6 are among the first 36; 20 of them never are
    assert len(shared) < 20


@tasks
def test_image_baseline_is_loss_of_best_constant_guess(task):
    task = task(64)
    (batch,) = task.test_batches(359, 359, generator(0))
    shares = torch.bincount(batch.targets, minlength=10) / 359
    loss = task.loss(shares.log().expand(359, 10), batch.targets).item()
    assert loss == pytest.approx(task.baseline, rel=1e-6)  # float32 means
    # ten nearly equal classes: just under ln 10
    assert math.log(10) - 1e-3 < task.baseline < math.log(10)


def test_image_accuracy_counts_images():
    outputs = torch.nn.functional.one_hot(torch.tensor([1, 2, 3, 3]), 10).float()
    assert PixelMNIST(64).accuracy(outputs, torch.tensor([1, 2, 0, 3])).item() == 0.75


@tasks
def test_image_batches_of_mnist_have_784_steps(task, small_mnist):
    task = task(784, "mnist")
    assert task.data == "MNIST, 28 x 28: 30 training and 12 test images"
    batches = [*task.test_batches(5, 100, generator(0))]
    assert [batch.inputs.shape for batch in batches] == [(784, 5, 1), (784, 5, 1), (784, 2, 1)]
    pixels = small_mnist[f"t10k-{images.IMAGES}"].reshape(12, 784)[:, task.order]
    labels = small_mnist[f"t10k-{images.LABELS}"]
    ours = np.array(sorted(row for batch in batches for row in pictures(batch)))
    # one division in float32
    expected = np.array(sorted((*row, k) for row, k in zip(pixels / 255, labels, strict=True)))
    np.testing.assert_allclose(ours, expected, rtol=2**-23)


@tasks
@pytest.mark.parametrize(("length", "variant"), [(784, "digits"), (64, "mnist"), (100, "")])
def test_image_length_error_names_fitting_length(task, length, variant):
    fits = "784" if variant == "mnist" else "64"
    with pytest.raises(ValueError, match=f"{fits} steps .*, got {length}; choose {fits}"):
        task(length, variant)


def test_image_data_are_read_lazily(monkeypatch):
    monkeypatch.delenv("UNITARY_ZOO_DATA", raising=False)
    task = PixelMNIST(784, "mnist")
    assert len(task.order) == 784
    with pytest.raises(DataError, match="--data-dir"):
        next(task.train_batches(1, generator(0)))


def test_plan_takes_length_of_data():
    for flags, variant, length in (
        ({}, "digits", 64),
        ({"real_data": True}, "mnist", 784),
        ({"variants": ["mnist"]}, "mnist", 784),
        ({"real_data": True, "variants": ["digits"]}, "digits", 64),
        ({"real_data": True, "lengths": [784]}, "mnist", 784),
    ):
        (run,) = plan("quick", ["pixel_mnist"], ["cayley"], **flags)
        assert (run.variant, run.length) == (variant, length)


def test_plan_refuses_length_unlike_data():
    with pytest.raises(PlanError, match="784 steps with the data of 'mnist', got 64"):
        plan("quick", ["pixel_mnist"], ["cayley"], lengths=[64], real_data=True)


@tasks
def test_image_memoryless_baseline_is_that_of_counted_last_pixels(task):
    task = task(64)
    train, test = images.digits()
    place = int(task.order[-1])
    counts = np.ones((17, 10))
    for pixel, label in zip(train.pixels[:, place].tolist(), train.labels.tolist(), strict=True):
        counts[pixel, label] += 1
    p = counts / counts.sum(1, keepdims=True)
    losses = [
        -math.log(p[pixel, label])
        for pixel, label in zip(test.pixels[:, place].tolist(), test.labels.tolist(), strict=True)
    ]
    assert task.memoryless == pytest.approx(np.mean(losses), rel=1e-12)
    assert task.memoryless < task.baseline - 0.02


def test_image_memoryless_baseline_of_a_black_pixel_is_the_constant_one(small_mnist):
    for part in ("train", "t10k"):
        assert len(small_mnist[f"{part}-{images.LABELS}"])
    task = PixelMNIST(784, "mnist")
    # 30 random images of 256 shades say nothing about 12 others
    assert task.memoryless == task.baseline
