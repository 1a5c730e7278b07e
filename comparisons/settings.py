"""Settings of a training: three plain frozen records, and the `Setting` made of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Optimizer:
    """Kind (a key of ``training.optimizers.OPTIMIZERS``), learning rate and RMSprop's decay."""

    kind: str
    lr: float
    alpha: float | None = None

    def __str__(self) -> str:
        decay = "" if self.alpha is None else f" α={self.alpha:g}"
        return f"{self.kind} {self.lr:g}{decay}"


# Metadata of a field: ``words``, called with a value that is not the default and with the record,
# returns what Setting.particulars says of it; ``key`` is the name in files and ids where it differs
# from the field's; ``in_id`` is False for what concerns the report alone.


@dataclass(frozen=True)
class ModelSettings:
    """Sizes, start and form of a model.

    Attributes:
        hidden_size: Units of the recurrent layer (complex units for a complex scheme).
        init: Initialiser of the unitary weight; None is the scheme's own.
        learn_h0: Whether the initial state is learned; for schemes only.
        nonlinearity: Nonlinearity of the recurrent layer of a scheme or of the baseline ``rnn``;
            the other baselines have their own.
        layer: "rnn" or "gru": a scheme in a `UnitaryRNN` or in a `UnitaryGRU`.
        layers: Number of recurrent layers on top of each other.
        bias: Whether the recurrent layer of a scheme has a bias.
        embedding: Number of features of a token's embedding; None takes the hidden size.
        init_range: Embedding and read-out start uniform in ±init_range; None is N(0, 1) for the
            embedding and Glorot for the read-out.
        dropout: Probability that an entry of the embedding, of the features or between layers is
            dropped.
        only_recurrent_weight: Whether W alone is learned; everything else is set to that of the
            system to be identified, and fixed.
        options: The scheme's own options, as pairs of name and value.
    """

    hidden_size: int
    init: str | None = field(default=None, metadata={"words": "init {}".format})
    learn_h0: bool = field(default=False, metadata={"words": "learned h₀".format})
    nonlinearity: str = field(default="modrelu", metadata={"words": "{}".format})
    layer: str = field(default="rnn", metadata={"words": lambda layer, _: layer.upper()})
    layers: int = field(default=1, metadata={"words": "{} layers".format})
    bias: bool = field(default=False, metadata={"words": "bias".format})
    embedding: int | None = field(default=None, metadata={"words": "embedding {}".format})
    init_range: float | None = field(
        default=None, metadata={"words": "embedding and read-out start in ±{:g}".format}
    )
    dropout: float = field(default=0.0, metadata={"words": "dropout {:g}".format})
    only_recurrent_weight: bool = field(
        default=False, metadata={"words": "W alone is learned".format, "key": "identify"}
    )
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class TrainingSettings:
    """Optimizers, schedules and clipping of a training.

    Attributes:
        batch_size: Sequences per iteration.
        iterations: Optimizer steps.
        optimizer: Optimizer of everything but the unitary weight.
        unitary_optimizer: Optimizer of the unitary weight; None for baselines, which have none.
        clip: Largest absolute value of a gradient entry; None leaves gradients as they are.
        clip_norm: Largest norm of the whole gradient; None leaves it as it is.
        plateau_divisor: The learning rates are divided by it after an evaluation whose validation
            loss is not the best so far; None leaves them.
        lr_decay: The learning rates are multiplied by it after every ``decay_every`` iterations;
            None leaves them.
        decay_every: Number of iterations between two of these multiplications.
        penalty: Arguments of the scheme's own penalty, which is added to the training loss; None
            adds nothing.
        patience: Training ends after that many evaluations in a row without a better validation
            loss (training loss, where there is no validation set); None trains to the end.
        stop_at_nan: Whether a loss that is not finite ends the training with the curve so far,
            instead of as a failure.
    """

    batch_size: int
    iterations: int
    optimizer: Optimizer
    unitary_optimizer: Optimizer | None = field(default=None, metadata={"words": "W: {}".format})
    clip: float | None = field(default=None, metadata={"words": "clip ±{:g}".format})
    clip_norm: float | None = field(default=None, metadata={"words": "clip norm {:g}".format})
    plateau_divisor: float | None = field(
        default=None, metadata={"words": "lr ÷ {:g} on plateau".format, "key": "anneal"}
    )
    lr_decay: float | None = field(
        default=None,
        metadata={"words": "lr × {0:g} every {1.decay_every:,}".format, "key": "decay"},
    )
    decay_every: int = 1
    penalty: tuple[float, ...] | None = field(
        default=None,
        metadata={
            "words": lambda weights, _: (
                f"penalty {' and '.join(f'{weight:g}' for weight in weights)}"
            )
        },
    )
    patience: int | None = field(
        default=None, metadata={"words": "ends after {} evaluations without progress".format}
    )
    stop_at_nan: bool = field(
        default=False, metadata={"words": "ends where the loss is not finite".format}
    )


