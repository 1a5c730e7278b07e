"""PyTorch's own threads, which the slices run on: the OpenMP runtime that torch has loaded.

PyTorch's threads spin for some milliseconds after each of its operations, so that threads of our
own would wait for a core meanwhile. The kernel receives the addresses of the functions that start
a team of the same runtime; nothing is linked.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

# What code from GCC calls, and what code from Clang and Intel calls. The runtimes of LLVM and Intel
# have both.
_GCC = ("GOMP_parallel",)
_LLVM = ("__kmpc_fork_call", "__kmpc_push_num_threads", "__kmpc_global_thread_num")
_BOTH = ("omp_get_thread_num", "omp_get_num_threads")

# A flag of Linux's /proc/self/stat: this process was forked and has begun no other program since.
_FORKED_WITHOUT_EXEC = 0x40


class Team(ctypes.Structure):
    """``uz_team``: how many threads, and the functions that start and tell them."""

    _fields_ = (
        ("threads", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in (*_GCC, *_LLVM, *_BOTH)),
    )


class Runtime(NamedTuple):
    """An OpenMP runtime.

    Attributes:
        name: The function that starts a team.
        addresses: The functions, by name.
    """

    name: str
    addresses: dict[str, int]

    def team(self, threads: int) -> Team:
        """Return the argument that the kernel takes, for so many threads."""
        return Team(threads=threads, **self.addresses)


def runtime() -> Runtime | None:
    """Return the runtime that torch uses in this process, or None if it cannot be used."""
    return None if _is_forked() else _runtime()


def status() -> str:
    """Return which threads the kernel runs on, and why."""
    if _is_forked():
        return "on Python threads, since a forked process lacks those of PyTorch"
    found = _runtime()
    if found is None:
        return "on Python threads, since no OpenMP runtime of PyTorch was found"
    return f"on PyTorch's own threads, by {found.name}"


def _is_forked() -> bool:
    """Whether this process is a forked child.

    The threads of its parent are not there, and libgomp would wait for them for ever.
    """
    return os.getpid() != _process or _was_forked()


_process = os.getpid()


@cache
def _was_forked() -> bool:
    """Whether this process was forked before it imported this module."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return bool(int(fields[6]) & _FORKED_WITHOUT_EXEC)
    except (OSError, ValueError, IndexError):
        return False  # not Linux; the runtimes of other platforms survive a fork


@cache
def _runtime() -> Runtime | None:
    if not torch.backends.openmp.is_available():
        return None
    for library in _libraries():
        for names in (_GCC, _LLVM):
            addresses = _addresses(library, (*names, *_BOTH))
            if addresses and _is_that_of_torch(library):
                return Runtime(names[0], addresses)
    return None


def _libraries() -> Iterator[ctypes.CDLL]:
    """Yield what to search.

    The first is all that is visible, where a preloaded runtime comes before others, as it does for
    torch; the second is torch's library with those that it depends on.
    """
    yield ctypes.CDLL(None)
    suffix = "dylib" if sys.platform == "darwin" else "so"
    path = Path(torch.__file__).with_name("lib") / f"libtorch_cpu.{suffix}"
    if path.exists():
        yield ctypes.CDLL(str(path))


def _addresses(library: ctypes.CDLL, names: tuple[str, ...]) -> dict[str, int] | None:
    found = {}
    for name in names:
        function = getattr(library, name, None)
        if function is None:
            return None
        found[name] = ctypes.cast(function, ctypes.c_void_p).value or 0
    return found


def _is_that_of_torch(library: ctypes.CDLL) -> bool:
    """Whether the runtime has torch's number of threads, which torch keeps in its own."""
    most = getattr(library, "omp_get_max_threads", None)
    return most is not None and most() == torch.get_num_threads()
