"""The training of one run as an object: its state between two steps, and the next step."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch

from comparisons.models import SequenceModel, State
from comparisons.records import Point, Run
from comparisons.tasks import TASKS, Batch
from comparisons.training.evaluation import measured_on_test, run_stream, validation_loss
from comparisons.training.optimizers import (
    build_optimizers,
    clip_gradients,
    decay_rates,
    lower_rates_on_plateau,
)

Progress = Callable[[int, float], None]
"""Called with (iterations done, last training loss), where the loss before the first is NaN."""


class DivergedError(ArithmeticError):
    """A loss became infinite or undefined."""


class Training:
    """The training of one run, from its start.

    Args:
        run: What to train.
        progress: Told after every iteration and after every evaluated batch.

    Attributes:
        task: The task.
        model: The model as it is now.
        optimizers: Its optimizers.
        defect_start: Its unitarity defect at the start.
        iteration: Number of steps taken.
        state: Last recurrent states, without their graph; None before the first step.
        curve: The evaluations so far.
        durations: Seconds of every step.
        losses: Training losses since the last evaluation.
    """

    def __init__(self, run: Run, progress: Progress | None = None) -> None:
        self.run = run
        self._settings = run.setting.training
        self._progress = progress
        self.task = TASKS.get(run.task)(run.length, run.variant, run.seed)
        torch.manual_seed(run.seed)
        self.model = SequenceModel(run.model, run.setting, self.task).to(run.device)
        self.optimizers = build_optimizers(self.model, run.setting)
        self.defect_start = self.model.unitarity_defect()
        self._batches = self.task.train_batches(self._settings.batch_size, run_stream(run, "train"))
        self.iteration = 0
        self.state: State | None = None
        self.curve: list[Point] = []
        self.durations: list[float] = []
        self.losses: list[float] = []
        self._last_loss = math.nan

    @property
    def finished(self) -> bool:
        """Whether the last step has been taken."""
        return self.iteration >= self._settings.iterations

    def step(self) -> None:
        """Take a step on the next batch, and evaluate the model where that is due.

        Raises:
            DivergedError: A loss is no longer finite.
        """
        batch = next(self._batches).to(self.run.device)
        state = self.state if batch.continues else None
        started = time.perf_counter()
        self._last_loss = self._update(batch, state)
        self.durations.append(time.perf_counter() - started)
        self.losses.append(self._last_loss)
        self.iteration += 1
        decay_rates(self.optimizers, self._settings, self.iteration)
        self._check_finite("training", self._last_loss)
        self._report()
        if self.iteration % self.run.setting.evaluation.eval_every == 0 or self.finished:
            self.evaluate()

    def evaluate(self) -> None:
        """Add a point to the learning curve.

        Raises:
            DivergedError: The test loss is not finite.
        """
        train_loss = statistics.fmean(self.losses) if self.losses else None
        self.losses = []
        valid_loss = validation_loss(self.model, self.task, self.run, self._report)
        loss, accuracy = measured_on_test(self.model, self.task, self.run, self._report)
        seconds = math.fsum(self.durations)
        point = Point(self.iteration, seconds, train_loss, loss, accuracy, valid_loss)
        if self.curve:
            self._check_finite("test", loss)
            lower_rates_on_plateau(self.optimizers, self._settings, self.curve, point)
        self.curve.append(point)

    def _update(self, batch: Batch, state: State | None) -> float:
        """Change the model once; return the loss, once the device has finished."""
        outputs, state = self.model(batch.inputs, state)
        loss = self.task.loss(outputs, batch.targets)
        self.model.zero_grad()
        weights = self._settings.penalty
        (loss if weights is None else loss + _penalty(self.model, weights)).backward()
        clip_gradients(self.model, self._settings)
        for optimizer in self.optimizers:
            optimizer.step()
        if loss.is_cuda:
            torch.cuda.synchronize(loss.device)
        self.state = _detached(state)
        return loss.item()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self.iteration, self._last_loss)

    def _check_finite(self, name: str, loss: float) -> None:
        if not math.isfinite(loss):
            settings = self._settings
            raise DivergedError(
                f"the {name} loss became {loss} at iteration {self.iteration} of "
                f"{settings.iterations} ({settings.optimizer}); lower the learning rate or clip"
            )


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
