"""The data behind the tasks: real ones from a folder, and some that come with other software."""

from __future__ import annotations


class DataError(ValueError):
    """Data are missing or damaged; the message says which file, and where to get it."""
