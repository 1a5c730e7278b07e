"""The data behind the tasks: real data from a folder, and data that other software brings."""

from __future__ import annotations


class DataError(ValueError):
    """Data are missing or damaged; the message says which file, and where to get it."""
