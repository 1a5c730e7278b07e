"""Train one run: build the model, train it on fresh data, evaluate and measure it."""

from __future__ import annotations

import datetime
import math
import statistics
import time
from collections.abc import Callable, Iterable
from itertools import islice

import torch

from comparisons.models import SequenceModel, State
from comparisons.records import Point, Result, Run, TrainingSettings
from comparisons.tasks import TASKS, Batch, Task, stream
from comparisons.training.artifacts import NOTHING, Artifacts
from comparisons.training.machine import PeakMemory, describe_machine, versions
from comparisons.training.optimizers import (
    build_optimizers,
    clip_gradients,
    decay_rates,
    lower_rates_on_plateau,
)

Progress = Callable[[int, float], None]
"""Called with (iterations done, last training loss)."""


class DivergedError(ArithmeticError):
    """A loss became infinite or undefined."""


def train(run: Run, progress: Progress | None = None, artifacts: Artifacts = NOTHING) -> Result:
    """Train one run from scratch and measure it.

    Training data come from a generator seeded by the run, the test set from another stream of the
    same seed. Evaluation and data generation are not timed as steps.

    Args:
        run: What to train.
        progress: Told after every iteration.
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
    settings, eval_every = run.setting.training, run.setting.evaluation.eval_every
    task = TASKS.get(run.task)(run.length, run.variant, run.seed)
    torch.manual_seed(run.seed)
    model = SequenceModel(run.model, run.setting, task).to(run.device)
    optimizers = build_optimizers(model, run.setting)
    defect_start = model.unitarity_defect()

    batches = task.train_batches(settings.batch_size, _stream(run, "train"))
    curve = [_evaluated(model, task, run, 0, 0.0, None)]
    state: State | None = None
    durations: list[float] = []
    losses: list[float] = []
    for iteration, batch in enumerate(islice(batches, settings.iterations), start=1):
        batch = batch.to(run.device)
        state = state if batch.continues else None
        step_started = time.perf_counter()
        loss, state = _step(model, task, optimizers, batch, state, settings)
        durations.append(time.perf_counter() - step_started)
        losses.append(loss)
        decay_rates(optimizers, settings, iteration)
        _check_finite("training", loss, iteration, run)
        if progress is not None:
            progress(iteration, loss)
        if iteration % eval_every == 0 or iteration == settings.iterations:
            window, losses = statistics.fmean(losses), []
            point = _evaluated(model, task, run, iteration, sum(durations), window)
            _check_finite("test", point.test_loss, iteration, run)
            lower_rates_on_plateau(optimizers, settings, curve, point)
            curve.append(point)

    result = Result(
        run=run,
        baseline=task.baseline,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        recurrent_parameters=model.recurrent_parameters(),
        curve=tuple(curve),
        ms_per_step=1e3 * statistics.median(durations),
        seconds=time.perf_counter() - started,
        peak_memory_mb=memory.mb(),
        defect_start=defect_start,
        defect_end=model.unitarity_defect(),
        threads=torch.get_num_threads(),
        versions=versions(),
        machine=describe_machine(run.device),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        deviation="; ".join({scheme.info.deviation for scheme in model.schemes()}),
        data=task.data,
        memoryless=task.memoryless,
    )
    return model, result


def _check_finite(name: str, loss: float, iteration: int, run: Run) -> None:
    if not math.isfinite(loss):
        settings = run.setting.training
        raise DivergedError(
            f"the {name} loss became {loss} at iteration {iteration} of {settings.iterations} "
            f"({settings.optimizer}); lower the learning rate or clip"
        )


def _stream(run: Run, name: str) -> torch.Generator:
    """The run's generator of that name: the same for every model, so all see the same data."""
    task = f"{run.task}-{run.variant}" if run.variant else run.task
    return stream(f"{task}/{run.length}/{run.seed}/{name}")


def _step(
    model: SequenceModel,
    task: Task,
    optimizers: list[torch.optim.Optimizer],
    batch: Batch,
    state: State | None,
    settings: TrainingSettings,
) -> tuple[float, State]:
    """One iteration; returns its loss, once the device has finished it, and the last states."""
    outputs, state = model(batch.inputs, state)
    loss = task.loss(outputs, batch.targets)
    model.zero_grad()
    (loss if settings.penalty is None else loss + _penalty(model, settings.penalty)).backward()
    clip_gradients(model, settings)
    for optimizer in optimizers:
        optimizer.step()
    if loss.is_cuda:
        torch.cuda.synchronize(loss.device)
    return loss.item(), _detached(state)


def _detached(state: State) -> State:
    """The states without their graph, so that gradients end where a batch begins."""
    if isinstance(state, tuple):
        return state[0].detach(), state[1].detach()
    return state.detach()


def _penalty(model: SequenceModel, weights: tuple[float, ...]) -> torch.Tensor:
    """Sum of the schemes' own penalties.

    Raises:
        TypeError: The model has none.
    """
    found = [getattr(scheme, "penalty", None) for scheme in model.schemes()]
    if not found or None in found:
        raise TypeError("the model has no penalty of its own; leave penalty at None")
    return torch.stack([penalty(*weights) for penalty in found if penalty is not None]).sum()


def _evaluated(
    model: SequenceModel,
    task: Task,
    run: Run,
    iteration: int,
    seconds: float,
    train_loss: float | None,
) -> Point:
    """A point of the learning curve."""
    # Batches are of the training size: larger ones would raise the peak memory that is reported.
    size, count = run.setting.training.batch_size, run.setting.evaluation.test_size
    validation = task.valid_batches(size, count)
    valid_loss = None if validation is None else _measure(model, task, run, validation)[0]
    test = task.test_batches(size, count, _stream(run, "test"))
    return Point(iteration, seconds, train_loss, *_measure(model, task, run, test), valid_loss)


@torch.no_grad()
def _measure(
    model: SequenceModel, task: Task, run: Run, batches: Iterable[Batch]
) -> tuple[float, float]:
    """Mean loss and accuracy over the targets of all batches."""
    model.eval()
    loss = accuracy = count = 0.0
    state: State | None = None
    for batch in batches:
        batch = batch.to(run.device)
        outputs, state = model(batch.inputs, state if batch.continues else None)
        weight = batch.targets.numel()
        loss += task.loss(outputs, batch.targets).item() * weight
        accuracy += task.accuracy(outputs, batch.targets).item() * weight
        count += weight
    model.train()
    return loss / count, accuracy / count
