"""The signal by which a scheduler asks a process to end."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StoppedError(RuntimeError):
    """A training was asked to end by SIGTERM; it goes on from its checkpoint when run again."""


class TerminationRequest:
    """Notes SIGTERM inside a ``with`` block, instead of ending the process at once.

    Signals can only be taken in the main thread of a process; in any other, and where a handler was
    set outside of Python, they are left alone.

    Attributes:
        received: Whether the signal has come.
    """

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> TerminationRequest:
        self._before = signal.getsignal(signal.SIGTERM)
        main = threading.current_thread() is threading.main_thread()
        self._taken = main and self._before is not None
        if self._taken:
            signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._taken:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
