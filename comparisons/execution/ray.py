"""Train runs as tasks of a Ray cluster."""

from __future__ import annotations

import collections
import contextlib
import math
import signal
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comparisons.execution import faults, ray_cluster, ray_task
from comparisons.execution.executor import (
    POLL_SECONDS,
    START_SECONDS,
    EndedRuns,
    ExecutorError,
    OnProgress,
    failure,
    failure_by,
)
from comparisons.execution.options import ExecutionOptions
from comparisons.execution.ray_task import Answer, Note, Orders
from comparisons.output import write_file
from comparisons.records import Failure, Result, Run
from comparisons.training.machine import usable_cpus

CANCEL_SECONDS = 10.0
"""Time that Ray has to cancel a run that hangs, before its process is killed."""
STOP_SECONDS = 10.0
"""Time that runs have to save checkpoints when the command ends."""
BOARD_SECONDS = 10.0
"""Time that the board has to tell its notes."""
WINDOW = 128
"""Least number of tasks that are handed to Ray at the same time; a larger cluster gets more."""


class RayExecutor:
    """One Ray task per run, on the cluster of an address, or that Ray finds, or on this machine.

    The library, this package and plug-ins are sent to the workers, which need the rest (torch)
    installed. Each run asks the cluster for its share of a node's CPUs, which ``jobs`` runs at a
    time share, and for a slot of a GPU if it trains on CUDA. A cluster that was not started here
    is left as it was.

    Raises:
        ExecutorError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, options: ExecutionOptions) -> None:
        try:
            import ray  # an extra that few need and that is large
        except ImportError:
            raise ExecutorError(
                "the ray executor needs Ray, which is not installed; install the extra "
                "unitary_zoo[ray]"
            ) from None
        self._ray = ray
        self.options = options
        self._connected = False
        if options.ray_address not in (None, ray_cluster.THIS_MACHINE):
            self._connect()  # now: an address that is wrong is said before anything is written

    def execute(self, runs: Iterable[Run], on_progress: OnProgress) -> EndedRuns:
        """Train the runs; closing the iterator ends the others, which save checkpoints."""
        self._connect()
        try:
            with _token(self.options.artifacts.folder) as token:
                files = tuple(
                    (name, Path(name).read_bytes())
                    for name in self.options.plugins
                    if name.endswith(".py")
                )
                cores, threads = self._share()
                orders = Orders(self.options, threads, token, files)
                with contextlib.closing(_Execution(self._ray, runs, orders, cores)) as execution:
                    yield from execution.ended_runs(on_progress)
        finally:
            if self._connected:
                self._connected = False
                self._ray.shutdown()

    def _connect(self) -> None:
        self._connected |= ray_cluster.connect(
            self._ray, self.options.ray_address, self.options.plugins
        )

    def _share(self) -> tuple[float, int]:
        """The share of a node's CPUs that a run asks for, and its threads."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        # Of the smallest node that trains: each run has the same threads, and so the same digits.
        cpus = min((node["CPU"] for node in nodes if node.get("CPU")), default=usable_cpus())
        jobs = self.options.jobs or max(1, int(cpus))
        threads = max(1, int(cpus / jobs))
        return (float(threads) if jobs <= cpus else _part(cpus / jobs)), threads


@dataclass
class _Task:
    """A run that was handed to Ray; ``note`` is the last that was heard of it."""

    run: Run
    note: Note | None = None
    heard: float = field(default_factory=time.monotonic)
    cancelled: float | None = None
    killed: bool = False


