"""Fit a setting to a model: its size, its field and its learning rates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comparisons.models import builder_of, is_scheme, traits_of
from comparisons.records import Optimizer, Setting
from unitary_zoo import Parametrization, nonlinearities

PROJECTED_IDENTIFICATION = Optimizer("sgd", lr=0.15)
"""The optimizer of W where W is projected and learned alone.

A unitary W keeps the length of a wrong state, so at T = 25 the part of the gradient along W H, with
H Hermitian, is about ten times the part along the group. The projection removes a step along W H.
Adam, however, divides each entry of the gradient by a number that depends on both parts, and the
projection cannot undo that.
"""


def fitted(setting: Setting, model: str) -> Setting:
    """The setting for a model whose state is as many real numbers as the setting has units."""
    state = setting.model.hidden_size
    setting = for_field(setting, model)
    n = units_of_state(setting, model, state)
    if not is_scheme(model):
        optimizer = setting.training.optimizer
        unitary = replace(optimizer, lr=optimizer.lr / 10) if has_unitary_weight(model) else None
        return setting.changed(hidden_size=n, clip=1.0, unitary_optimizer=unitary)
    info = Parametrization.get(model).info
    field = dict(setting.model.options).get("field", info.field)
    dimension = info.claims[field].dimension(n)
    # Learn W alone only if the scheme covers U(n). A smaller family may contain no good W, and a
    # unitary W cannot shrink a wrong state, as a free read-out can.
    alone = setting.model.only_recurrent_weight and dimension >= n * n
    few = dimension <= 8 * n
    optimizer = setting.training.optimizer
    lr = optimizer.lr
    if not (few or alone):  # where W alone is learned, there is no other rate
        lr /= 10
    unitary = replace(optimizer, lr=lr)
    # A scheme that is unitary only in the limit is not projected: it steps along its own field.
    if alone and info.family == "projected" and info.exact:
        unitary = PROJECTED_IDENTIFICATION
    return setting.changed(hidden_size=n, only_recurrent_weight=alone, unitary_optimizer=unitary)


def units_of_state(setting: Setting, model: str, state: int) -> int:
    """The units with which the model's state is as many real numbers, or a few more."""
    if not is_scheme(model):
        return state // traits_of(builder_of(model)).reals  # an LSTM's state is h and c
    field = dict(setting.model.options).get("field", Parametrization.get(model).info.field)
    return accepted_size(model, state // 2 if field == "complex" else state)


def for_field(setting: Setting, model: str) -> Setting:
    """The setting changed to what the field of the model allows.

    Where W alone is to be learned, a scheme of both fields takes the complex one, and a real model
    is trained as a whole. A complex model has modReLU in place of a nonlinearity that complex
    states do not have.
    """
    fields = Parametrization.get(model).info.fields if is_scheme(model) else ()
    field, settings = field_of(model), setting.model
    if settings.only_recurrent_weight and "complex" in fields and field == "real":
        field = "complex"
        setting = setting.changed(options=(*settings.options, ("field", field)))
    if field != "complex":
        return setting.changed(only_recurrent_weight=False)
    if not nonlinearities.get(settings.nonlinearity).accepts_complex:
        return setting.changed(nonlinearity="modrelu")
    return setting


def field_of(model: str) -> str:
    """The default field of a scheme; of any other model, "real" or "baseline".

    It is "real" if the model has unitary weights, so that a setting for schemes suits it best.
    """
    if is_scheme(model):
        return Parametrization.get(model).info.field
    return "real" if has_unitary_weight(model) else "baseline"


def has_unitary_weight(model: str) -> bool:
    """Whether the model has a weight that is unitary by construction, for a rate of its own."""
    return is_scheme(model) or traits_of(builder_of(model)).unitary


def accepted_size(model: str, n: int) -> int:
    """The smallest size from ``n`` up at which the model exists (some need a power of two)."""
    if not is_scheme(model):
        return n
    accepts = Parametrization.get(model).info.accepts
    return next(size for size in range(n, 2 * n + 1) if accepts(size))


def with_change(setting: Setting, **change: Any) -> Setting:
    """The setting with another value of one field, and a ``source`` that says so."""
    ((name, value),) = change.items()
    old, words = setting.values()[name], name.replace("_", " ")
    if old == value:
        return setting
    source = f"{setting.source}; {words} {value:,} instead of {old:,}"
    return setting.changed(**change, source=source)
