"""The server that workers are forked from."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path

import torch

from unitary_zoo._torch import COMPILER

ROOT = Path(__file__).resolve().parents[3]
"""The folder of the packages."""

FOR_TASKS = ("sklearn.datasets",)
"""Modules that some tasks need, which this process has then imported as it prepared them.

Each MB that the server holds makes a fork longer: these are 50 MB, which cost 8 ms a run.
"""

BLOCKED = {signal.SIGINT, signal.SIGTERM}
"""Signals that the server and its workers are born with blocked.

The terminal sends Ctrl-C, and a batch system sends SIGTERM, to all processes; the command alone
decides what comes of it. A worker lets SIGTERM through when it begins.
"""


def worker_context() -> ForkServerContext | SpawnContext:
    """A context that forks from a server with all loaded; fresh processes where it cannot fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preloaded())
    with contextlib.suppress(OSError):
        resource_tracker.ensure_running()  # it would unblock signals if the server started it
    # An error is left to the first worker, which tries again and reports it.
    with _in_folder(ROOT), _blocked(), contextlib.suppress(OSError):
        forkserver.ensure_running()
    return context


def preloaded() -> list[str]:
    """Modules that the server imports once, so that no worker spends time on them again."""
    # Every optimizer imports the compiler. A worker imports the script that was started, and with
    # it whatever this process has imported of ours.
    modules = [COMPILER, *(name for name in FOR_TASKS if name in sys.modules)]
    modules += sorted(name for name in sys.modules if name.startswith("comparisons."))
    # A backward pass asks for the GPUs, after which forked processes could not use them; on macOS
    # the system's linear algebra cannot be used on both sides of a fork.
    warm = sys.platform == "linux" and not torch.cuda.is_available()
    return [*modules, "comparisons.execution.local.warm"] if warm else modules


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off what Ctrl-C and SIGTERM do until the block has ended.

    Else a worker whose start is interrupted would be known to nobody, and train on.
    """
    numbers = sorted(BLOCKED)
    handlers = {number: signal.getsignal(number) for number in numbers}
    if threading.current_thread() is not threading.main_thread() or None in handlers.values():
        yield  # only the main thread is interrupted, and a handler that is not Python's stays
        return
    came: list[int] = []
    try:
        for number in numbers:
            # No mask of this thread, for then another thread would take the signal.
            signal.signal(number, lambda which, frame: came.append(which))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """Work in the folder: the server imports from there first, and must find this package."""
    before = Path.cwd()
    with contextlib.suppress(OSError):  # without it, workers import for themselves
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
