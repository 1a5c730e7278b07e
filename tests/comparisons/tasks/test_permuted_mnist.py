import numpy as np
import pytest
import torch

from comparisons.tasks.permuted_mnist import PermutedMNIST
from comparisons.tasks.pixel_mnist import PixelMNIST


@pytest.mark.parametrize(("length", "variant"), [(64, "digits"), (784, "mnist")])
def test_order_is_published_permutation(length, variant):
    expected = np.random.RandomState(92916).permutation(length)
    task = PermutedMNIST(length, variant)
    np.testing.assert_array_equal(task.order.numpy(), expected)
    assert sorted(task.order.tolist()) == list(range(length))


def test_permuted_batches_are_plain_ones_in_that_order():
    plain, permuted = (
        next(task(64).train_batches(7, torch.Generator().manual_seed(5)))
        for task in (PixelMNIST, PermutedMNIST)
    )
    assert torch.equal(plain.targets, permuted.targets)
    order = np.random.RandomState(92916).permutation(64)
    for t in range(64):
        assert torch.equal(permuted.inputs[t], plain.inputs[order[t]])


def test_order_is_same_for_every_seed():
    orders = [PermutedMNIST(64, seed=seed).order for seed in range(3)]
    assert torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0], orders[2])