@dataclass(frozen=True)
class EvaluationSettings:
    """Sizes and times of evaluations, and which one is reported.

    Attributes:
        test_size: Number of sequences of the test set, which is drawn once per run; of a given
            test set or validation set, the largest number that is taken.
        eval_every: Iterations between two evaluations.
        validation_size: Sequences of a validation set for a task that has none of its own, drawn
            from a stream apart from those of training and test; 0 draws none.
        report_best_test: Whether the evaluation with the least test loss is reported, as some
            papers do, instead of the last one; no part of a run's id.
    """

    test_size: int = 1000
    eval_every: int = 100
    validation_size: int = 0
    report_best_test: bool = field(default=False, metadata={"key": "best_test", "in_id": False})


@dataclass(frozen=True)
class Setting:
    """The setting of one model on one task: all that a paper's section on experiments states.

    No two of its records have a field of the same name, so that :meth:`of` and :meth:`changed`
    take the fields of all three without naming the record.

    Attributes:
        model: Sizes, start and form of the model.
        training: Optimizers, schedules and clipping.
        evaluation: What is measured, and when.
        source: Where these values come from, in words; no part of a run's id.
    """

    model: ModelSettings
    training: TrainingSettings
    evaluation: EvaluationSettings = EvaluationSettings()
    source: str = ""

    @classmethod
    def of(cls, *, source: str = "", **values: Any) -> Setting:
        """The setting with these values of the fields of its records.

        Raises:
            TypeError: A field is unknown, or one without a default is missing.
        """
        shares = _by_record(values)
        records = {name: record(**shares[name]) for name, record in _RECORDS.items()}
        return cls(**records, source=source)

    def changed(self, **values: Any) -> Setting:
        """The setting with other values of some fields, ``source`` among them.

        Raises:
            TypeError: A field is unknown.
        """
        source = values.pop("source", self.source)
        records = {
            name: dataclasses.replace(getattr(self, name), **share)
            for name, share in _by_record(values).items()
        }
        return Setting(**records, source=source)

    def values(self) -> dict[str, Any]:
        """The value of every field of the three records, by the field's name."""
        records = (self.training, self.model, self.evaluation)
        return {f.name: getattr(r, f.name) for r in records for f in _fields(r)}

    @property
    def particulars(self) -> tuple[str, ...]:
        """The optimizers and all else, except for sizes, that is not at its default, in words."""
        parts = [str(self.training.optimizer)]
        for record in (self.training, self.model):
            for f in _fields(record):
                value, words = getattr(record, f.name), f.metadata.get("words")
                if words is not None and value != f.default:
                    parts.append(words(value, record))
        return (*parts, *(f"{name}={value}" for name, value in self.model.options))

    @property
    def summary(self) -> str:
        return ", ".join(self.particulars)

    def configuration(self) -> dict[str, Any]:
        """Values that :attr:`Run.id` depends on, by their keys: those not at their default.

        Fields that concern the report alone are left out.
        """
        return {
            _key(f): _plain(getattr(record, f.name))
            for record in (self.training, self.model, self.evaluation)
            for f in _fields(record)
            if f.metadata.get("in_id", True) and getattr(record, f.name) != f.default
        }

    def to_dict(self) -> dict[str, Any]:
        """All values on one level, by their keys: the form in files."""
        records = (self.training, self.model, self.evaluation)
        found = {_key(f): _plain(getattr(r, f.name)) for r in records for f in _fields(r)}
        return {**found, "source": self.source}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Setting:
        """The inverse of :meth:`to_dict`; fields that a file lacks are at their default."""
        names = {_key(f): f.name for record in _RECORDS.values() for f in _fields(record)}
        values = {names.get(key, key): value for key, value in data.items()}
        for name in ("optimizer", "unitary_optimizer"):
            if values.get(name) is not None:
                values[name] = Optimizer(**values[name])
        if values.get("penalty") is not None:
            values["penalty"] = tuple(values["penalty"])
        values["options"] = tuple((name, value) for name, value in values.get("options", ()))
        return cls.of(**values)


_RECORDS: dict[str, type[Any]] = {
    "model": ModelSettings,
    "training": TrainingSettings,
    "evaluation": EvaluationSettings,
}


def _fields(record: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(record)


def _key(f: dataclasses.Field[Any]) -> str:
    return str(f.metadata.get("key", f.name))


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if isinstance(value, Optimizer) else value


def _by_record(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The values of each record's fields.

    Raises:
        TypeError: No record has a field of that name.
    """
    owners = {f.name: name for name, record in _RECORDS.items() for f in _fields(record)}
    shares: dict[str, dict[str, Any]] = {name: {} for name in _RECORDS}
    for name, value in values.items():
        if name not in owners:
            raise TypeError(f"a setting has no field {name!r}; its fields: {', '.join(owners)}")
        shares[owners[name]][name] = value
    return shares
