"""Grid files: what a comparison trains, written down by the user; docs/grids.md describes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comparisons.models import check_model
from comparisons.papers import Training, find_paper
from comparisons.plan.changes import ChangeError, changed, check_change, describe
from comparisons.plan.files import Entries, FileError, read_data
from comparisons.plan.fitting import fitted
from comparisons.plan.papers import trainings_of
from comparisons.plan.presets import DEFAULT_PRESET, PRESETS
from comparisons.plan.search import SEARCH_KEYS, Search, search_of
from comparisons.plan.sizes import MATCHING
from comparisons.records import Setting
from comparisons.tasks import TASKS
from unitary_zoo.registry import unknown_name

KEYS = (
    "tasks", "variants", "lengths", "models", "seeds", "base", "setting", "overrides", "match",
    "sizes", "sweep", "search",
)  # fmt: skip
"""Keys of a grid file."""


@dataclass(frozen=True)
class Override:
    """Changes for some models and tasks alone; None is all of them."""

    models: tuple[str, ...] | None
    tasks: tuple[str, ...] | None
    setting: Mapping[str, Any]

    def concerns(self, task: str, model: str) -> bool:
        """Whether it is meant for the model on the task."""
        return (self.models is None or model in self.models) and (
            self.tasks is None or task in self.tasks
        )


@dataclass(frozen=True)
class Grid:
    """What a grid file asks for; a list that it leaves out is None.

    Attributes:
        path: The file.
        tasks: Names of tasks.
        variants: Variants of the tasks.
        lengths: Lengths T.
        models: Names of schemes and baselines.
        seeds: Seeds, a run for each.
        base: A preset's or a paper's name, or a whole setting that is fitted to every model.
        setting: Changes for all.
        overrides: Changes for some, in order.
        match: What models of one size have in common, a key of ``plan.sizes.MATCHING``.
        sizes: The sizes; empty leaves those of the base.
        sweep: Combinations of changes, a configuration for each.
        search: The search that is made before; None makes none.
    """

    path: Path
    tasks: tuple[str, ...] | None
    variants: tuple[str, ...] | None
    lengths: tuple[int, ...] | None
    models: tuple[str, ...] | None
    seeds: tuple[int, ...] | None
    base: str | Setting
    setting: Mapping[str, Any]
    overrides: tuple[Override, ...]
    match: str
    sizes: tuple[int, ...]
    sweep: tuple[Mapping[str, Any], ...]
    search: Search | None

    @property
    def paper(self) -> str:
        """The name of the paper that it starts from; "" if it is none."""
        return self.base if isinstance(self.base, str) and self.base not in PRESETS.names() else ""

    def trainings(self, task: str, model: str) -> list[Training]:
        """How the model is trained on the task, for :func:`comparisons.plan.plan`.

        Raises:
            FileError: A change cannot be made to the setting of this model.
            ValueError: No size of the model is near the number of parameters asked for.
        """
        own: dict[str, Any] = dict(self.setting)
        for override in self.overrides:
            if override.concerns(task, model):
                own.update(override.setting)
        found: dict[tuple[Any, ...], Training] = {}
        for training in self._bases(task, model):
            for values in self.sweep:
                for size in self.sizes or (None,):
                    built = self._built(training, model, {**own, **values}, size)
                    # Baselines have no unitary weight, and so may be swept over nothing.
                    setting = replace(built.setting, source="")
                    found.setdefault((built.lengths, built.variants, setting), built)
        return list(found.values())

    def _bases(self, task: str, model: str) -> list[Training]:
        if isinstance(self.base, Setting):
            lengths = self.lengths or ()
            return [Training(task, lengths, (model,), fitted(self.base, model))]
        if self.paper:
            return trainings_of(find_paper(self.paper), task, model)
        return PRESETS.get(self.base).trainings(task, model)

    def _built(
        self, training: Training, model: str, values: Mapping[str, Any], size: int | None
    ) -> Training:
        try:
            setting = changed(training.setting, model, values)
        except (ChangeError, TypeError) as error:
            raise FileError(f"{self.path}: {model} on {training.task}: {error}") from None
        if setting != training.setting:
            source = f"{setting.source}; by {self.path.name}: {describe(values)}"
            setting = setting.changed(source=source)
        if size is not None:
            task = TASKS.get(training.task)
            variant = (self.variants or training.variants)[0]
            length = (self.lengths or training.lengths)[0]
            built = task(task.fixed_lengths.get(variant, length), variant)
            setting = MATCHING[self.match](setting, model, size, built)
        return replace(training, setting=setting)


def read_grid(path: Path) -> Grid:
    """The grid of a YAML file, or of a Python file that defines ``GRID``.

    Raises:
        FileError: The file cannot be read or has something that no grid has.
        LookupError: A task, model or paper is unknown.
    """
    file = Entries(str(path), read_data(path, "GRID"), KEYS)
    match = file.get("match", str, "a text", "state")
    if match not in MATCHING:
        raise FileError(f"{path}: {unknown_name('match', match, MATCHING)}")
    sizes = file.several("sizes", int, "whole numbers")
    if any(size < 1 for size in sizes):
        raise FileError(f"{path}: sizes has {min(sizes)}; give numbers from 1 up")
    if "match" in file and not sizes:
        raise FileError(f"{path}: match is {match} without any sizes to match; give sizes: [N]")
    base = _base(path, file)
    names = {"tasks": TASKS.get, "models": check_model}
    lists = {key: file.several(key, str, "names") or None for key in ("tasks", "models")}
    for key, check in names.items():
        for name in lists[key] or ():
            check(name)
    lengths = file.several("lengths", int, "whole numbers") or None
    if isinstance(base, Setting) and lengths is None:
        raise FileError(f"{path}: base is a setting of its own, which has no length; give lengths")
    if isinstance(base, Setting) and lists["tasks"] is None:
        raise FileError(f"{path}: base is a setting of its own; say by tasks what it is for")
    sweep = tuple(_combinations(path, file.get("sweep", (dict, list), "a mapping or a list")))
    return Grid(
        path=path,
        tasks=lists["tasks"],
        variants=file.several("variants", str, "names") or None,
        lengths=lengths,
        models=lists["models"],
        seeds=_seeds(file),
        base=base,
        setting=_changes(f"{path}: setting", file.get("setting", dict, "a mapping", {})),
        overrides=tuple(_overrides(path, file)),
        match=match,
        sizes=sizes,
        sweep=sweep,
        search=_search(path, file, tuple(dict.fromkeys(name for own in sweep for name in own))),
    )


def _base(path: Path, file: Entries) -> str | Setting:
    base = file.get("base", (str, dict), "a preset, a paper or a whole setting", DEFAULT_PRESET)
    if isinstance(base, str):
        if base not in PRESETS.names():
            find_paper(base)
        return base
    values = _changes(f"{path}: base", base)
    needed = ("hidden_size", "batch_size", "iterations", "optimizer")
    if lacking := [name for name in needed if name not in values]:
        raise FileError(f"{path}: base lacks {', '.join(lacking)}; a whole setting has them")
    empty = Setting.of(
        hidden_size=values["hidden_size"],
        batch_size=values["batch_size"],
        iterations=values["iterations"],
        optimizer=None,
        source=f"{path.name}: a state of {values['hidden_size']} real numbers for every model",
    )
    try:
        return changed(empty, "", values)
    except ChangeError as error:
        raise FileError(f"{path}: base: {error}") from None


def _seeds(file: Entries) -> tuple[int, ...] | None:
    """The seeds: a list, or a number of them, from 0 up."""
    seeds = file.get("seeds", (int, list), "a number of seeds, or a list of them")
    if isinstance(seeds, int):
        if seeds < 1:
            raise FileError(f"{file.place}: seeds is {seeds}; give 1 or more, or a list")
        return tuple(range(seeds))
    return file.several("seeds", int, "whole numbers") or None


def _changes(place: str, data: object) -> dict[str, Any]:
    values = dict(Entries(place, data).items())
    for name, value in values.items():
        try:
            check_change(name, value)
        except ChangeError as error:
            raise FileError(f"{place}: {error}") from None
    return values


def _overrides(path: Path, file: Entries) -> Iterator[Override]:
    for i, data in enumerate(file.get("overrides", list, "a list", [])):
        place = f"{path}: overrides[{i}]"
        own = Entries(place, data, ("models", "tasks", "setting"))
        models, tasks = own.several("models", str, "names"), own.several("tasks", str, "names")
        for name in models:
            check_model(name)
        for name in tasks:
            TASKS.get(name)
        setting = own.get("setting", dict, "a mapping", {})
        yield Override(models or None, tasks or None, _changes(f"{place}: setting", setting))


def _combinations(path: Path, data: object) -> Iterator[dict[str, Any]]:
    """The combinations of a sweep: a mapping of lists is their product, a list names each."""
    if data is None:
        yield {}
    elif isinstance(data, list):
        for i, values in enumerate(data):
            yield _changes(f"{path}: sweep[{i}]", values)
    else:
        own = Entries(f"{path}: sweep", data)
        for name, values in own.items():
            if not isinstance(values, list) or not values:
                raise FileError(f"{path}: sweep: {name} is {values!r}; give a list of values")
            for value in values:
                _changes(f"{path}: sweep", {name: value})
        names = [name for name, _ in own.items()]
        for values in itertools.product(*(values for _, values in own.items())):
            yield dict(zip(names, values, strict=True))


def _search(path: Path, file: Entries, swept: tuple[str, ...]) -> Search | None:
    if "search" not in file:
        return None
    data = file.get("search", (int, dict), "a number of trials, or a mapping")
    if isinstance(data, int):
        data = {"trials": data}
    return search_of(Entries(f"{path}: search", data, SEARCH_KEYS), swept)
