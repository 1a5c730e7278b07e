"""Read a file that a user wrote, in YAML or in Python, as plain data."""

from __future__ import annotations

import re
import runpy
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from unitary_zoo.registry import unknown_name


class FileError(ValueError):
    """A file cannot be understood; the message names the file, the key and the remedy."""


_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
"""Numbers such as 1e-3, which YAML 1.1 takes for text, since they have no point."""


def read_data(path: Path, name: str) -> dict[str, Any]:
    """The mapping in a YAML file, or the one of that name in a Python file, which is run.

    Raises:
        FileError: The file cannot be read, or holds something else.
    """
    try:
        if path.suffix == ".py":
            found = runpy.run_path(str(path))
            if name not in found:
                raise FileError(f"{path} defines no {name}; let it define {name} = {{...}}")
            data = found[name]
        else:
            data = _with_numbers(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileError:
        raise
    except Exception as error:  # whatever a Python file raises
        reason = " ".join(str(error).split())
        raise FileError(f"{path} cannot be read ({type(error).__name__}: {reason})") from None
    if not isinstance(data, Mapping):
        raise FileError(f"{path} holds no mapping of names to values; docs/grids.md shows one")
    return dict(data)


def _with_numbers(data: Any) -> Any:
    """The data with numbers in place of texts that people mean as such."""
    if isinstance(data, dict):
        return {key: _with_numbers(value) for key, value in data.items()}
    if isinstance(data, list):
        return list(map(_with_numbers, data))
    return float(data) if isinstance(data, str) and _EXPONENT.fullmatch(data) else data


class Entries:
    """A mapping in a file, whose keys are asked for by type; errors name the file and the key.

    Args:
        place: File and key in messages.
        data: The mapping.
        known: The keys that it may have; None allows all.

    Raises:
        FileError: It is no mapping, or has a key that is not known.
    """

    def __init__(self, place: str, data: object, known: Collection[str] | None = None) -> None:
        if not isinstance(data, Mapping):
            raise FileError(f"{place} is {data!r}; give a mapping of names to values")
        self.place, self._data = place, data
        for key in data:
            if known is not None and key not in known:
                raise FileError(f"{place}: {unknown_name('key', key, known)}")

    def __contains__(self, key: str) -> bool:
        return self._data.get(key) is not None

    def items(self) -> list[tuple[str, Any]]:
        """The keys and their values."""
        return [(str(key), value) for key, value in self._data.items()]

    def get(self, key: str, kind: type | tuple[type, ...], words: str, default: Any = None) -> Any:
        """The value of a key; ``words`` say what it has to be."""
        value = self._data.get(key, default)
        fits = isinstance(value, kind) and not isinstance(value, bool)
        if not (fits or value is default):
            raise FileError(f"{self.place}: {key} is {value!r}; give {words}")
        return value

    def several(self, key: str, kind: type, words: str) -> tuple[Any, ...]:
        """The values of a list; a single one may stand without brackets."""
        value = self._data.get(key)
        values = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
        for item in values:
            if not isinstance(item, kind) or isinstance(item, bool):
                raise FileError(f"{self.place}: {key} has {item!r}; give {words}")
        return tuple(values)

    def flag(self, key: str, default: bool) -> bool:
        """The value of a key that is true or false."""
        value = self._data.get(key, default)
        if not isinstance(value, bool):
            raise FileError(f"{self.place}: {key} is {value!r}; give true or false")
        return value
