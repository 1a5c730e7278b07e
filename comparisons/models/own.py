"""Models of the user's own, and what a comparison finds out about a model by building it small."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from comparisons.models.baselines import BASELINES, Builder
from comparisons.records import ModelSettings
from unitary_zoo import Parametrization
from unitary_zoo.registry import Registry

UNITS, FEATURES, STEPS = 8, 3, 2
"""Sizes at which a model is built to look at it."""


def _check_builder(name: str, builder: Builder) -> None:
    """Raise an error if it cannot be a builder, or if another model has its name."""
    if not callable(builder):
        raise TypeError(
            f"model {name!r} is {builder!r}; register a function (input_size, settings) that "
            "returns a module"
        )
    for kind, names in (("scheme", Parametrization.names()), ("baseline", BASELINES.names())):
        if name in names:
            raise ValueError(f"model name {name!r} is already that of a {kind}; choose another")


MODELS: Registry[Builder] = Registry(
    "model", entry_points="unitary_zoo.models", validate=_check_builder
)
"""Builders ``(input_size, settings) -> module`` of plug-ins; the module is called as nn.RNN is."""


@dataclass(frozen=True)
class Traits:
    """Properties of the model that a builder makes.

    Attributes:
        reals: Real numbers of the state for each unit: 2 for h and c of an LSTM, or for complex
            numbers.
        fields: The fields of `ModelSettings` that the builder reads.
        schemes: Names of the schemes of its unitary weights.
        unitary: Whether all of them are unitary by construction, and there is one.
    """

    reals: int
    fields: frozenset[str]
    schemes: tuple[str, ...] = ()
    unitary: bool = False


@functools.cache
def traits_of(builder: Builder) -> Traits:
    """The traits, from a small model; those of a plain RNN, if it cannot be built or run."""
    read: set[str] = set()

    class Recording(ModelSettings):
        def __getattribute__(self, name: str) -> object:
            read.add(name)
            return super().__getattribute__(name)

    names = frozenset(f.name for f in fields(ModelSettings))
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            layer = builder(FEATURES, Recording(hidden_size=UNITS))
            last = layer(torch.zeros(STEPS, 1, FEATURES), None)[1]
    except Exception:
        # Its run fails with a traceback; here, it must not hide the other models.
        return Traits(1, names)
    infos = [scheme.info for scheme in schemes_in(layer)]
    return Traits(
        reals=max(1, sum(map(_reals, last if isinstance(last, tuple) else (last,)))),
        fields=frozenset(read) & names,
        schemes=tuple(dict.fromkeys(info.name for info in infos)),
        unitary=bool(infos) and all(info.exact for info in infos),
    )


def schemes_in(module: nn.Module) -> list[Parametrization]:
    """The unitary weights of a module."""
    return [part for part in module.modules() if isinstance(part, Parametrization)]


def _reals(state: Tensor) -> int:
    """Real numbers of one layer's state for each unit."""
    return state.shape[-1] * (2 if state.is_complex() else 1) // UNITS
