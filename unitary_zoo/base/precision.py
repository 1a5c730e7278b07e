"""Unitary buffers under ``.to()`` and ``load_state_dict``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo._torch import Convert, CustomConversion, LoadingHook


def promoted(x: Tensor) -> Tensor:
    """Return ``x`` in the precision of the computation: float32 or better."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class UnitaryBuffers(CustomConversion, LoadingHook, ABC):
    """A module with constant unitary factors that stay unitary when their precision changes.

    ``_unitary_buffers`` names the buffers and frozen parameters. They are kept as real parts, since
    distributed backends fail on complex buffers. One that comes from another precision, by
    ``.to()`` or by ``load_state_dict``, is replaced by its polar factor in float32 or better.
    """

    _unitary_buffers: tuple[str, ...] = ()

    @property
    @abstractmethod
    def field(self) -> str:
        """The field of the factors: "real" or "complex"."""

    def _convert(self, convert: Convert, convert_tensors: Callable[[Convert], None]) -> None:
        held = ((name, getattr(self, name)) for name in self._unitary_buffers)
        before = {name: x.dtype for name, x in held if x is not None}
        convert_tensors(convert)
        for name, dtype in before.items():
            if getattr(self, name).dtype != dtype:
                self._restore_unitary(name)

    def _after_loading(self, state: Mapping[str, Any], prefix: str, errors: list[str]) -> None:
        for name in self._unitary_buffers:
            given, buffer = state.get(prefix + name), getattr(self, name)
            if isinstance(given, Tensor) and buffer is not None and given.dtype != buffer.dtype:
                self._restore_unitary(name)

    def _restore_unitary(self, name: str) -> None:
        stored = getattr(self, name).detach()
        w = linalg.polar(linalg.from_real_parts(promoted(stored), self.field))
        # The tensor stays the same object, because it may be a parameter.
        getattr(self, name).data = linalg.view_as_real_parts(w)
