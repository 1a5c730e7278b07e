"""Which step of an optimizer is the outermost, where one step runs inside another."""

from __future__ import annotations

from types import FrameType


class RunningSteps:
    """The steps that are running, each inside the one before it, by the frames that run them.

    torch runs the hooks of an optimizer around the ``step`` of every class that defines one. So a
    subclass whose ``step`` calls ``super().step()`` runs them twice, and a wrapper runs those of
    its base optimizer inside its own. A counter would not do, because torch runs no hook after a
    step that raised: the next step would count as an inner one for ever.
    """

    def __init__(self) -> None:
        self._frames: list[FrameType] = []

    def enter(self, frame: FrameType | None) -> bool:
        """Note the step that ``frame`` runs; return whether it is the outermost."""
        if frame is None:  # an interpreter without frames
            return True
        while self._frames and not _is_called_by(frame, self._frames[-1]):
            self._frames.pop()  # it has raised
        self._frames.append(frame)
        return len(self._frames) == 1

    def leave(self, frame: FrameType | None) -> bool:
        """Forget the step that ``frame`` runs; return whether it is the outermost."""
        while self._frames and self._frames.pop() is not frame:
            pass  # a step inside has raised, and the one around it has caught the error
        return not self._frames


def _is_called_by(frame: FrameType, caller: FrameType) -> bool:
    above = frame.f_back
    while above is not None and above is not caller:
        above = above.f_back
    return above is caller
