"""Notice of writes into a computed weight, which have no effect.

A write such as ``nn.init.zeros_(layer.weight)`` goes into a tensor that is thrown away, and the
next reading computes the weight anew. The tensor is gone by then, but its count of writes is not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple
from weakref import WeakKeyDictionary, ref

from torch import Tensor, nn

from unitary_zoo._torch import WriteCounter, is_traced, is_transformed


class _Reading(NamedTuple):
    """What is kept of a weight that was read: no memory of its entries."""

    writes: WriteCounter | None
    memory: int
    weight: ref[Tensor]


_expected: ContextVar[bool] = ContextVar("expected", default=False)
_readings: WeakKeyDictionary[nn.Module, _Reading] = WeakKeyDictionary()


def remember(parametrization: nn.Module, weight: Tensor) -> None:
    """Count the writes to a weight from its reading on."""
    # Tensors that are traced or transformed may be written to by the tracer; those of inference
    # mode do not count.
    uncounted = is_traced() or is_transformed() or weight.is_inference()
    writes = None if uncounted else WriteCounter(weight)
    memory = 0 if uncounted else weight.untyped_storage().data_ptr()
    _readings[parametrization] = _Reading(writes, memory, ref(weight))


def forget(parametrization: nn.Module) -> None:
    """Say nothing of what was written to the weight up to now."""
    _readings.pop(parametrization, None)


@contextmanager
def writes_expected(parametrizations: Iterable[nn.Module]) -> Iterator[None]:
    """Return a context in which writes to these weights are nothing to say."""
    token = _expected.set(True)
    try:
        yield
    finally:
        _expected.reset(token)
        for parametrization in parametrizations:
            forget(parametrization)


def last_read(parametrization: nn.Module) -> Tensor | None:
    """Return the weight as it was read last, if that tensor is still in use."""
    reading = _readings.get(parametrization)
    return None if reading is None else reading.weight()


def warn_if_written(parametrization: nn.Module, name: str) -> bool:
    """Warn if there were writes to the weight since its last reading; return whether it did."""
    reading = _readings.get(parametrization)
    if reading is None or reading.writes is None or reading.writes.count() == 0:
        return False
    forget(parametrization)
    if _expected.get():
        return False
    tensors = [*parametrization.parameters(), *parametrization.buffers()]
    if any(x.untyped_storage().data_ptr() == reading.memory for x in tensors):
        return False  # it is a view of a parameter or a buffer, which may change
    warnings.warn(
        f"{name} was written to in place (by torch.nn.init, copy_, mul_, ...), which has no effect "
        "on the layer, because the weight is computed at every reading; to set it, assign: "
        f"layer.{name} = X; to change a copy, take layer.{name}.clone()",
        stacklevel=3,
    )
    return True
