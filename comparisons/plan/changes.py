"""Change a setting by names: its fields, parts of them such as ``options.rank``, and short names.

A change that concerns the unitary weight, such as ``init`` or ``unitary_lr``, leaves a baseline as
it is, so that one list of changes serves every model.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from comparisons.models import builder_of, is_baseline, is_scheme, traits_of
from comparisons.records import (
    EvaluationSettings,
    ModelSettings,
    Optimizer,
    Setting,
    TrainingSettings,
)
from comparisons.studies import frozen, in_words
from unitary_zoo.initializers import INITIALIZERS
from unitary_zoo.nonlinearities import NONLINEARITIES
from unitary_zoo.registry import unknown_name

SHORT = {
    "lr": "the learning rate of everything but the unitary weight",
    "unitary_lr": "the learning rate of the unitary weight",
    "unitary_ratio": "the learning rate of the unitary weight as a multiple of the other one",
    "alpha": "RMSprop's decay in both optimizers",
}
"""Short names, and what they change."""

PARTS = ("options", "optimizer", "penalty", "unitary_optimizer")
"""Fields of which a part can be named after a dot."""

OF_SCHEMES = {"bias", "init", "learn_h0", "options", "penalty", "unitary_lr", "unitary_optimizer"}
OF_SCHEMES |= {"unitary_ratio", "only_recurrent_weight"}
"""Fields and short names that concern schemes alone, and models that have such weights."""

_OF_UNITARY_WEIGHTS = {"init", "unitary_lr", "unitary_optimizer", "unitary_ratio"}

_RECORDS = (ModelSettings, TrainingSettings, EvaluationSettings)
_HINTS = {name: hint for r in _RECORDS for name, hint in typing.get_type_hints(r).items()}
_PART_HINTS = typing.get_type_hints(Optimizer)


class ChangeError(ValueError):
    """A change that no setting can have; the message says what is allowed."""


def takes(model: str, field: str) -> bool:
    """Whether a change of the field, or by the short name, concerns the model."""
    if field not in OF_SCHEMES or is_scheme(model):
        return True
    if is_baseline(model):
        return False
    traits = traits_of(builder_of(model))
    return field in traits.fields or bool(traits.schemes and field in _OF_UNITARY_WEIGHTS)


def check_change(name: str, value: Any) -> None:
    """Check that a setting has something of that name, and that the value is of its type.

    Raises:
        ChangeError: It has not, or it is not.
    """
    field, dot, part = name.partition(".")
    if name in SHORT:
        _check(name, value, float)
    elif dot and field not in PARTS:
        raise ChangeError(unknown_name("setting", name, (*(f"{p}.NAME" for p in PARTS),)))
    elif field not in _HINTS:
        raise ChangeError(unknown_name("setting", name, (*_HINTS, *SHORT)))
    elif "optimizer" in field:
        parts = {part: value} if dot else value
        if not isinstance(parts, Mapping):
            raise ChangeError(f"{name} is {value!r}; give a mapping such as {{kind: adam}}")
        for key, own in parts.items():
            if key not in _PART_HINTS:
                raise ChangeError(unknown_name(f"part of {field}", key, _PART_HINTS))
            _check(f"{field}.{key}", own, _PART_HINTS[key])
    elif field == "penalty" and dot:
        if not part.isdecimal():
            raise ChangeError(f"{name}: name an argument of the penalty by its place, from 0")
        _check(name, value, float)
    elif field == "options":
        if not dot and not isinstance(value, Mapping):
            raise ChangeError(f"options is {value!r}; give a mapping such as {{rank: 2}}")
    else:
        _check(name, frozen(value), _HINTS[field])
        _check_name(field, value)


def changed(setting: Setting, model: str, values: Mapping[str, Any]) -> Setting:
    """The setting of a model with other values, whose names and types were checked.

    Raises:
        ChangeError: A part is named of something that the setting does not have.
    """
    ratio = None
    for name, value in values.items():
        field, _, part = name.partition(".")
        if not takes(model, field):
            continue
        if name == "unitary_ratio":
            ratio = value
        elif name == "alpha":
            setting = _with_parts(setting, "optimizer", {"alpha": value})
            if setting.training.unitary_optimizer is not None:
                setting = _with_parts(setting, "unitary_optimizer", {"alpha": value})
        elif name in ("lr", "unitary_lr"):
            setting = _with_parts(setting, name.replace("lr", "optimizer"), {"lr": value})
        elif "optimizer" in field:
            setting = _with_parts(setting, field, {part: value} if part else value)
        elif field == "options":
            more = {part: frozen(value)} if part else value
            options = {**dict(setting.model.options), **more}
            setting = setting.changed(options=tuple(options.items()))
        elif field == "penalty" and part:
            setting = setting.changed(penalty=_with_place(setting, name, int(part), value))
        else:
            setting = setting.changed(**{field: frozen(value)})
    if ratio is not None:  # last: the other rate may be changed, too
        lr = ratio * setting.training.optimizer.lr
        setting = _with_parts(setting, "unitary_optimizer", {"lr": lr})
    return setting


def value_in(setting: Setting, name: str) -> Any:
    """The value that the setting has under a name of a change; None where it has none."""
    training = setting.training
    if name == "alpha":
        return training.optimizer.alpha
    if name == "unitary_ratio":
        return (training.unitary_optimizer or training.optimizer).lr / training.optimizer.lr
    field, _, part = (f"{name.replace('lr', 'optimizer')}.lr" if name in SHORT else name).partition(
        "."
    )
    value = setting.values()[field]
    if field == "unitary_optimizer" and value is None:
        value = training.optimizer
    if field == "options" and part:
        return dict(value).get(part)
    if field == "penalty" and part:
        return value[int(part)] if value is not None and int(part) < len(value) else None
    return getattr(value, part, None) if part else value


def describe(values: Mapping[str, Any]) -> str:
    """The changes, for people."""
    return ", ".join(f"{name} {in_words(value)}" for name, value in values.items())


def _with_parts(setting: Setting, field: str, parts: Mapping[str, Any]) -> Setting:
    old = setting.values()[field]
    if old is None and "kind" not in parts:
        # A unitary weight without an optimizer of its own is trained by the other one; the whole
        # setting of a grid file begins without any.
        old = setting.training.optimizer
    if old is None and not {"kind", "lr"} <= parts.keys():
        raise ChangeError(
            f"{field} has no {', '.join(parts)} to change, since there is none; give kind and lr"
        )
    own = Optimizer(**parts) if old is None else dataclasses.replace(old, **parts)
    return setting.changed(**{field: own})


def _with_place(setting: Setting, name: str, place: int, value: float) -> tuple[float, ...]:
    old = setting.training.penalty
    if old is None or place >= len(old):
        raise ChangeError(f"{name} is not there to change: the setting's penalty is {old}")
    return (*old[:place], value, *old[place + 1 :])


def _check(name: str, value: Any, hint: Any) -> None:
    if not _fits(value, hint):
        expected = hint.__name__ if isinstance(hint, type) else str(hint)
        raise ChangeError(f"{name} is {value!r}; it has to be of type {expected}")


def _fits(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, own) for own in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        own = typing.get_args(hint)[0]
        return isinstance(value, tuple) and all(_fits(item, own) for item in value)
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _check_name(field: str, value: Any) -> None:
    known = {
        "init": INITIALIZERS.names(),
        "nonlinearity": NONLINEARITIES.names(),
        "layer": ("rnn", "gru"),
    }.get(field)
    if known and value is not None and value not in known:
        raise ChangeError(unknown_name(field, value, known))
