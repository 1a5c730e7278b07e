"""A generic registry of named objects, with suggestions for unknown names and entry points."""

from __future__ import annotations

import difflib
import importlib.metadata
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping name -> object that third parties can extend, with helpful errors.

    Args:
        kind: What the entries are, in the singular ("scheme", "task"); used in messages.
        error: The ``LookupError`` subclass that :meth:`get` raises.
        entry_points: Name of the entry-point group whose members are loaded at the first look-up.
        validate: Called with (name, entry) before an entry is taken; raises if it is unfit.
    """

    def __init__(
        self,
        kind: str,
        *,
        error: type[LookupError] = LookupError,
        entry_points: str | None = None,
        validate: Callable[[str, T], None] | None = None,
    ) -> None:
        self.kind = kind
        self._error = error
        self._group = entry_points
        self._pending = entry_points is not None
        self._validate = validate
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that enters an object under ``name``.

        Raises:
            ValueError: The name is taken (the message names the owner), or it has characters other
                than letters, digits and underscores.
        """
        if not isinstance(name, str) or not re.fullmatch(r"\w+", name, re.ASCII):
            raise ValueError(
                f"{self.kind} name {name!r} must consist of letters, digits and underscores; "
                "choose such a name"
            )

        def enter(entry: T) -> T:
            owner = self._entries.get(name)
            if owner is not None and owner is not entry:
                raise ValueError(
                    f"{self.kind} name {name!r} is already taken by {_describe(owner)}; "
                    f"choose another name for {_describe(entry)}"
                )
            if self._validate is not None:
                self._validate(name, entry)
            self._entries[name] = entry
            return entry

        return enter

    def names(self) -> tuple[str, ...]:
        """Return the registered names, sorted."""
        self._load_entry_points()
        return tuple(sorted(self._entries))

    def get(self, name: str) -> T:
        """Return the entry called ``name``.

        Raises:
            LookupError: There is no such name; the message suggests the nearest names. The error
                is of the subclass given to the constructor.
        """
        if not isinstance(name, str) or name not in self._entries:
            self._load_entry_points()
        if not isinstance(name, str) or name not in self._entries:
            raise self._error(unknown_name(self.kind, name, self._entries))
        return self._entries[name]

    @contextmanager
    def override(self, **entries: T) -> Iterator[None]:
        """Enter or replace entries inside a ``with`` block, for tests.

        When the block ends, the registry is as it was before; registrations inside the block are
        undone too. The entries are not validated.
        """
        before = dict(self._entries)
        self._entries.update(entries)
        try:
            yield
        finally:
            self._entries = before

    def _load_entry_points(self) -> None:
        if not self._pending:
            return
        # Set first: a plug-in may look a name up while it is being imported.
        self._pending = False
        failures = []
        for point in importlib.metadata.entry_points(group=self._group or ""):
            try:
                self.register(point.name)(point.load())
            except Exception as error:
                failures.append(
                    f"{self.kind} {point.name!r} of entry point {point.value!r} failed to load: "
                    f"{type(error).__name__}: {error}"
                )
        # A broken plug-in must neither hide the others nor go unnoticed. The warnings come last,
        # since a filter may turn them into errors.
        for failure in failures:
            warnings.warn(failure, RuntimeWarning, stacklevel=3)


def unknown_name(kind: str, name: object, known: Collection[str]) -> str:
    """Return the message for a name that is not ``known``, with the nearest ones."""
    near = difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(map(repr, near))}?"
    else:
        hint = f"known: {', '.join(sorted(known)) or 'none'}"
    return f"unknown {kind} {name!r}; {hint}"


def _describe(entry: object) -> str:
    return f"{getattr(entry, '__module__', '?')}.{getattr(entry, '__qualname__', repr(entry))}"
