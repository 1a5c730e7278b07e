"""Measure a model on the validation set and the test set of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from comparisons.models import SequenceModel, State
from comparisons.records import Run
from comparisons.tasks import TASKS, Batch, Task, stream
from comparisons.training.replicas import ALONE, Replicas

OnBatch = Callable[[], None]
"""Called after every evaluated batch, as a sign of life."""


def run_stream(run: Run, name: str) -> torch.Generator:
    """The run's generator of that name: the same for every model, so all see the same data."""
    task = f"{run.task}-{run.variant}" if run.variant else run.task
    return stream(f"{task}/{run.length}/{run.seed}/{name}")


def make_task(run: Run) -> Task:
    """The task of a run; where its setting asks for it, with a validation set held out."""
    task = TASKS.get(run.task)(run.length, run.variant, run.seed)
    count = run.setting.evaluation.validation_size
    if count and task.valid_batches(1, 1) is None:
        task.hold_out(count, run_stream(run, "valid"))
    return task


def measured_on_test(
    model: SequenceModel, task: Task, run: Run, on_batch: OnBatch, replicas: Replicas = ALONE
) -> tuple[float, float]:
    """Mean loss and accuracy on the test set."""
    size, count = _sizes(run)
    batches = task.test_batches(size, count, run_stream(run, "test"))
    return measure(model, task, run.device, batches, on_batch, replicas)


def validation_loss(
    model: SequenceModel, task: Task, run: Run, on_batch: OnBatch, replicas: Replicas = ALONE
) -> float | None:
    """Mean loss on the validation set; None if there is none."""
    size, count = _sizes(run)
    batches = task.valid_batches(size, count)
    if batches is None and run.setting.evaluation.validation_size:
        batches = task.held_out_batches(size)
    if batches is None:
        return None
    return measure(model, task, run.device, batches, on_batch, replicas)[0]


def _sizes(run: Run) -> tuple[int, int]:
    """Sizes of a batch and of the test set."""
    # Batches are of the training size: larger ones would raise the peak memory that is reported.
    return run.setting.training.batch_size, run.setting.evaluation.test_size


@torch.no_grad()
def measure(
    model: SequenceModel,
    task: Task,
    device: str,
    batches: Iterable[Batch],
    on_batch: OnBatch = lambda: None,
    replicas: Replicas = ALONE,
) -> tuple[float, float]:
    """Mean loss and accuracy over the targets of all batches, of which each process has a share."""
    model.eval()
    loss = accuracy = count = 0.0
    state: State | None = None
    for whole in batches:
        batch, share = replicas.part(task, whole)
        batch = batch.to(device)
        outputs, state = model(batch.inputs, state if batch.continues else None)
        weight = batch.targets.numel() if share else 0
        loss += task.loss(outputs, batch.targets).item() * weight
        accuracy += task.accuracy(outputs, batch.targets).item() * weight
        count += weight
        on_batch()
    model.train()
    loss, accuracy, count = replicas.totals([loss, accuracy, count])
    return loss / count, accuracy / count
