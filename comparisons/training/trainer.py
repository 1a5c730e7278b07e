"""One run to one result: build the model, train it on fresh data, evaluate, measure."""

from __future__ import annotations

import datetime
import math
import statistics
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch

import unitary_zoo
from comparisons.models import SequenceModel, State
from comparisons.records import Optimizer, Point, Result, Run, Setting
from comparisons.tasks import TASKS, Batch, Task, stream
from comparisons.training.machine import PeakMemory, describe_machine, versions

Progress = Callable[[int, float], None]
"""Called with (iterations done, last training loss)."""


class DivergedError(ArithmeticError):
    """A loss became infinite or undefined."""


def _theano_rmsprop(groups: list[dict[str, Any]], spec: Optimizer) -> torch.optim.Optimizer:
    """RMSprop of Arjovsky's Theano code: accumulators start at 1e-3, and there is no epsilon."""
    # The tiny epsilon only keeps an entry whose gradient is always zero from becoming 0 / 0.
    optimizer = torch.optim.RMSprop(groups, lr=spec.lr, alpha=spec.alpha or 0.9, eps=1e-16)
    for group in optimizer.param_groups:
        for p in group["params"]:
            square_avg = torch.full_like(p, 1e-3)
            optimizer.state[p] = {"step": torch.tensor(0.0), "square_avg": square_avg}
    return optimizer


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], Optimizer], torch.optim.Optimizer]] = {
    "adam": lambda groups, spec: torch.optim.Adam(groups, lr=spec.lr),
    "rmsprop": lambda groups, spec: torch.optim.RMSprop(
        groups, lr=spec.lr, alpha=spec.alpha or 0.99
    ),
    "rmsprop_theano": _theano_rmsprop,
    "sgd": lambda groups, spec: torch.optim.SGD(groups, lr=spec.lr),
}
"""What an `Optimizer` record names: builders from parameter groups and the record."""


def train(run: Run, progress: Progress | None = None) -> Result:
    """Train one run from scratch and measure it.

    Training data come from a generator seeded by the run, the test set from another stream of the
    same seed. Evaluation and data generation are not timed as steps.

    Args:
        run: What to train.
        progress: Told after every iteration.

    Raises:
        DivergedError: A loss is no longer finite.
    """
    return fit(run, progress)[1]


def fit(run: Run, progress: Progress | None = None) -> tuple[SequenceModel, Result]:
    """As :func:`train`, and the trained model with it."""
    started = time.perf_counter()
    memory = PeakMemory(run.device)
    setting = run.setting
    task = TASKS.get(run.task)(run.length, run.variant, run.seed)
    torch.manual_seed(run.seed)
    model = SequenceModel(run.model, setting, task).to(run.device)
    optimizers = _optimizers(model, setting)
    defect_start = model.unitarity_defect()

    batches = task.train_batches(setting.batch_size, _stream(run, "train"))
    curve = [_evaluated(model, task, run, 0, 0.0, None)]
    state: State | None = None
    durations: list[float] = []
    losses: list[float] = []
    for iteration, batch in enumerate(islice(batches, setting.iterations), start=1):
        batch = batch.to(run.device)
        state = state if batch.continues else None
        step_started = time.perf_counter()
        loss, state = _step(model, task, optimizers, batch, state, setting)
        durations.append(time.perf_counter() - step_started)
        losses.append(loss)
        if setting.decay is not None and iteration % setting.decay_every == 0:
            _scale_rates(optimizers, setting.decay)
        _check_finite("training", loss, iteration, run)
        if progress is not None:
            progress(iteration, loss)
        if iteration % setting.eval_every == 0 or iteration == setting.iterations:
            window, losses = statistics.fmean(losses), []
            point = _evaluated(model, task, run, iteration, sum(durations), window)
            _check_finite("test", point.test_loss, iteration, run)
            _anneal(optimizers, setting, curve, point)
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
    )
    return model, result


def _check_finite(name: str, loss: float, iteration: int, run: Run) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"the {name} loss became {loss} at iteration {iteration} of {run.setting.iterations} "
            f"({run.setting.optimizer}); lower the learning rate or clip"
        )


def _stream(run: Run, name: str) -> torch.Generator:
    """The run's generator of that name: the same for every model, so all see the same data."""
    task = f"{run.task}-{run.variant}" if run.variant else run.task
    return stream(f"{task}/{run.length}/{run.seed}/{name}")


def _optimizers(model: SequenceModel, setting: Setting) -> list[torch.optim.Optimizer]:
    """One optimizer for the free parameters and, in a scheme, one for the unitary weight."""
    unitary = setting.unitary_optimizer or setting.optimizer
    specs = (setting.optimizer, unitary)
    groups = unitary_zoo.parameter_groups(model, lr=specs[0].lr, unitary_lr=unitary.lr)
    # A baseline has one group only; the second specification then finds none.
    optimizers = [
        OPTIMIZERS[spec.kind]([group], spec) for spec, group in zip(specs, groups, strict=False)
    ]
    if any(model.schemes()):
        unitary_zoo.attach(model, *optimizers)
    return optimizers


def _step(
    model: SequenceModel,
    task: Task,
    optimizers: list[torch.optim.Optimizer],
    batch: Batch,
    state: State | None,
    setting: Setting,
) -> tuple[float, State]:
    """One iteration; returns its loss, once the device has finished it, and the last states."""
    outputs, state = model(batch.inputs, state)
    loss = task.loss(outputs, batch.targets)
    model.zero_grad()
    (loss if setting.penalty is None else loss + _penalty(model, setting.penalty)).backward()
    if setting.clip is not None:
        torch.nn.utils.clip_grad_value_(model.parameters(), setting.clip)
    if setting.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), setting.clip_norm)
    for optimizer in optimizers:
        optimizer.step()
    if loss.is_cuda:
        torch.cuda.synchronize(loss.device)
    return loss.item(), _detached(state)


def _detached(state: State) -> State:
    """Without their past: gradients end where a batch begins."""
    if isinstance(state, tuple):
        return state[0].detach(), state[1].detach()
    return state.detach()


def _anneal(
    optimizers: list[torch.optim.Optimizer], setting: Setting, past: list[Point], point: Point
) -> None:
    """Lower the learning rates where the setting asks for it and validation did not improve."""
    if setting.anneal is None or point.valid_loss is None:
        return
    if point.valid_loss >= min(before.valid_loss or math.inf for before in past):
        _scale_rates(optimizers, 1 / setting.anneal)


def _scale_rates(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] *= factor


def _penalty(model: SequenceModel, weights: tuple[float, ...]) -> torch.Tensor:
    """Sum of the schemes' own penalties.

    Raises:
        TypeError: The model has none.
    """
    found = [getattr(scheme, "penalty", None) for scheme in model.schemes()]
    if not found or None in found:
        raise TypeError("the model has no penalty of its own; leave Setting.penalty at None")
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
    # In batches of the training size: larger ones would set the peak memory that is reported.
    size = run.setting.batch_size
    validation = task.valid_batches(size, run.setting.test_size)
    valid_loss = None if validation is None else _measure(model, task, run, validation)[0]
    test = task.test_batches(size, run.setting.test_size, _stream(run, "test"))
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
