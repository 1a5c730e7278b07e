"""Train one run: build the model, train it on fresh data, evaluate and measure it."""

from __future__ import annotations

import datetime
import statistics
import time

import torch

from comparisons.models import SequenceModel
from comparisons.records import Result, Run
from comparisons.training.artifacts import NOTHING, Artifacts
from comparisons.training.machine import PeakMemory, describe_machine, versions
from comparisons.training.training import DivergedError, Progress, Training

__all__ = ["DivergedError", "Progress", "train", "train_model"]


def train(run: Run, progress: Progress | None = None, artifacts: Artifacts = NOTHING) -> Result:
    """Train one run from scratch and measure it.

    Training data come from a generator seeded by the run, the test set from another stream of the
    same seed. Evaluation and data generation are not timed as steps.

    Args:
        run: What to train.
        progress: Told after every iteration and after every evaluated batch.
        artifacts: What to keep beside the result.

    Raises:
        DivergedError: A loss is no longer finite.
    """
    return train_model(run, progress, artifacts)[1]


def train_model(
    run: Run, progress: Progress | None = None, artifacts: Artifacts = NOTHING
) -> tuple[SequenceModel, Result]:
    """Do what :func:`train` does, and return the trained model too."""
    started = time.perf_counter()
    memory = PeakMemory(run.device)
    training = Training(run, progress)
    training.evaluate()
    while not training.finished:
        training.step()
    return training.model, _result(training, time.perf_counter() - started, memory.mb())


def _result(training: Training, seconds: float, peak_memory_mb: float | None) -> Result:
    run, model, task = training.run, training.model, training.task
    return Result(
        run=run,
        baseline=task.baseline,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        recurrent_parameters=model.recurrent_parameters(),
        curve=tuple(training.curve),
        ms_per_step=1e3 * statistics.median(training.durations),
        seconds=seconds,
        peak_memory_mb=peak_memory_mb,
        defect_start=training.defect_start,
        defect_end=model.unitarity_defect(),
        threads=torch.get_num_threads(),
        versions=versions(),
        machine=describe_machine(run.device),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        deviation="; ".join({scheme.info.deviation for scheme in model.schemes()}),
        data=task.data,
        memoryless=task.memoryless,
    )
