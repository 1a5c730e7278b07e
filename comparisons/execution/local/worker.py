"""A process that trains one run, and the command's hold on it."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any

from comparisons.execution import faults
from comparisons.execution.executor import START_SECONDS, attempt, failure, failure_by
from comparisons.execution.local.memory import own_mb
from comparisons.execution.local.server import uninterrupted
from comparisons.execution.options import ExecutionOptions
from comparisons.records import Failure, Result, Run

STOP_SECONDS = 10.0
"""Time that a worker has to save a checkpoint after SIGTERM, before it is killed."""
EXIT_SECONDS = 3.0
"""Time that a worker has to end by itself after its answer."""
TRACE_SECONDS = 0.1
"""Time that a worker has to write where it is, before it is ended."""
SERVER_GONE = 255
"""Exit code of a worker whose server died: nobody knows whether the worker did."""
TRACE_SIGNAL: int | None = getattr(signal, "SIGUSR1", None)  # not on Windows
KILL_SIGNAL: int = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows, both end it at once


class Worker:
    """A process that trains one run and sends what came of it.

    Args:
        context: How processes are started.
        run: What it trains.
        threads: CPU threads of the run.
        options: Those of the executor.
        gpu: The GPU that the process sees, as ``CUDA_VISIBLE_DEVICES`` names it; None leaves all.
        share_mb: Memory that the run may take; None watches nothing.
    """

    def __init__(
        self,
        context: ForkServerContext | SpawnContext,
        run: Run,
        threads: int,
        options: ExecutionOptions,
        gpu: str | None = None,
        share_mb: float | None = None,
    ) -> None:
        self.run, self.threads, self.gpu, self.share_mb = run, threads, gpu, share_mb
        self._timeout = options.timeout or math.inf
        # Iteration, loss and time of the last step, written there and read here. It is plain shared
        # memory because a queue or a lock would stay locked if its holder were killed.
        self._counters = context.RawArray("d", 3)
        self._seen = 0
        self._answers, self._answer = context.Pipe(duplex=False)
        # Tracebacks go through a pipe too, which needs no disk.
        self._traces, self._trace = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_work,
            args=(self._answer, self._trace, self._counters, run, threads, options, gpu),
            name=str(run),
        )
        self._signals: deque[tuple[float, int]] = deque()
        self._reason: tuple[str, str] | None = None
        self._begun = math.nan
        self._before_mb = 0.0

    def start(self) -> None:
        """Start the process."""
        # Closed here at once, so that the pipes end when the process does.
        with self._answer, self._trace, uninterrupted():
            self._process.start()
        self._begun = time.monotonic()
        # A forked process shares what its server holds.
        self._before_mb = own_mb(self._process.pid) or 0.0

    @property
    def ends(self) -> tuple[Connection, int]:
        """What to wait for: one of them is ready once the run or its process ended."""
        # Not the pipe alone: a process forked by the run may outlive it and hold the pipe open.
        return self._answers, self._process.sentinel

    @property
    def steps(self) -> tuple[int, float]:
        """Iterations done, and the time at the end of the last one (``time.monotonic``)."""
        return int(self._counters[0]), self._counters[2]

    def news(self) -> tuple[int, float] | None:
        """Iterations done and the last training loss; None if there were none since last time."""
        iteration, loss = int(self._counters[0]), self._counters[1]
        if iteration == self._seen:
            return None
        self._seen = iteration
        return iteration, loss

    def watch(self) -> None:
        """End the run if it hangs or takes more than its share; call it many times a second."""
        now = time.monotonic()
        while self._signals and self._signals[0][0] <= now:
            self._send(self._signals.popleft()[1])
        if self._reason is not None:
            return
        used = 0.0 if self.share_mb is None else (own_mb(self._process.pid) or 0.0)
        used -= self._before_mb
        told = self._counters[2] > 0
        limit = self._timeout if told else max(self._timeout, START_SECONDS)
        if self.share_mb is not None and used > self.share_mb:
            kind = faults.NO_MEMORY[0]
            text = (
                f"{kind}: the run used {used:,.0f} MB, and its share of this machine's memory is "
                f"{self.share_mb:,.0f} MB; fewer --jobs leave each a larger share"
            )
            # It has no time to save a checkpoint, for which it would need more memory.
            self._reason = kind, text
            self._end(now, KILL_SIGNAL)
        elif now - max(self._begun, self._counters[2]) > limit:
            text = (
                f"{faults.HUNG}: no step was finished for {limit:g} s, after iteration "
                f"{self.steps[0]}; if it is only slow, allow more with --timeout"
            )
            self._reason = faults.HUNG, text
            self._end(now, signal.SIGTERM)

    def _end(self, now: float, how: int) -> None:
        """Ask the process where it is, then end it."""
        if TRACE_SIGNAL is not None:
            self._send(TRACE_SIGNAL)
        self._signals.append((now + TRACE_SECONDS, how))
        if how != KILL_SIGNAL:
            self._signals.append((now + TRACE_SECONDS + STOP_SECONDS, KILL_SIGNAL))

    def ended(self) -> Result | Failure:
        """The result or failure of a run that has ended."""
        try:
            # Whatever its exit code: a process that sent nothing has not finished its run.
            ended: Result | Failure | None = self._answers.recv() if self._answers.poll() else None
        except (EOFError, OSError):
            ended = None
        except Exception as error:
            # What was sent cannot be read back here.
            ended = failure_by(error, self.run)
        self._process.join(EXIT_SECONDS)  # for its own exit code
        self.kill()
        if self._reason is not None and not isinstance(ended, Result):
            kind, text = self._reason
            ended = failure(self.run, text, self._traceback(), kind)
        elif ended is None:
            text = f"the worker process died ({_death(self._process.exitcode)})"
            ended = failure(self.run, text, self._traceback(), faults.DIED)
        self.close()
        return ended

    def terminate(self) -> None:
        """Ask the process to end, after it has saved a checkpoint."""
        self._send(signal.SIGTERM)

    def join(self, seconds: float) -> None:
        """Wait for the process to end."""
        if self._process.pid is not None:
            self._process.join(max(0.0, seconds))

    def kill(self) -> None:
        """End the process, if it has not ended."""
        if self._process.is_alive() or self._process.exitcode == SERVER_GONE:
            self._send(KILL_SIGNAL)
            self._process.join()

    def close(self) -> None:
        """Close the pipes."""
        for end in (self._answers, self._traces, self._answer, self._trace):
            end.close()

    @property
    def was_killed(self) -> bool:
        """Whether somebody else killed the process: the system, if memory ran out."""
        return self._process.exitcode == -KILL_SIGNAL and self._reason is None

    @property
    def was_stopped(self) -> bool:
        """Whether somebody else asked the process to end before it could save anything."""
        return self._process.exitcode == -signal.SIGTERM and self._reason is None

    def _send(self, number: int) -> None:
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _traceback(self) -> str:
        """What the process wrote about where it crashed or was."""
        parts = []
        with contextlib.suppress(OSError):
            while connection.wait([self._traces], 0):
                part = os.read(self._traces.fileno(), 1 << 16)
                if not part:
                    break
                parts.append(part)
        return b"".join(parts).decode(errors="replace")


def stop_all(workers: list[Worker]) -> None:
    """End processes, after all have had the time to save their checkpoints."""
    deadline = time.monotonic() + STOP_SECONDS
    try:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join(deadline - time.monotonic())
    finally:  # a second Ctrl-C waits for nothing
        for worker in workers:
            worker.kill()
            worker.close()


def _death(exitcode: int | None) -> str:
    if exitcode is None or exitcode == SERVER_GONE:
        return "its exit code is not known"
    if exitcode >= 0:
        return f"exit code {exitcode} before the run was finished"
    names = {entry.value: entry.name for entry in signal.Signals}
    hint = "; out of memory?" if names.get(-exitcode) == "SIGKILL" else ""
    return f"killed by {names.get(-exitcode, f'signal {-exitcode}')}{hint}"


def _work(
    answer: Connection,
    trace: Connection,
    counters: Any,
    run: Run,
    threads: int,
    options: ExecutionOptions,
    gpu: str | None,
) -> None:
    """Train the run and send what came of it; the whole life of a worker process."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before CUDA starts in this process
    _tell_crashes(trace)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where no server has blocked it
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    _follow_parent()

    def progress(iteration: int, loss: float) -> None:
        counters[1] = loss
        counters[2] = time.monotonic()
        counters[0] = iteration

    try:
        answer.send(attempt(run, threads, progress, options))
    except Exception as error:
        # Nothing was sent, for instance of a result that cannot be pickled.
        answer.send(failure_by(error, run))


def _tell_crashes(trace: Connection) -> None:
    """Write the tracebacks of all threads there at a crash, and whenever the signal comes."""
    with contextlib.suppress(OSError, AttributeError):
        os.set_blocking(trace.fileno(), False)  # nobody reads it before the end
    faulthandler.enable(trace.fileno())
    if TRACE_SIGNAL is not None:
        faulthandler.register(TRACE_SIGNAL, trace.fileno())


def _follow_parent() -> None:
    """End this process when its parent ends: it would go on training for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this function only runs in workers

    def follow() -> None:
        parent.join()  # a killed parent cannot stop its workers
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
