"""One run to one result: build the model, train it on fresh data, evaluate, measure."""

from __future__ import annotations

import datetime
import hashlib
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import unitary_zoo
from comparisons.machine import PeakMemory, describe_machine, versions
from comparisons.models import SequenceModel
from comparisons.records import Optimizer, Point, Result, Run, Setting
from comparisons.tasks import TASKS, Task

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

    Data are fresh in every iteration, from a generator seeded by the run; the test set comes from
    another stream of the same seed. Evaluation and data generation are not timed as steps.

    Args:
        run: What to train.
        progress: Told after every iteration.

    Raises:
        DivergedError: A loss is no longer finite.
    """
    started = time.perf_counter()
    memory = PeakMemory(run.device)
    setting = run.setting
    task = TASKS.get(run.task)(run.length)
    torch.manual_seed(run.seed)
    model = SequenceModel(run.model, setting, task).to(run.device)
    optimizers = _optimizers(model, setting)
    defect_start = model.unitarity_defect()

    data = _stream(run, "train")
    curve = [Point(0, 0.0, None, *_evaluate(model, task, run))]
    durations: list[float] = []
    losses: list[float] = []
    for iteration in range(1, setting.iterations + 1):
        inputs, targets = _to(run.device, task.batch(setting.batch_size, data))
        step_started = time.perf_counter()
        losses.append(_step(model, task, optimizers, inputs, targets, setting.clip))
        durations.append(time.perf_counter() - step_started)
        _check_finite("training", losses[-1], iteration, run)
        if progress is not None:
            progress(iteration, losses[-1])
        if iteration % setting.eval_every == 0 or iteration == setting.iterations:
            window = statistics.fmean(losses)
            curve.append(Point(iteration, sum(durations), window, *_evaluate(model, task, run)))
            _check_finite("test", curve[-1].test_loss, iteration, run)
            losses.clear()

    return Result(
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
    )


def _check_finite(name: str, loss: float, iteration: int, run: Run) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"the {name} loss became {loss} at iteration {iteration} of {run.setting.iterations} "
            f"({run.setting.optimizer}); lower the learning rate or clip"
        )


def _stream(run: Run, name: str) -> torch.Generator:
    """The run's generator of that name: the same for every model, so all see the same data."""
    key = f"{run.task}/{run.length}/{run.seed}/{name}"
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big", signed=True)
    return torch.Generator().manual_seed(seed)


def _to(device: str, tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.to(device) for tensor in tensors)


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
    inputs: torch.Tensor,
    targets: torch.Tensor,
    clip: float | None,
) -> float:
    """One iteration; returns its loss once the device has finished it."""
    loss = task.loss(model(inputs), targets)
    model.zero_grad()
    loss.backward()
    if clip is not None:
        torch.nn.utils.clip_grad_value_(model.parameters(), clip)
    for optimizer in optimizers:
        optimizer.step()
    if loss.is_cuda:
        torch.cuda.synchronize(loss.device)
    return loss.item()


@torch.no_grad()
def _evaluate(model: SequenceModel, task: Task, run: Run) -> tuple[float, float]:
    """Loss and accuracy on the test set, drawn anew from its seed rather than kept in memory.

    In batches of the training size: larger ones would set the peak memory that is reported.
    """
    data = _stream(run, "test")
    size = run.setting.test_size
    loss = accuracy = 0.0
    for start in range(0, size, run.setting.batch_size):
        count = min(run.setting.batch_size, size - start)
        inputs, targets = _to(run.device, task.batch(count, data))
        outputs = model(inputs)
        loss += task.loss(outputs, targets).item() * count / size
        accuracy += task.accuracy(outputs, targets).item() * count / size
    return loss, accuracy
