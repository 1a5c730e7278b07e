"""Records that pass between the rooms: settings, runs, results and failures, plain and frozen.

The records of a setting are defined in :mod:`comparisons.settings`, to keep both files short.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from comparisons.settings import (
    EvaluationSettings,
    ModelSettings,
    Optimizer,
    Setting,
    TrainingSettings,
)

__all__ = [
    "EvaluationSettings",
    "Failure",
    "ModelSettings",
    "Optimizer",
    "Point",
    "Probes",
    "Result",
    "Run",
    "Setting",
    "TrainingSettings",
]


@dataclass(frozen=True)
class Run:
    """One training, completely configured.

    Equal runs give equal numbers on the same machine with the same number of threads, which the
    `Result` records. With another number, sums are added in another order: single steps differ by
    rounding (1e-7), which training can amplify.

    Attributes:
        task: Registered name of the task.
        model: Name of a scheme or of a baseline.
        length: T of the sequences.
        seed: Draws the start, the data and, where there is one, the system to be identified.
        setting: How the model is trained.
        device: Where it is trained.
        variant: Data set or form of the task; "" where the task has one only.
        paper: Name of the paper that the setting is taken from, perhaps with a change that the
            setting's ``source`` states; "" for settings of this project and for borrowed ones. It
            is no part of the id, and files written before it was kept lack it.
    """

    task: str
    model: str
    length: int
    seed: int
    setting: Setting
    device: str = "cpu"
    variant: str = ""
    paper: str = ""

    def __str__(self) -> str:
        size = self.setting.model.hidden_size
        variant = f" ({self.variant})" if self.variant else ""
        return f"{self.task}{variant} T={self.length} {self.model} n={size} seed {self.seed}"

    @property
    def id(self) -> str:
        """A readable and stable name: the same configuration has the same id in every place.

        The last eight digits are a hash of the configuration, so that two runs with
        different configurations never share a file. Fields that concern the report alone do not
        count, nor do values at their default, so that a new field leaves the ids of old files
        alone.
        """
        config = {"device": self.device, "setting": self.setting.configuration()}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
        task = f"{self.task}-{self.variant}" if self.variant else self.task
        return (
            f"{task}-T{self.length}-{self.model}-n{self.setting.model.hidden_size}"
            f"-seed{self.seed}-{digest}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The form in files."""
        return {**_shallow(self), "setting": self.setting.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Run:
        """The inverse of :meth:`to_dict`."""
        return cls(**{**data, "setting": Setting.from_dict(data["setting"])})


@dataclass(frozen=True)
class Point:
    """One evaluation on the learning curve.

    Attributes:
        iteration: Optimizer steps taken so far.
        seconds: Time spent in them, evaluation and data generation excluded.
        train_loss: Mean over the iterations since the last evaluation; None before the first step.
        test_loss: Loss on the run's test set.
        test_accuracy: Accuracy on the run's test set; each task says what it counts.
        valid_loss: Loss on the task's validation set; None where it has none.
        defect: Unitarity defect of the recurrent matrix; None for models that do not claim to be
            unitary, and in files written before it was kept.
    """

    iteration: int
    seconds: float
    train_loss: float | None
    test_loss: float
    test_accuracy: float
    valid_loss: float | None = None
    defect: float | None = None


@dataclass(frozen=True)
class Probes:
    """What was measured inside a trained model.

    Attributes:
        eigenphases_start: Eigenphases in (-π, π] of the first layer's recurrent matrix before
            training, in ascending order; None for models without such a matrix.
        eigenphases_end: Those after training.
        gradient_steps: Steps t of a sequence, counted from 1.
        gradient_norms: ‖dL/dh_t‖ at these steps after training: the root of the mean square over
            at most 16 sequences of a test batch, L being the sum of their losses. h is the state of
            the top layer; for an LSTM, c is held fixed.
    """

    eigenphases_start: tuple[float, ...] | None = None
    eigenphases_end: tuple[float, ...] | None = None
    gradient_steps: tuple[int, ...] = ()
    gradient_norms: tuple[float, ...] = ()


@dataclass(frozen=True)
class Result:
    """The result of a finished run, stored as one JSON file.

    Attributes:
        run: The configuration.
        baseline: The task's constant baseline.
        parameters: Trainable parameters of the whole model.
        recurrent_parameters: Trainable parameters of the recurrent matrix alone.
        curve: The evaluations, the first one before training.
        ms_per_step: Median wall time of one iteration (forward, backward, optimizer).
        seconds: Wall time of the whole run, evaluation included.
        peak_memory_mb: Rise of the process's resident set over its value at the start (on CUDA the
            allocator's peak); None where the platform does not tell.
        defect_start: Unitarity defect of the recurrent matrix at initialisation; None for models
            that do not claim to be unitary.
        defect_end: Unitarity defect after training.
        threads: CPU threads torch used; the executor shares the CPUs out among its jobs.
        versions: The versions of Python, torch and this library.
        machine: CPU, cores, platform and GPU.
        date: When the run ended (ISO 8601, UTC).
        command: The command that asked for it.
        deviation: How far a scheme that is not unitary by construction may be off, and why; "" for
            the others.
        data: What the run was trained and tested on.
        memoryless: The task's memoryless baseline; None where it is not known, and in files written
            before it was kept.
        resumed_at: Iterations at which the run went on from a checkpoint.
        stopped: Why it ended before its last iteration: "plateau", "diverged", or "".
        probes: What was measured inside the model; None in files written before it was kept.
    """

    run: Run
    baseline: float
    parameters: int
    recurrent_parameters: int
    curve: tuple[Point, ...]
    ms_per_step: float
    seconds: float
    peak_memory_mb: float | None
    defect_start: float | None
    defect_end: float | None
    threads: int
    versions: dict[str, str]
    machine: dict[str, Any]
    date: str
    command: str = ""
    deviation: str = ""
    data: str = "generated sequences"
    memoryless: float | None = None
    resumed_at: tuple[int, ...] = ()
    stopped: str = ""
    probes: Probes | None = None

    @property
    def without_memory(self) -> float:
        """The least loss known that needs no memory: a run that learned to remember is below it."""
        return self.baseline if self.memoryless is None else self.memoryless

    @property
    def final(self) -> Point:
        """The last evaluation."""
        return self.curve[-1]

    @property
    def chosen(self) -> Point:
        """The evaluation with the least validation loss; without any, the last or the best one."""
        if self.run.setting.evaluation.report_best_test:
            return min(self.curve, key=lambda point: point.test_loss)
        validated = [point for point in self.curve if point.valid_loss is not None]
        return min(validated, key=lambda point: point.valid_loss or 0.0, default=self.final)

    def to_dict(self) -> dict[str, Any]:
        """The form in files."""
        curve = [dataclasses.asdict(point) for point in self.curve]
        probes = None if self.probes is None else _shallow(self.probes)
        return {**_shallow(self), "run": self.run.to_dict(), "curve": curve, "probes": probes}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Result:
        """The inverse of :meth:`to_dict`."""
        tuples = {
            "curve": tuple(Point(**point) for point in data["curve"]),
            "resumed_at": tuple(data.get("resumed_at", ())),
        }
        probes = _probes(data.get("probes"))
        return cls(**{**data, "run": Run.from_dict(data["run"]), **tuples, "probes": probes})


@dataclass(frozen=True)
class Failure:
    """A run that did not finish.

    Attributes:
        run: The run.
        error: The error in one line.
        traceback: Empty where there is none.
        date: When it happened.
        kind: Class of the exception; empty where there is none, and in files written before it was
            kept.
        attempts: How often it was tried.
    """

    run: Run
    error: str
    traceback: str
    date: str
    kind: str = ""
    attempts: int = 1

    def to_dict(self) -> dict[str, Any]:
        """The form in files."""
        return {**_shallow(self), "run": self.run.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Failure:
        """The inverse of :meth:`to_dict`."""
        return cls(**{**data, "run": Run.from_dict(data["run"])})


def _probes(data: dict[str, Any] | None) -> Probes | None:
    if data is None:
        return None
    lists = {name: tuple(x) if isinstance(x, list) else x for name, x in data.items()}
    return Probes(**lists)


def _shallow(record: Any) -> dict[str, Any]:
    return {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
