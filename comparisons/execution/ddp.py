"""Train each run in all processes that torchrun started, on shares of its batches."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

import torch
import torch.distributed as dist

from comparisons.execution.executor import (
    EndedRuns,
    ExecutorError,
    OnProgress,
    attempt,
)
from comparisons.execution.faults import LOST, STOPPED
from comparisons.execution.options import ExecutionOptions
from comparisons.records import Failure, Result, Run
from comparisons.training.machine import usable_cpus
from comparisons.training.replicas import Replicas

COMMAND = "torchrun --nproc-per-node N comparisons/run_all.py --ddp"
"""How processes that train each run together are started."""

ALIKE_SECONDS = 10.0
"""Time in which all processes have to fail for the run to be at fault and not one process."""
LEAVE_SECONDS = 60.0
"""How long the first process waits at the end for the others to read that there is no more run."""

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_FOREVER = timedelta(days=3650)
_POLL_SECONDS = 0.1
_ASKED_TO_END = (STOPPED, KeyboardInterrupt.__name__)
"""Kinds of failures by SIGTERM or Ctrl-C, with a checkpoint or where none is kept."""


def started_by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return dist.is_available() and dist.is_torchelastic_launched()


def rank() -> int:
    """Number of this process among those that train each run together, from 0."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """Number of this process among those of its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", 0))


@contextlib.contextmanager
def ctrl_c_like_sigterm() -> Iterator[None]:
    """Let Ctrl-C, which the terminal sends to all processes, do what SIGTERM does.

    A training then saves a checkpoint, in all processes after the same step.
    """
    before = signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class DdpExecutor:
    """Train one run after the other in all processes of torchrun, of which this is the first.

    The others call :func:`follow`. They train the same runs, and only this process yields results.
    The processes meet in the key-value store of torchrun: the first process writes the run that
    all are to train, and each process how its training of that run failed. If all failed alike,
    the next run follows; if not, a process was lost or failed on its own, and the job ends.

    Raises:
        ExecutorError: torchrun did not start this process.
    """

    def __init__(self, options: ExecutionOptions) -> None:
        self._options = options
        _check_environment()

    def execute(self, runs: Iterable[Run], on_progress: OnProgress) -> EndedRuns:
        """Train the runs; where this process ends before they have, torchrun ends the others."""
        group = _Group(self._options)
        for run in runs:
            group.tell(run)
            ended = group.train(run, on_progress)
            if isinstance(ended, Failure) and ended.kind in _ASKED_TO_END:
                raise KeyboardInterrupt  # which is no failure of the run
            if isinstance(ended, Failure) and not group.failed_alike(ended):
                yield group.lost(ended)
                return
            yield ended
        group.tell(None)
        group.close()


def follow(options: ExecutionOptions) -> int:
    """Train what the first process says until it has no more; return the exit code.

    Raises:
        ExecutorError: torchrun did not start this process.
    """
    _check_environment()
    # The first process alone keeps files. This one needs to know when a checkpoint is due.
    own = replace(options.artifacts, save_models=False, logs=())
    group = _Group(replace(options, artifacts=own))
    while (run := group.next()) is not None:
        ended = group.train(run)
        if isinstance(ended, Failure) and not group.failed_alike(ended):
            if group.was_first:  # else the failure follows from another's, who reports it
                print(f"process {rank()}, {run}:\n{ended.traceback}", file=sys.stderr, flush=True)
            return 1
    group.close()
    return 0


def _check_environment() -> None:
    missing = [name for name in _VARIABLES if name not in os.environ]
    if missing:
        raise ExecutorError(
            f"--ddp trains each run in all processes that torchrun starts, and it did not start "
            f"this one ({missing[0]} is not set); type {COMMAND} and your other flags"
        )


class _Group:
    """The processes of the job, as each of them sees the others."""

    def __init__(self, options: ExecutionOptions) -> None:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        if here == int(os.environ["WORLD_SIZE"]) and sys.platform == "linux":
            # No other machine takes part, so none has to reach these processes.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        backend = "gloo"
        if local_rank() < torch.cuda.device_count():
            torch.cuda.set_device(local_rank())  # the device "cuda" of a run is this one
            backend = "cpu:gloo,cuda:nccl"
        # torch.distributed does not say to type checkers that it exports these two.
        prefixed, rendezvous = dist.PrefixStore, dist.rendezvous  # type: ignore[attr-defined]
        store, own, size = next(rendezvous("env://", timeout=_FOREVER))
        timeout = None if options.timeout is None else timedelta(seconds=options.timeout)
        dist.init_process_group(
            backend, store=prefixed("group", store), rank=own, world_size=size,
            timeout=timeout,
        )  # fmt: skip
        self._store = prefixed("runs", store)
        self._replicas = Replicas(own, size)
        self._threads = max(1, usable_cpus() // here)
        self._options = options
        self._count = 0
        self.was_first = False

    def tell(self, run: Run | None) -> None:
        """Tell the other processes what to train; None is the end."""
        self._store.set(f"{self._count}/run", json.dumps(run and run.to_dict()))

    def next(self) -> Run | None:
        """What the first process says."""
        key = f"{self._count}/run"
        self._store.wait([key], _FOREVER)
        run = json.loads(self._store.get(key))
        return None if run is None else Run.from_dict(run)

    def train(self, run: Run, on_progress: OnProgress | None = None) -> Result | Failure:
        """Take part in the training of a run."""

        def progress(iteration: int, loss: float) -> None:
            if on_progress is not None:
                on_progress(run, iteration, loss)

        with ctrl_c_like_sigterm():
            ended = attempt(run, self._threads, progress, self._options, self._replicas)
        self._count += 1
        if isinstance(ended, Result):
            machine = {**ended.machine, "processes": self._replicas.size}
            return replace(ended, machine=machine)
        return ended

    def failed_alike(self, failure: Failure) -> bool:
        """Whether all processes failed at the last run with the same error, within some seconds."""
        if failure.kind in _ASKED_TO_END:
            return False
        # torchrun ends the others once one has died; what this one still has to say comes first.
        ended = threading.Event()
        before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
        own = [failure.kind, failure.error, failure.traceback]
        place = f"{self._count - 1}/failure"
        number = self._store.add(place, 1)
        self.was_first = number == 1
        self._store.set(f"{place} {number}", json.dumps(own))
        keys = [f"{place} {i + 1}" for i in range(self._replicas.size)]
        deadline = time.monotonic() + ALIKE_SECONDS
        while not self._store.check(keys):
            if ended.wait(_POLL_SECONDS) or time.monotonic() > deadline:
                return False
        if any(json.loads(self._store.get(key))[:2] != own[:2] for key in keys):
            return False
        signal.signal(signal.SIGTERM, before)
        return True

    def lost(self, failure: Failure) -> Failure:
        """The record of a run that not all processes failed at: the error that came first."""
        _, error, trace = json.loads(self._store.get(f"{self._count - 1}/failure 1"))
        words = (
            f"not all {self._replicas.size} processes failed alike, so one was lost or failed on "
            f"its own, and the job ends; the same command goes on from what is kept: {error}"
        )
        return replace(failure, error=words, traceback=trace, kind=LOST)

    def close(self) -> None:
        """Leave the group; the first process does so last, because its end may end the store."""
        others = [f"left {i}" for i in range(1, self._replicas.size)]
        if self._replicas.is_first and others:
            with contextlib.suppress(RuntimeError):  # the time is over, and all results are there
                self._store.wait(others, timedelta(seconds=LEAVE_SECONDS))
        elif others:
            self._store.set(others[self._replicas.rank - 1], "")
        dist.destroy_process_group()
