"""Train one run to its result, from the start or from where it was interrupted."""

from __future__ import annotations

import contextlib
import datetime
import statistics
import time
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from comparisons.models import ModelFileError, SequenceModel, check_safetensors, save_model
from comparisons.records import Result, Run
from comparisons.training.artifacts import NOTHING, Artifacts
from comparisons.training.checkpoints import CheckpointFile
from comparisons.training.interruption import StoppedError, TerminationRequest
from comparisons.training.logs import Logs
from comparisons.training.machine import PeakMemory, describe_machine, versions
from comparisons.training.probes import measured, unitarity_defect
from comparisons.training.replicas import ALONE, Replicas
from comparisons.training.shared_checkpoint import SharedCheckpoint
from comparisons.training.training import DivergedError, Progress, Training
from unitary_zoo.errors import NotFiniteError

__all__ = ["DivergedError", "Progress", "StoppedError", "train", "train_model"]


def train(
    run: Run,
    progress: Progress | None = None,
    artifacts: Artifacts = NOTHING,
    replicas: Replicas = ALONE,
) -> Result:
    """Train one run and measure it.

    Training data come from a generator seeded by the run, the test set from another stream of the
    same seed. Evaluation and data generation are not timed as steps.

    Where there is a checkpoint of the run, the training goes on from it, with the same numbers on a
    CPU as if it had not been interrupted.

    Args:
        run: What to train.
        progress: Told after every iteration and after every evaluated batch.
        artifacts: What to keep beside the result.
        replicas: The processes that train the model together.

    Raises:
        DivergedError: A loss is no longer finite.
        StoppedError: The process was asked to end; a checkpoint has been saved.
    """
    return train_model(run, progress, artifacts, replicas)[1]


def train_model(
    run: Run,
    progress: Progress | None = None,
    artifacts: Artifacts = NOTHING,
    replicas: Replicas = ALONE,
) -> tuple[SequenceModel, Result]:
    """Do what :func:`train` does, and return the trained model too."""
    session = _Session(run, progress, artifacts, replicas)
    training = session.training
    with session.under_way():
        if not training.curve:
            training.evaluate()
        session.between_steps()
        while not training.finished:
            training.step()
            session.between_steps()
    result = session.result()
    session.keep_weights()
    return training.model, result


class _Session:
    """The part of a training that one process does: from its start or checkpoint to its end."""

    def __init__(
        self, run: Run, progress: Progress | None, artifacts: Artifacts, replicas: Replicas
    ) -> None:
        self._started = self._last_saved = time.monotonic()
        self._memory = PeakMemory(run.device)
        self._every = artifacts.checkpoint_every
        self._termination: TerminationRequest | None = None
        self._seconds_before, self._peak_before = 0.0, None
        self._resumed_at: tuple[int, ...] = ()
        self._replicas = replicas
        path = artifacts.checkpoint(run.id)
        file = None if path is None else CheckpointFile(path, run)
        self._checkpoint = None if file is None else SharedCheckpoint(file, replicas)
        self._weights = artifacts.model(run.id) if replicas.is_first else None
        if self._weights is not None:
            check_safetensors()  # now, and not after hours
        self.training = self._begin(run, progress)
        logs = artifacts.logs if replicas.is_first else ()
        self._logs = Logs(logs, artifacts.log(run.id), run)

    def _begin(self, run: Run, progress: Progress | None) -> Training:
        content = None if self._checkpoint is None else self._checkpoint.read()
        if self._checkpoint is None or content is None:
            return Training(run, progress, replicas=self._replicas)
        try:
            training = Training(run, progress, content["training"], self._replicas)
            self._seconds_before = float(content["seconds"])
            self._peak_before = content["peak_memory_mb"]
            self._resumed_at = (*content["resumed_at"], training.iteration)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            # First, because what fails without the checkpoint too, such as a task whose data are
            # missing on this node, is no fault of the checkpoint.
            anew = Training(run, progress, replicas=self._replicas)
            self._checkpoint.set_aside(" ".join(f"{type(error).__name__}: {error}".split()))
            self._seconds_before, self._peak_before, self._resumed_at = 0.0, None, ()
            return anew
        return training

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Take SIGTERM as a wish for a checkpoint while the body runs, and close the logs after."""
        last = None
        try:
            with self._terminable():
                yield
            last = self.training.curve[-1]
        except (DivergedError, NotFiniteError):
            if self._checkpoint is not None:
                self._checkpoint.delete()  # what it leads to is known
            raise
        finally:
            self._logs.close(last)

    def _terminable(self) -> contextlib.AbstractContextManager[object]:
        if self._checkpoint is None:
            return contextlib.nullcontext()
        self._termination = TerminationRequest()
        return self._termination

    def between_steps(self) -> None:
        """Log new evaluations, and save a checkpoint where one is due.

        Raises:
            StoppedError: The process was asked to end.
        """
        self._logs.update(self.training.curve, self.training.rates)
        if self._checkpoint is None or self._every is None or self.training.finished:
            return
        asked: float = self._termination is not None and self._termination.received
        due: float = time.monotonic() - self._last_saved >= self._every
        asked, due = self._replicas.totals([asked, due])  # one process is enough
        if not asked and not due:
            return
        kept = self._checkpoint.write(self._content())
        self._last_saved = time.monotonic()
        if asked:
            iteration = self.training.iteration
            what = f"it goes on from iteration {iteration}" if kept else "it begins anew"
            raise StoppedError(f"ended by SIGTERM at iteration {iteration}; run again, {what}")

    def _content(self) -> dict[str, Any]:
        return {
            "training": self.training.state_dict(),
            "seconds": self._seconds(),
            "peak_memory_mb": self._peak_memory_mb(),
            "resumed_at": self._resumed_at,
        }

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def _peak_memory_mb(self) -> float | None:
        peaks = (self._peak_before, self._memory.mb())
        return max((peak for peak in peaks if peak is not None), default=None)

    def result(self) -> Result:
        """The result of a training that has finished."""
        training = self.training
        run, model, task = training.run, training.model, training.task
        seconds, peak = self._seconds(), self._peak_memory_mb()  # those of the training alone
        return Result(
            run=run,
            baseline=task.baseline,
            parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
            recurrent_parameters=model.recurrent_parameters(),
            curve=tuple(training.curve),
            ms_per_step=1e3 * statistics.median(training.durations),
            seconds=seconds,
            peak_memory_mb=peak,
            defect_start=training.defect_start,
            defect_end=unitarity_defect(model),
            threads=torch.get_num_threads(),
            versions=versions(),
            machine=describe_machine(run.device),
            date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            deviation="; ".join({scheme.info.deviation for scheme in model.schemes()}),
            data=task.data,
            memoryless=task.memoryless,
            resumed_at=self._resumed_at,
            stopped=training.stopped,
            probes=measured(model, task, run, training.eigenphases_start),
        )

    def keep_weights(self) -> None:
        """Keep the weights of a training that has finished, if that was asked for."""
        if self._weights is None:
            return
        try:
            save_model(self.training.model, self.training.run, self._weights)
        except (OSError, ModelFileError) as error:
            # The result is worth more than the weights.
            warnings.warn(f"{self._weights} cannot be written: {error}", stacklevel=2)
