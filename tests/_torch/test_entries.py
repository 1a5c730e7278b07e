"""Entries of tensors are read, also under vmap."""

import torch

from unitary_zoo import _torch


def test_max_entry_under_vmap_is_that_of_all_members():
    x = torch.tensor([[1.0, 5.0], [7.0, -9.0]])
    assert _torch.max_entry(x) == 7.0
    found = []
    torch.func.vmap(lambda y: found.append(_torch.max_entry(y)) or y, in_dims=1)(x)
    assert found == [7.0]
    found = []
    torch.func.vmap(lambda y: found.append(_torch.to_lists(y)) or y, in_dims=1)(x)
    assert found == [[[1.0, 5.0], [7.0, -9.0]]]
