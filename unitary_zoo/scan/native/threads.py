"""Run calls on Python threads, as many as ``torch.get_num_threads()`` allows.

They take the place of PyTorch's own threads where these cannot be used, as in a forked child.
The calls must release the interpreter lock. One pool serves all callers of a process, so that
several callers at once have no more helpers than one. When a caller has finished its own slice it
runs those that no helper has started yet, so that nobody waits for a busy pool.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_size = 0


def run(calls: Sequence[Callable[[], None]]) -> None:
    """Run all calls, the first one in this thread, and return when all have ended."""
    first, *others = (_Once(call) for call in calls)
    helpers = min(len(others), torch.get_num_threads() - 1)
    futures = _submit(others, helpers) if helpers else []
    try:
        first()
        for call in reversed(others):
            call()  # does nothing if a helper has started it
        for future in futures:
            if not future.cancel():
                future.result()
    finally:
        # Also after an error or an interrupt, since the caller frees the memory of the calls.
        wait([future for future in futures if not future.cancel()])


class _Once:
    """A call that only the first of several threads makes."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call, self._taken = call, threading.Lock()

    def __call__(self) -> None:
        if self._taken.acquire(blocking=False):
            self._call()


def _submit(calls: list[_Once], helpers: int) -> list[Future[None]]:
    global _pool, _size
    futures: list[Future[None]] = []
    with _lock:
        if _pool is None or _size < helpers:
            if _pool is not None:
                _pool.shutdown(wait=False)
            _pool, _size = ThreadPoolExecutor(helpers, "unitary_zoo.scan"), helpers
        # If no thread can be started, or the interpreter is shutting down, the caller runs all.
        with contextlib.suppress(RuntimeError):
            futures.extend(_pool.submit(call) for call in calls)
    return futures


def _after_fork() -> None:
    """Forget the pool in a forked child, which has none of its threads."""
    global _lock, _pool, _size
    _lock, _pool, _size = threading.Lock(), None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
