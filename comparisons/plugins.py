"""Files and modules of the user's own, with schemes, models, tasks, papers or presets.

To load one is to run it: it registers what it brings, as the modules of this project do.
"""

from __future__ import annotations

from collections.abc import Iterable


def load(names: Iterable[str]) -> None:
    """Import the files (``path.py``) and modules, each once in a process."""
    for name in names:
        raise NotImplementedError(f"plug-in {name!r}")
