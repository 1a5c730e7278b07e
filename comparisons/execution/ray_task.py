"""What happens on the nodes of a Ray cluster: the task of one run, and the board of progress."""

from __future__ import annotations

import atexit
import contextlib
import functools
import math
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from comparisons.execution.executor import attempt
from comparisons.execution.options import ExecutionOptions
from comparisons.records import Failure, Result, Run

NOTE_SECONDS = 0.5
"""Time between two notes of a run's progress, each of which is a message over the network."""
TINY = 10**5
"""Elements of sequences in a training up to which its worker process is used again.

A new process takes seconds, in which such a run is over.
"""


class Note(NamedTuple):
    """The progress of a task, and where it is at work.

    Attributes:
        node: Ray's id of the node.
        pid: The worker process there.
        iteration: Iterations done; None before the run's first sign of life.
        loss: The last training loss; not a number before the first step.
    """

    node: str
    pid: int
    iteration: int | None = None
    loss: float = math.nan


class Board:
    """The Ray actor to which tasks report their progress, by their tickets."""

    def __init__(self) -> None:
        self._notes: dict[int, Note] = {}

    def put(self, ticket: int, note: Note) -> None:
        """Keep the last note of a task."""
        self._notes[ticket] = note

    def take(self) -> dict[int, Note]:
        """Return the notes since last time."""
        notes, self._notes = self._notes, {}
        return notes


@dataclass(frozen=True)
class Orders:
    """What all tasks of an execution have in common.

    Attributes:
        options: The options of the execution.
        threads: CPU threads of each run.
        token: Name of a file in the folder of artifacts: who sees it there, shares the folder.
        plugin_files: Contents of the plug-ins that are files, by the names in the options.
    """

    options: ExecutionOptions
    threads: int
    token: str = ""
    plugin_files: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Answer:
    """The end of a run, and the files that it left on a node which does not share the folder.

    Attributes:
        ended: The result or failure.
        files: Contents by path, relative to the folder of artifacts.
    """

    ended: Result | Failure
    files: tuple[tuple[str, bytes], ...] = ()


def is_tiny(run: Run) -> bool:
    """Whether the run is so short that its worker process is used again."""
    training = run.setting.training
    elements = training.iterations * training.batch_size * run.length
    # On a GPU, the memory that a process holds is free for others only once it has ended.
    return elements <= TINY and not run.device.startswith("cuda")


def work(ticket: int, run: Run, orders: Orders, board: Any) -> Answer:
    """Train the run on this node; what it leaves there comes back if the folder is not shared."""
    import ray  # a worker has it

    last = -math.inf  # the first sign of life is sent at once
    note = Note(ray.get_runtime_context().get_node_id(), os.getpid())
    board.put.remote(ticket, note)

    def progress(iteration: int, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last > NOTE_SECONDS:
            last = time.monotonic()
            board.put.remote(ticket, note._replace(iteration=iteration, loss=loss))

    options = replace(orders.options, plugins=_plugins_here(orders))
    artifacts = options.artifacts
    if artifacts.folder is None or (artifacts.folder / orders.token).exists():
        answer = Answer(attempt(run, orders.threads, progress, options))
    else:
        with tempfile.TemporaryDirectory(prefix="unitary_zoo-") as name:
            # A checkpoint here would be gone with the node; another attempt may be anywhere.
            artifacts = replace(artifacts, folder=Path(name), checkpoint_every=None)
            options = replace(options, artifacts=artifacts)
            ended = attempt(run, orders.threads, progress, options)
            answer = Answer(ended, _files(Path(name)))
    if isinstance(answer.ended, Result) and is_tiny(run):
        # The process may hold memory of earlier runs, above which this one did not rise.
        answer = replace(answer, ended=replace(answer.ended, peak_memory_mb=None))
    return answer


def send(number: int, pids: Sequence[int]) -> None:
    """Send a signal to processes of this node."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _files(folder: Path) -> tuple[tuple[str, bytes], ...]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return tuple((path.relative_to(folder).as_posix(), path.read_bytes()) for path in files)


def _plugins_here(orders: Orders) -> tuple[str, ...]:
    """The plug-ins as this node has them: files that are not here, or are others, are written."""
    files = dict(orders.plugin_files)
    return tuple(
        _written(name, files[name]) if name in files else name for name in orders.options.plugins
    )


@functools.cache
def _written(name: str, content: bytes) -> str:
    """The path of a file with that content: of the file itself if it is here, or of a copy."""
    with contextlib.suppress(OSError):
        if Path(name).read_bytes() == content:
            return name
    folder = tempfile.mkdtemp(prefix="unitary_zoo-")  # one for each worker process
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, Path(name).name)
    path.write_bytes(content)
    return str(path)
