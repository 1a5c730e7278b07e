"""What passes between the rooms: settings, runs, results and failures, all plain frozen records."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Optimizer:
    """One optimizer: its kind (see ``train.OPTIMIZERS``), learning rate and, for RMSprop, decay."""

    kind: str
    lr: float
    alpha: float | None = None

    def __str__(self) -> str:
        decay = "" if self.alpha is None else f" α={self.alpha:g}"
        return f"{self.kind} {self.lr:g}{decay}"


WORDING = frozenset({"source", "best_test"})
"""Fields of a setting that say how to tell of a run and change nothing in it."""


@dataclass(frozen=True)
class Setting:
    """How one model is trained on one task: all that a paper's section "experiments" fixes.

    Attributes:
        hidden_size: Units of the recurrent layer (complex units for a complex scheme).
        batch_size: Sequences per iteration.
        iterations: Optimizer steps.
        optimizer: For everything but the unitary weight.
        unitary_optimizer: For the unitary weight; None where there is none (the baselines).
        clip: Largest absolute value of a gradient entry; None leaves gradients as they are.
        init: Initialiser of the unitary weight; None is the scheme's own.
        nonlinearity: Of the recurrent layer of a scheme or of the baseline ``rnn``; the other
            baselines bring their own.
        learn_h0: Whether the initial state is learned; for schemes only.
        test_size: Sequences of the test set, drawn once per run; of a given test set, and of a
            validation set, at most.
        eval_every: Iterations between two evaluations.
        source: Where these values come from, in words; no part of a run's identity.
        best_test: Whether the least test loss of all evaluations is what counts, as in some papers,
            instead of the last one; no part of a run's identity either.
        layer: "rnn" or "gru": a scheme in a `UnitaryRNN` or in a `UnitaryGRU`.
        layers: Recurrent layers on top of each other.
        bias: Whether the recurrent layer of a scheme has a bias.
        embedding: Features of a token's embedding; None takes the hidden size.
        init_range: Embedding and read-out start uniform in ±init_range; None is N(0, 1) for the one
            and Glorot for the other.
        dropout: Of embedding, features and between layers.
        clip_norm: Largest norm of the whole gradient; None leaves it as it is.
        anneal: The learning rates are divided by it after an evaluation whose validation loss is
            not the best so far; None leaves them.
        decay: The learning rates are multiplied by it after every ``decay_every`` iterations; None
            leaves them.
        decay_every: Iterations.
        penalty: Arguments of the scheme's own penalty, which is added to the training loss; None
            adds nothing.
        identify: Everything but W is that of the system to be identified, and fixed.
        options: The scheme's own options, as pairs of name and value.
    """

    hidden_size: int
    batch_size: int
    iterations: int
    optimizer: Optimizer
    unitary_optimizer: Optimizer | None = None
    clip: float | None = None
    init: str | None = None
    nonlinearity: str = "modrelu"
    learn_h0: bool = False
    test_size: int = 1000
    eval_every: int = 100
    source: str = ""
    best_test: bool = False
    layer: str = "rnn"
    layers: int = 1
    bias: bool = False
    embedding: int | None = None
    init_range: float | None = None
    dropout: float = 0.0
    clip_norm: float | None = None
    anneal: float | None = None
    decay: float | None = None
    decay_every: int = 1
    penalty: tuple[float, ...] | None = None
    identify: bool = False
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def summary(self) -> str:
        """Optimizers, and all else that is not at its default but for the sizes."""
        parts = [str(self.optimizer)]
        if self.unitary_optimizer is not None:
            parts.append(f"W: {self.unitary_optimizer}")
        if self.clip is not None:
            parts.append(f"clip ±{self.clip:g}")
        if self.init is not None:
            parts.append(f"init {self.init}")
        if self.learn_h0:
            parts.append("learned h₀")
        if self.nonlinearity != "modrelu":
            parts.append(self.nonlinearity)
        if self.layer != "rnn":
            parts.append(self.layer.upper())
        if self.layers != 1:
            parts.append(f"{self.layers} layers")
        if self.bias:
            parts.append("bias")
        if self.embedding is not None:
            parts.append(f"embedding {self.embedding}")
        if self.init_range is not None:
            parts.append(f"embedding and read-out start in ±{self.init_range:g}")
        if self.dropout:
            parts.append(f"dropout {self.dropout:g}")
        if self.clip_norm is not None:
            parts.append(f"clip norm {self.clip_norm:g}")
        if self.anneal is not None:
            parts.append(f"lr ÷ {self.anneal:g} on plateau")
        if self.decay is not None:
            parts.append(f"lr × {self.decay:g} every {self.decay_every:,}")
        if self.penalty is not None:
            parts.append(f"penalty {' and '.join(f'{weight:g}' for weight in self.penalty)}")
        if self.identify:
            parts.append("W alone is learned")
        parts += [f"{name}={value}" for name, value in self.options]
        return ", ".join(parts)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Setting:
        """The inverse of ``dataclasses.asdict``."""
        unitary, penalty = data["unitary_optimizer"], data.get("penalty")
        return cls(
            **{
                **data,
                "optimizer": Optimizer(**data["optimizer"]),
                "unitary_optimizer": None if unitary is None else Optimizer(**unitary),
                "penalty": None if penalty is None else tuple(penalty),
                "options": tuple((name, value) for name, value in data.get("options", ())),
            }
        )


def _changed(setting: Setting) -> dict[str, Any]:
    """The values that differ from their field's default, of all that change a run."""
    values = dataclasses.asdict(setting)
    return {
        field.name: values[field.name]
        for field in dataclasses.fields(setting)
        if field.name not in WORDING and getattr(setting, field.name) != field.default
    }


