"""What a scan saves for its backward pass, and memory that holds NaN until it is written."""

import math
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def saved_bytes(run: Callable[[], Tensor], given: Iterable[Tensor]) -> tuple[Tensor, int]:
    """The result of ``run``, and the bytes that autograd saves for it beside those of ``given``."""
    known = {t.untyped_storage().data_ptr() for t in given}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda t: t):
        return run(), sum(sizes.values())


def poison(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fill fresh memory with NaN, or True for booleans, from now on; count the allocations."""
    count = [0]

    def poisoned(function):
        def call(*args, **kwargs):
            out = function(*args, **kwargs)
            count[0] += 1
            if out.dtype == torch.uint8:
                # The native kernel's workspace: numbers of such bytes are NaN.
                return out.fill_(255)
            return out.fill_(math.nan if out.is_floating_point() or out.is_complex() else 1)

        return call

    monkeypatch.setattr(torch, "empty", poisoned(torch.empty))
    monkeypatch.setattr(torch, "empty_like", poisoned(torch.empty_like))
    monkeypatch.setattr(Tensor, "new_empty", poisoned(Tensor.new_empty))
    return count
