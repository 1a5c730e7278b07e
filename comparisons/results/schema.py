"""Check a record that came from a file against the annotations of its class."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from typing import Any


def check(value: Any, kind: Any, name: str) -> None:
    """Compare a value with its annotation, in depth; numbers have to be finite.

    Args:
        value: The value, perhaps a record.
        kind: The annotation.
        name: Name of the value in messages.

    Raises:
        TypeError: The value, or one in it, is of another type.
        ValueError: A number is infinite or undefined.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return
    if origin in (typing.Union, types.UnionType):
        _check_union(value, kind, name)
    elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
        _require(isinstance(value, kind), value, kind, name)
        for field, own in _hints(kind).items():
            check(getattr(value, field), own, f"{name}.{field}")
    elif origin is tuple:
        _require(isinstance(value, tuple), value, kind, name)
        if arguments[-1] is not Ellipsis:
            _require(len(value) == len(arguments), value, kind, name)
        else:
            arguments = (arguments[0],) * len(value)
        for place, (item, own) in enumerate(zip(value, arguments, strict=True)):
            check(item, own, f"{name}[{place}]")
    elif origin is dict:
        _require(isinstance(value, dict), value, kind, name)
        for key, item in value.items():
            check(key, arguments[0], f"{name}: {key!r}")
            check(item, arguments[1], f"{name}[{key!r}]")
    elif kind is float:
        _require(isinstance(value, (int, float)), value, kind, name)
        _require(not isinstance(value, bool), value, kind, name)
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}, which is not finite")
    else:
        _require(isinstance(value, kind), value, kind, name)
        _require(kind is bool or not isinstance(value, bool), value, kind, name)


def _check_union(value: Any, kind: Any, name: str) -> None:
    """Try one alternative after the other; the message of the last one is raised."""
    *others, last = sorted(typing.get_args(kind), key=lambda own: own is not type(None))
    for own in others:
        try:
            return check(value, own, name)
        except (TypeError, ValueError):
            pass
    check(value, last, name)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """The annotations of a record's fields."""
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def _require(right: bool, value: Any, kind: Any, name: str) -> None:
    if not right:
        expected = kind.__name__ if isinstance(kind, type) else str(kind)
        text = repr(value)
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise TypeError(f"{name} is {shown}, which is no {expected}")
