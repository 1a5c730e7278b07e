"""Output that outlives a full disk and a narrow encoding: whole files, and standard output."""

from __future__ import annotations

import errno
import io
import os
import sys
import tempfile
from pathlib import Path

PROBE_BYTES = 1 << 16
"""Size of the file that a check of a folder writes and deletes: a result is seldom larger."""


def write_file(path: Path, content: str | bytes) -> None:
    """Replace the file in one step: a reader sees the old content or the new, never a part.

    Folders above it are created. A device or a symbolic link is written in place.
    """
    # Words in no known encoding hold lone surrogates, which UTF-8 lacks; JSON reads escapes back.
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_bytes(data)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the new name on old blocks
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Create the folders above a file, and write as much as a file there may take, for a moment.

    Raises:
        OSError: The file could not be written now: something is in the way, or the folder is not
            writable or full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return  # written in place
    with tempfile.TemporaryFile(dir=path.parent) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())


def tolerate_encoding() -> None:
    """Let this process print ``?`` for what standard output cannot encode, where it would raise."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
