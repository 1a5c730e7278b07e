"""Spaces of a search: this project's default, those that papers state, and the user's own."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from comparisons.models import builder_of, is_scheme, traits_of
from comparisons.papers import PAPERS
from comparisons.plan.changes import ChangeError, check_change, takes, value_in
from comparisons.plan.files import Entries, FileError, read_data
from comparisons.plan.fitting import accepted_size, has_unitary_weight
from comparisons.records import Run
from comparisons.studies import Dimension, frozen
from unitary_zoo import Parametrization
from unitary_zoo.initializers import INITIALIZERS

LR = Dimension("lr", 1e-4, 3e-2)
UNITARY_LR = Dimension("unitary_lr", 1e-5, 3e-2)
"""Ranges of this project; the lower one of W begins where the papers' tenth of the other does."""

PROBED_SIZE = 16
"""Units of the matrix by which it is found out which starts a scheme can take."""


def space_of(
    run: Run, own: tuple[Dimension, ...] | None, paper: str, swept: Collection[str] = ()
) -> tuple[tuple[Dimension, ...], str]:
    """The space for a run's model on its task, and where it comes from, in words.

    What the model does not have is left out: a baseline has no unitary weight, and where W alone is
    learned, there is one learning rate.

    Args:
        run: The run whose setting is searched.
        own: The space that the user gave.
        paper: The paper whose grid is taken if the user gave none; "" for this project's space.
        swept: Names that are left out, since a sweep sets them.
    """
    space, source = _whole_space(run, own, paper)
    return tuple(d for d in _reduced(space, run) if d.name not in swept), source


def _whole_space(
    run: Run, own: tuple[Dimension, ...] | None, paper: str
) -> tuple[tuple[Dimension, ...], str]:
    """The space before it is reduced to what the model has."""
    if own is not None:
        return own, "given by the user"
    for grid in PAPERS[paper].search if paper else ():
        if run.model in grid.models and (not grid.tasks or run.task in grid.tasks):
            return grid.space, grid.source
    source = "this project's default"
    if paper:
        source += f"; {PAPERS[paper].cite} state none for {run.model} on {run.task}"
    space = [LR]
    if has_unitary_weight(run.model):
        space.append(UNITARY_LR)
    if is_scheme(run.model) and len(choices := starts(run.model)) > 1:
        space.append(Dimension("init", choices=choices))
    return tuple(space), source


def starts(scheme: str) -> tuple[str | None, ...]:
    """The initialisers that the scheme can take, each distribution once; None is its own."""
    # Real matrices of "torus" are those of "henaff".
    left_out = {own_start(scheme)}
    if Parametrization.get(scheme).info.field == "real":
        left_out.add("torus")
    return (None, *(name for name in _accepted(scheme) if name not in left_out))


def own_start(model: str) -> str:
    """The initialiser that a model takes by itself; "" if it has none, or a start of its own."""
    if not is_scheme(model):
        return ""
    name = Parametrization.get(model).info.default_init
    return name if name in _accepted(model) else ""


@functools.cache
def _accepted(scheme: str) -> tuple[str, ...]:
    """The initialisers that the scheme does not refuse, at one size."""
    cls, n = Parametrization.get(scheme), accepted_size(scheme, PROBED_SIZE)
    found = []
    with torch.random.fork_rng(devices=[]):
        for name in INITIALIZERS.names():
            with contextlib.suppress(ValueError):
                cls(n).reset_parameters(init=name)
                found.append(name)
    return tuple(found)


def _reduced(space: tuple[Dimension, ...], run: Run) -> tuple[Dimension, ...]:
    """The dimensions that the run's model has, with the starts that its scheme can take."""
    kept = []
    for dimension in space:
        field = dimension.name.partition(".")[0]
        if not takes(run.model, field):
            continue
        if run.setting.model.only_recurrent_weight and dimension.name in ("lr", "unitary_ratio"):
            continue
        if field == "penalty" and value_in(run.setting, dimension.name) is None:
            continue
        if dimension.name == "init":
            schemes = (
                (run.model,) if is_scheme(run.model) else traits_of(builder_of(run.model)).schemes
            )
            choices = tuple(
                init
                for init in dimension.choices
                if init is None or all(init in _accepted(scheme) for scheme in schemes)
            )
            if not choices:
                continue
            dimension = Dimension("init", choices=choices)
        kept.append(dimension)
    return tuple(kept)


def read_space(path: Path) -> tuple[Dimension, ...]:
    """The space in a YAML file, or the ``SPACE`` of a Python file.

    Raises:
        FileError: The file cannot be read, or has something that no setting has.
    """
    return space_from(str(path), read_data(path, "SPACE"))


def space_from(place: str, data: object) -> tuple[Dimension, ...]:
    """The dimensions by name: a list of choices, or a mapping with low and high.

    Raises:
        FileError: A name is unknown, or a range or a choice is none.
    """
    found = tuple(_dimension(place, name, value) for name, value in Entries(place, data).items())
    if not found:
        raise FileError(f"{place} has nothing to search; name a setting, such as lr")
    return found


def _dimension(place: str, name: str, data: object) -> Dimension:
    if isinstance(data, Mapping):
        own = Entries(f"{place}: {name}", data, ("low", "high", "log"))
        low, high = (own.get(end, (int, float), "a number") for end in ("low", "high"))
        log = own.flag("log", True)
        if low is None or high is None or not low < high or (log and low <= 0):
            raise FileError(
                f"{place}: {name} is from {low} to {high}; give low and high, the lower one first "
                "and above 0, or log: false"
            )
        dimension = Dimension(name, float(low), float(high), log)
        values: tuple[Any, ...] = (dimension.low, dimension.high)
    elif isinstance(data, list) and data:
        values = tuple(map(frozen, data))
        dimension = Dimension(name, choices=values)
    else:
        raise FileError(
            f"{place}: {name} is {data!r}; give a list of choices, or {{low: 0.0001, high: 0.01}}"
        )
    for value in values:
        try:
            check_change(name, value)
        except ChangeError as error:
            raise FileError(f"{place}: {error}") from None
    return dimension
