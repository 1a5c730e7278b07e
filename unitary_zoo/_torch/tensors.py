"""The tensors of a module: which it owns, who sets them, how often they were written."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import FrameType

from torch import Tensor, nn
from torch.nn.utils import parametrize


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """The parameters registered on ``module`` itself, by name; the dictionary is the module's."""
    return module._parameters


def own_tensors(module: nn.Module) -> dict[str, Tensor | None]:
    """The parameters and buffers registered on ``module`` itself, by name."""
    return {**module._buffers, **module._parameters}


def named_parameters(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Yield the parameters of ``module`` and of the modules inside it, with names."""
    # torch's own method takes longer than a pass over a small tensor.
    return module.named_parameters() if module._modules else _given(module._parameters)


def named_tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Yield the parameters, then the buffers, of ``module`` and of those inside it, with names."""
    yield from named_parameters(module)
    yield from module.named_buffers() if module._modules else _given(module._buffers)


def _given(own: Mapping[str, Tensor | None]) -> Iterable[tuple[str, Tensor]]:
    return [(name, x) for name, x in own.items() if x is not None]


def parametrizations_are_cached() -> bool:
    """Whether a ``torch.nn.utils.parametrize.cached()`` block is active."""
    return bool(parametrize._cache_enabled)


class WriteCounter:
    """The number of writes to a tensor; it outlives the tensor and holds none of its memory.

    Writes through ``.data`` are not counted, because torch does not count them.
    """

    def __init__(self, x: Tensor) -> None:
        # An alias shares the version counter of ``x``, and keeps it when it gets other data.
        self._alias = x.detach()
        self._alias.data = x.new_empty(0)
        self._start = x._version

    def count(self) -> int:
        """The number of writes since the construction."""
        return self._alias._version - self._start


def is_swapped_in() -> bool:
    """Whether ``torch.func.functional_call`` is the caller that sets a tensor of a module."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == _SWAPPING:
            return True
        frame = frame.f_back
    return False


_SWAPPING = "torch.nn.utils._named_member_accessor"  # the module in which functional_call does so
