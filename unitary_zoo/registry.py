"""A small generic registry: register / names / get, with suggestions and entry points."""

from __future__ import annotations

import difflib
import importlib.metadata
import re
import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping name -> object that third parties can extend and that explains its misses.

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
        """Decorator that enters an object under ``name``.

        Raises:
            ValueError: The name is taken (the message names the owner) or is no plain name.
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
        """The registered names, sorted."""
        self._load_entry_points()
        return tuple(sorted(self._entries))

    def get(self, name: str) -> T:
        """The entry called ``name``.

        Raises:
            LookupError: (the subclass given at construction) No such name; the message suggests
                the nearest names.
        """
        if not isinstance(name, str):
            raise self._error(self._miss(name))
        if name not in self._entries:
            self._load_entry_points()
        if name not in self._entries:
            raise self._error(self._miss(name))
        return self._entries[name]

    def _miss(self, name: object) -> str:
        near = difflib.get_close_matches(str(name).lower(), self._entries, n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(map(repr, near))}?"
            if near
            else (f"known: {', '.join(sorted(self._entries)) or 'none'}")
        )
        return f"unknown {self.kind} {name!r}; {hint}"

    def _load_entry_points(self) -> None:
        if not self._pending:
            return
        # Set first: a plug-in that looks a name up while it is being imported must not recurse.
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
        # One broken plug-in must not take the others down, nor vanish without a word. Last, for
        # where warnings are errors.
        for failure in failures:
            warnings.warn(failure, RuntimeWarning, stacklevel=3)


def _describe(entry: object) -> str:
    return f"{getattr(entry, '__module__', '?')}.{getattr(entry, '__qualname__', repr(entry))}"
