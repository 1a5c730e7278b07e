"""Decide how ``to()``, ``half()`` and the like convert a module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Convert = Callable[[Tensor], Tensor]
"""What ``to()``, ``half()`` and the like do to one tensor."""


class CustomConversion(nn.Module, ABC):
    """A module that decides how ``to()``, ``half()`` and the like convert its tensors."""

    @abstractmethod
    def _convert(self, convert: Convert, convert_tensors: Callable[[Convert], None]) -> None:
        """Convert the module.

        Args:
            convert: What was asked for.
            convert_tensors: Takes a conversion and applies it to all parameters and buffers.
        """

    def _apply(self, fn: Convert, recurse: bool = True) -> Any:
        apply = super()._apply
        self._convert(fn, lambda convert: apply(convert, recurse))
        return self
