"""What to say of a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The message of an error: the nearest of the known names or, if none is near, all of them."""
    known = list(known)
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(map(repr, near))}?"
        if near
        else f"known: {', '.join(sorted(known)) or 'none'}"
    )
    return f"unknown {kind} {name!r}; {hint}"