@dataclass(frozen=True)
class Run:
    """One training, completely configured: equal runs give equal numbers on the same machine.

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
        size = self.setting.hidden_size
        variant = f" ({self.variant})" if self.variant else ""
        return f"{self.task}{variant} T={self.length} {self.model} n={size} seed {self.seed}"

    @property
    def id(self) -> str:
        """Readable and stable: the same configuration has the same id in every place.

        The last eight digits are a hash of the configuration, so that two runs which differ
        anywhere never share a file. How to tell of it (:data:`WORDING`) does not count, nor do
        values at their default, so that a field added later leaves the ids of old files alone.
        """
        config = {"device": self.device, "setting": _changed(self.setting)}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
        task = f"{self.task}-{self.variant}" if self.variant else self.task
        return (
            f"{task}-T{self.length}-{self.model}-n{self.setting.hidden_size}"
            f"-seed{self.seed}-{digest}"
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Run:
        """The inverse of ``dataclasses.asdict``."""
        return cls(**{**data, "setting": Setting.from_dict(data["setting"])})


@dataclass(frozen=True)
class Point:
    """One evaluation on the learning curve.

    Attributes:
        iteration: Optimizer steps taken so far.
        seconds: Time spent in them, evaluation and data generation excluded.
        train_loss: Mean over the iterations since the last evaluation; None before the first step.
        test_loss: On the run's test set.
        test_accuracy: Likewise; each task says what it counts.
        valid_loss: On the task's validation set; None where it has none.
    """

    iteration: int
    seconds: float
    train_loss: float | None
    test_loss: float
    test_accuracy: float
    valid_loss: float | None = None


@dataclass(frozen=True)
class Result:
    """All that a finished run leaves behind; one JSON file.

    Attributes:
        run: The configuration.
        baseline: The analytic loss of the best predictor without memory.
        parameters: Trainable parameters of the whole model.
        recurrent_parameters: Those of the recurrent matrix alone.
        curve: The evaluations, the first one before training.
        ms_per_step: Median wall time of one iteration (forward, backward, optimizer).
        seconds: Wall time of the whole run, evaluation included.
        peak_memory_mb: Rise of the process's resident set over its value at the start (on CUDA the
            allocator's peak); None where the platform does not tell.
        defect_start: Unitarity defect of the recurrent matrix at initialisation; None for models
            that do not claim to be unitary.
        defect_end: Likewise after training.
        threads: CPU threads torch used.
        versions: Of Python, torch and this library.
        machine: CPU, cores, platform and GPU.
        date: When the run ended (ISO 8601, UTC).
        command: The command that asked for it.
        deviation: Of a scheme that is not unitary by construction: how far it may be off, and why.
        data: What the run was trained and tested on.
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

    @property
    def final(self) -> Point:
        """The last evaluation."""
        return self.curve[-1]

    @property
    def chosen(self) -> Point:
        """The evaluation with the least validation loss; without any, the last or the best one."""
        if self.run.setting.best_test:
            return min(self.curve, key=lambda point: point.test_loss)
        validated = [point for point in self.curve if point.valid_loss is not None]
        return min(validated, key=lambda point: point.valid_loss or 0.0, default=self.final)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Result:
        """The inverse of ``dataclasses.asdict``."""
        curve = tuple(Point(**point) for point in data["curve"])
        return cls(**{**data, "run": Run.from_dict(data["run"]), "curve": curve})


@dataclass(frozen=True)
class Failure:
    """A run that did not finish: the error in one line, and the traceback where there is one."""

    run: Run
    error: str
    traceback: str
    date: str

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Failure:
        """The inverse of ``dataclasses.asdict``."""
        return cls(**{**data, "run": Run.from_dict(data["run"])})
