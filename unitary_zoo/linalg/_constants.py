"""Constant tensors that are kept between calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch

from unitary_zoo._torch import is_traced, is_transformed, is_watched

T = TypeVar("T")


def kept_on_cpu(make: Callable[..., T]) -> Callable[..., T]:
    """Keep what ``make(*arguments, device)`` returns, tensors of a few kinds, for the CPU.

    Making an index or a table of coefficients takes as long there as a small product. On a GPU
    tensors would be kept beyond their stream or their captured graph, so they are made anew.

    Args:
        make: Takes hashable arguments and, last, a device; returns tensors that nobody changes.
    """

    @functools.lru_cache(maxsize=16)
    def kept(*arguments: object) -> T:
        with torch.inference_mode(False):  # tensors of that mode take part in no backward pass
            return make(*arguments)

    def found(*arguments: object) -> T:
        # While operators are recorded, transformed or watched, a new tensor may be no plain one.
        device = arguments[-1]
        assert isinstance(device, torch.device)
        if device.type != "cpu" or is_traced() or is_transformed() or is_watched():
            return make(*arguments)
        return kept(*arguments)

    return found
