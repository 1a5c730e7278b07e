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

    ``_unitary_buffers`` names the buffers. They are kept as real parts, since distributed
    backends fail on complex buffers. A buffer that comes from another precision, by ``.to()`` or by
    ``load_state_dict``, is replaced by its polar factor in float32 or better.
    """

    _unitary_buffers: tuple[str, ...] = ()

    @property
    @abstractmethod
    def field(self) -> str:
        """The field of the factors: "real" or "complex"."""

    def _convert(self, convert: Convert, convert_tensors: Callable[[Convert], None]) -> None:
        before = {name: getattr(self, name) for name in self._unitary_buffers}
        convert_tensors(convert)
        for name in self._unitary_buffers:
            old, new = before[name], getattr(self, name)
            if old is not None and new is not None and old.dtype != new.dtype:
                self._restore_unitary(name)

    def _after_loading(self, state: Mapping[str, Any], prefix: str, errors: list[str]) -> None:
        for name in self._unitary_buffers:
            given, buffer = state.get(prefix + name), getattr(self, name)
            if isinstance(given, Tensor) and buffer is not None and given.dtype != buffer.dtype:
                self._restore_unitary(name)

    def _restore_unitary(self, name: str) -> None:
        factor = linalg.from_real_parts(promoted(getattr(self, name)), self.field)
        setattr(self, name, linalg.view_as_real_parts(linalg.polar(factor)))
