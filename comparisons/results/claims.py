"""Claims of runs, so that two commands on one folder do not train the same run twice."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock

from comparisons.output import write_file

WAIT_SECONDS = 60.0
"""Time to wait while other commands make their claims, which takes each a moment."""


class ClaimError(RuntimeError):
    """Runs cannot be claimed in a folder; the message says why."""


@contextlib.contextmanager
def claimed(folder: Path, ids: Iterable[str]) -> Iterator[frozenset[str]]:
    """Claim runs until the block ends; yield the ids of those that another command holds.

    Each command writes its ids to ``claims/<name>.json`` and locks ``claims/<name>.lock``. The
    operating system releases the lock when the process ends, however it ends, so the claims of a
    dead command count for nothing, and the next command deletes them. On a network file system
    this holds as far as its locks do: on NFS, between machines of which each supports locks there.

    Raises:
        ClaimError: Locks are not supported in the folder, or other commands do not let go of them.
    """
    place = folder / "claims"
    name = f"{os.getpid()}-{secrets.token_hex(8)}"  # no two are equal, on whatever machines
    claim, lock = place / f"{name}.json", place / f"{name}.lock"
    own = filelock.FileLock(lock)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(place / "all.lock", timeout=WAIT_SECONDS):
            held = frozenset(ids) & _held(place)
            own.acquire()
            write_file(claim, json.dumps(sorted(frozenset(ids) - held)))
    except (OSError, NotImplementedError) as error:
        own.release()
        raise ClaimError(f"{type(error).__name__}: {error}") from error
    try:
        yield held
    finally:
        with contextlib.suppress(OSError):  # the next command deletes what stays
            claim.unlink(missing_ok=True)
            own.release()
            lock.unlink(missing_ok=True)


def _held(place: Path) -> frozenset[str]:
    """The ids that living commands hold; what dead ones left behind is deleted."""
    held: set[str] = set()
    for claim in sorted(place.glob("*.json")):
        lock = claim.with_suffix(".lock")
        try:
            with filelock.FileLock(lock, timeout=0):
                claim.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
        except filelock.Timeout:
            with contextlib.suppress(OSError, ValueError):  # released this moment
                held.update(json.loads(claim.read_text(encoding="utf-8")))
    return frozenset(held)