class _Execution:
    """The tasks of runs on a cluster."""

    def __init__(self, ray: Any, runs: Iterable[Run], orders: Orders, cores: float) -> None:
        self._ray, self._orders, self._cores = ray, orders, cores
        self._runs = iter(runs)
        self._again: collections.deque[Run] = collections.deque()
        self._attempts = faults.Attempts(orders.options.retries)
        self._tickets = 0
        self._tasks: dict[int, _Task] = {}
        self._references: dict[Any, int] = {}
        self._here = ray.get_runtime_context().get_node_id()
        # With the node of this process the command ends too; no other can take the board along.
        self._board = ray.remote(ray_task.Board).options(**self._on(self._here)).remote()

        # A process of its own for each run, as locally, unless it is short. Ray tries nothing
        # again, because attempts are counted here.
        once = {"max_retries": 0, "retry_exceptions": False}
        self._fresh = ray.remote(max_calls=1, **once)(ray_task.work)
        self._reused = ray.remote(max_calls=0, **once)(ray_task.work)

    def ended_runs(self, on_progress: OnProgress) -> EndedRuns:
        """Yield a result or a failure for each run."""
        looked = resized = -math.inf
        window = WINDOW
        while True:
            now = time.monotonic()
            if now - resized > 5.0:  # nodes come and go
                resized = now
                slots = self._ray.cluster_resources().get("CPU", 0.0) / self._cores
                window = max(WINDOW, int(2 * slots))
            while len(self._references) < window and (run := self._next()) is not None:
                self._submit(run)
            if not self._references:
                return
            self._ray.wait(list(self._references), timeout=POLL_SECONDS)
            if now - looked > POLL_SECONDS:
                looked = now
                self._read_board(on_progress)
                self._cancel_hung()
            unfinished = list(self._references)
            done, _ = self._ray.wait(unfinished, num_returns=len(unfinished), timeout=0)
            for reference in done:
                ended = self._ended(reference)
                if ended is not None:
                    yield ended

    def close(self) -> None:
        """End what has not ended; runs at work have the time to save their checkpoints."""
        working = [x for x, ticket in self._references.items() if self._tasks[ticket].note]
        try:
            self._cancel(self._references.keys() - set(working))  # or they would start now
            if working and self._orders.options.artifacts.checkpoint_every is not None:
                with contextlib.suppress(Exception):
                    self._stop(working)
        finally:  # a second Ctrl-C waits for nothing
            self._cancel(working)
            with contextlib.suppress(Exception):
                self._ray.kill(self._board)

    def _stop(self, references: Sequence[Any]) -> None:
        """Ask runs to end after they have saved checkpoints, and wait for that."""
        pids: dict[str, list[int]] = {}
        for reference in references:
            note = self._tasks[self._references[reference]].note
            if note is not None:
                pids.setdefault(note.node, []).append(note.pid)
        for node, own in pids.items():
            self._send(signal.SIGTERM, node, own)
        self._ray.wait(references, num_returns=len(references), timeout=STOP_SECONDS)

    def _cancel(self, references: Iterable[Any]) -> None:
        for reference in references:
            with contextlib.suppress(Exception):
                self._ray.cancel(reference, force=True)

    def _send(self, number: int, node: str, pids: Sequence[int]) -> None:
        """Send a signal to processes of a node."""
        options = {"max_retries": 0, "num_cpus": 0, **self._on(node)}
        self._ray.remote(ray_task.send).options(**options).remote(int(number), pids)

    def _next(self) -> Run | None:
        return self._again.popleft() if self._again else next(self._runs, None)

    def _submit(self, run: Run) -> None:
        self._tickets += 1
        self._tasks[self._tickets] = _Task(run)
        options: dict[str, Any] = {"num_cpus": self._cores}
        if run.device.startswith("cuda"):
            options["num_gpus"] = _part(1 / self._orders.options.gpu_slots)
        task = self._reused if ray_task.is_tiny(run) else self._fresh
        reference = task.options(**options).remote(self._tickets, run, self._orders, self._board)
        self._references[reference] = self._tickets

    def _read_board(self, on_progress: OnProgress) -> None:
        try:
            notes = self._ray.get(self._board.take.remote(), timeout=BOARD_SECONDS)
        except self._ray.exceptions.RayError:
            return  # the board's process died: the runs go on without bars
        for ticket, note in notes.items():
            task = self._tasks.get(ticket)
            if task is not None:  # a task that has ended may have sent a last note
                task.note, task.heard = note, time.monotonic()
                if note.iteration:
                    on_progress(task.run, note.iteration, note.loss)

    def _cancel_hung(self) -> None:
        if self._orders.options.timeout is None:
            return
        now = time.monotonic()
        for reference, ticket in self._references.items():
            task = self._tasks[ticket]
            if task.note is None or now - task.heard < self._limit(task):
                continue  # what has sent no note waits for its turn
            if task.cancelled is None:
                task.cancelled = now
                self._ray.cancel(reference, force=True)
            elif not task.killed and now - task.cancelled > CANCEL_SECONDS:
                task.killed = True  # a stopped process does not hear that it is cancelled
                self._send(signal.SIGKILL, task.note.node, [task.note.pid])

    def _limit(self, task: _Task) -> float:
        """Time without news after which a run that is at work hangs."""
        timeout = self._orders.options.timeout or math.inf
        begun = task.note is not None and task.note.iteration is not None
        return timeout if begun else max(timeout, START_SECONDS)

    def _ended(self, reference: Any) -> Result | Failure | None:
        """The result or failure of a task that has ended; None if the run is to be tried again."""
        task = self._tasks.pop(self._references.pop(reference))
        try:
            answer: Answer = self._ray.get(reference)
            ended = answer.ended
        except Exception as error:
            ended = self._fault(error, task)
        else:
            _write(answer.files, self._orders.options.artifacts.folder)
        if isinstance(ended, Failure):
            if self._attempts.again(ended):
                self._again.append(task.run)
                return None
            ended = self._attempts.counted(ended)
        return ended

    def _fault(self, error: Exception, task: _Task) -> Failure:
        """The failure of a run of which no answer came."""
        errors = self._ray.exceptions
        if task.cancelled is not None:
            text = (
                f"{faults.HUNG}: no step was finished for {self._limit(task):g} s; if it is only "
                "slow, allow more with --timeout"
            )
            return failure(task.run, text, str(error), faults.HUNG)
        if isinstance(error, (errors.NodeDiedError, errors.ObjectLostError)):
            return failure(task.run, "the node of the run was lost", str(error), faults.LOST)
        if isinstance(error, (errors.WorkerCrashedError, errors.LocalRayletDiedError)):
            return failure(task.run, "the worker process died", str(error), faults.DIED)
        return failure_by(error, task.run)

    def _on(self, node: str) -> dict[str, Any]:
        """The options that bind a task or an actor to a node."""
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        return {"scheduling_strategy": strategy(node, soft=False)}


def _part(x: float) -> float:
    """A share that Ray can count: rounded down to its unit, so that all shares fit."""
    return math.floor(1e4 * x) / 1e4


@contextlib.contextmanager
def _token(folder: Path | None) -> Iterator[str]:
    """The name of a file in the folder, by which a worker sees whether its node shares it."""
    token = f".shared-{uuid.uuid4().hex}"
    if folder is None:
        yield token
        return
    path = folder / token
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        yield token
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _write(files: Sequence[tuple[str, bytes]], folder: Path | None) -> None:
    """Write the files that a run left on its node into the folder."""
    for name, content in files:
        assert folder is not None  # without a folder, a run leaves no files
        try:
            write_file(folder / name, content)
        except OSError as error:
            # The result is worth more than its files.
            warnings.warn(f"{folder / name} cannot be written: {error}", stacklevel=2)
