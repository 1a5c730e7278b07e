"""The training of one run as an object: its state between two steps, and the next step."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from comparisons.models import SequenceModel, State, exact_state, load_exactly_
from comparisons.records import Point, Run
from comparisons.tasks import Batch
from comparisons.training.data_stream import DataStream
from comparisons.training.evaluation import make_task, measured_on_test, validation_loss
from comparisons.training.optimizers import (
    build_optimizers,
    clip_gradients,
    decay_rates,
    lower_rates_on_plateau,
)
from comparisons.training.probes import eigenphases, unitarity_defect
from comparisons.training.replicas import ALONE, Replicas
from unitary_zoo.errors import NotFiniteError

Progress = Callable[[int, float], None]
"""Called with (iterations done, last training loss), where the loss before the first is NaN."""


PLATEAU, DIVERGED = "plateau", "diverged"
"""Why a training ends before its last iteration, as a `Result` has it."""


class DivergedError(ArithmeticError):
    """A loss became infinite or undefined."""


class Training:
    """The training of one run, from its start or from a saved state.

    Args:
        run: What to train.
        progress: Told after every iteration and after every evaluated batch.
        saved: What :meth:`state_dict` gave; None begins anew.
        replicas: The processes that train the model together.

    Attributes:
        task: The task.
        model: The model as it is now.
        optimizers: Its optimizers.
        defect_start: Its unitarity defect at the start.
        eigenphases_start: The eigenphases of its first recurrent matrix at the start, or None.
        iteration: Number of steps taken.
        state: Last recurrent states of this process's sequences, without their graph; None before
            the first step.
        curve: The evaluations so far.
        rates: The learning rates of the optimizers at each of them.
        durations: Seconds of every step.
        losses: Training losses since the last evaluation.
        stopped: Why the training has ended before its last iteration, or "".

    Raises:
        Exception: The saved state is of another configuration, or damaged.
    """

    def __init__(
        self,
        run: Run,
        progress: Progress | None = None,
        saved: dict[str, Any] | None = None,
        replicas: Replicas = ALONE,
    ) -> None:
        self.run = run
        self._replicas = replicas
        self._settings = run.setting.training
        self._progress = progress
        self.task = make_task(run)
        torch.manual_seed(run.seed)
        self.model = SequenceModel(run.model, run.setting, self.task).to(run.device)
        if saved is not None:
            # Before optimizers are attached, which note the weights to find changes without a step.
            load_exactly_(self.model, saved["model"])
        # A learned initial state is not used where the state is carried over from a batch.
        self._averaging_model = replicas.wrap(self.model, run.setting.model.learn_h0)
        self.optimizers = build_optimizers(self.model, run.setting, replicas.mean)
        replicas.seed_own_stream(run.seed)
        self._stream = DataStream(run, self.task)
        self.iteration = 0
        self.state: State | None = None
        self.curve: list[Point] = []
        self.rates: list[tuple[float, ...]] = []
        self.durations: list[float] = []
        self.losses: list[float] = []
        self.stopped = ""
        self._last_loss = math.nan
        if saved is None:
            self.defect_start = unitarity_defect(self.model)
            self.eigenphases_start = eigenphases(self.model)
        else:
            self._go_on(saved)

    def state_dict(self) -> dict[str, Any]:
        """All from which the training goes on as if it had never stopped: tensors and plain values.

        The tensors are the training's own, which the next step changes.
        """
        device = self.run.device
        return {
            "model": exact_state(self.model),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "stream": self._stream.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.startswith("cuda") else None,
            "iteration": self.iteration,
            "state": _cloned(self.state),
            "curve": [dataclasses.asdict(point) for point in self.curve],
            "rates": self.rates,
            "durations": torch.tensor(self.durations, dtype=torch.float64),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "last_loss": self._last_loss,
            "stopped": self.stopped,
            "defect_start": self.defect_start,
            "eigenphases_start": self.eigenphases_start,
            "data": self.task.data,
        }

    def _go_on(self, saved: dict[str, Any]) -> None:
        """Take over what was saved, apart from the model."""
        if saved["data"] != self.task.data:
            raise ValueError(f"the data were {saved['data']!r} and are {self.task.data!r}")
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.iteration = int(saved["iteration"])
        self.state = _moved(saved["state"], self.run.device)
        self.curve = [Point(**point) for point in saved["curve"]]
        self.rates = [tuple(rates) for rates in saved["rates"]]
        self.durations = saved["durations"].tolist()
        self.losses = saved["losses"].tolist()
        self._last_loss = float(saved["last_loss"])
        self.stopped = str(saved["stopped"])
        self.defect_start = saved["defect_start"]
        start = saved.get("eigenphases_start")  # checkpoints from before it was kept lack it
        self.eigenphases_start = None if start is None else tuple(start)
        self._stream.go_on(saved["stream"], self.iteration, self._report)
        if self.run.device.startswith("cuda"):
            torch.cuda.set_rng_state(saved["random_cuda"], self.run.device)
        torch.set_rng_state(saved["random"])

    @property
    def finished(self) -> bool:
        """Whether no step is left to take."""
        return bool(self.stopped) or self.iteration >= self._settings.iterations

    def step(self) -> None:
        """Take a step on the next batch, and evaluate the model where that is due.

        Raises:
            DivergedError: A loss is no longer finite, and the settings do not end the training
                there.
        """
        try:
            self._step()
        except Exception as error:
            # A scheme may refuse gradients that are not finite, or weights that are no longer.
            diverged = isinstance(error, DivergedError | NotFiniteError) or not self._is_finite()
            if not (diverged and self._settings.stop_at_nan and self.curve):
                raise
            self.stopped = DIVERGED

    def _step(self) -> None:
        batch, share = self._replicas.part(self.task, self._stream.next())
        batch = batch.to(self.run.device)
        self.iteration += 1
        started = time.perf_counter()
        try:
            self._last_loss = self._update(batch, share, self.state if batch.continues else None)
        finally:
            self.durations.append(time.perf_counter() - started)
        self.losses.append(self._last_loss)
        decay_rates(self.optimizers, self._settings, self.iteration)
        self._check_finite("training", self._last_loss)
        self._report()
        last = self.iteration == self._settings.iterations
        if self.iteration % self.run.setting.evaluation.eval_every == 0 or last:
            self.evaluate()
            if not last and has_plateaued(self.curve, self._settings.patience):
                self.stopped = PLATEAU

    def evaluate(self) -> None:
        """Add a point to the learning curve.

        Raises:
            DivergedError: A loss is not finite.
        """
        train_loss = statistics.fmean(self.losses) if self.losses else None
        self._replicas.check_equal(self.model)
        measured = (self.model, self.task, self.run, self._report, self._replicas)
        valid_loss = validation_loss(*measured)
        if valid_loss is not None:
            self._check_finite("validation", valid_loss)
        loss, accuracy = measured_on_test(*measured)
        self._check_finite("test", loss)
        seconds = math.fsum(self.durations)
        defect = unitarity_defect(self.model)
        point = Point(self.iteration, seconds, train_loss, loss, accuracy, valid_loss, defect)
        self.losses = []
        self.rates.append(
            tuple(group["lr"] for optimizer in self.optimizers for group in optimizer.param_groups)
        )
        if self.curve:
            lower_rates_on_plateau(self.optimizers, self._settings, self.curve, point)
        self.curve.append(point)

    def _update(self, batch: Batch, share: float, state: State | None) -> float:
        """Change the model once; return the loss of all processes, once the device has finished."""
        outputs, state = self._averaging_model(batch.inputs, state)
        loss = self.task.loss(outputs, batch.targets)
        self.model.zero_grad()
        weights = self._settings.penalty
        weighted = self._replicas.weighted(loss, share)
        (weighted if weights is None else weighted + _penalty(self.model, weights)).backward()
        clip_gradients(self.model, self._settings)
        for optimizer in self.optimizers:
            optimizer.step()
        if loss.is_cuda:
            torch.cuda.synchronize(loss.device)
        self.state = _detached(state)
        return self._replicas.totals([share * loss.item()])[0]

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self.iteration, self._last_loss)

    def _is_finite(self) -> bool:
        return all(bool(p.isfinite().all()) for p in self.model.parameters())

    def _check_finite(self, name: str, loss: float) -> None:
        if not math.isfinite(loss):
            settings = self._settings
            raise DivergedError(
                f"the {name} loss became {loss} at iteration {self.iteration} of "
                f"{settings.iterations} ({settings.optimizer}); lower the learning rate or clip"
            )


def has_plateaued(curve: Sequence[Point], patience: int | None) -> bool:
    """Whether the last ``patience`` evaluations in a row had no better validation loss.

    Where there is no validation set, it is the training loss.
    """
    if patience is None:
        return False
    watched = [p.train_loss if p.valid_loss is None else p.valid_loss for p in curve]
    losses = [loss for loss in watched if loss is not None]
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


def _detached(state: State) -> State:
    """The states without their graph, so that gradients end where a batch begins."""
    # In one order in memory, so that they are the same after a checkpoint.
    if isinstance(state, tuple):
        return tuple(part.detach().contiguous() for part in state)
    return state.detach().contiguous()


def _cloned(state: State | None) -> State | None:
    """The states alone: they may be the end of a tensor of all steps, which would be saved too."""
    if isinstance(state, tuple):
        return tuple(part.clone() for part in state)
    return None if state is None else state.clone()


def _moved(state: State | None, device: str) -> State | None:
    if isinstance(state, tuple):
        return tuple(part.to(device) for part in state)
    return None if state is None else state.to(device)


def _penalty(model: SequenceModel, weights: tuple[float, ...]) -> torch.Tensor:
    """Sum of the schemes' own penalties.

    Raises:
        TypeError: The model has none.
    """
    found = [getattr(scheme, "penalty", None) for scheme in model.schemes()]
    if not found or None in found:
        raise TypeError("the model has no penalty of its own; leave penalty at None")
    return torch.stack([penalty(*weights) for penalty in found if penalty is not None]).sum()
