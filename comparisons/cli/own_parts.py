"""``--plugin``: load a file or module of the user's own, and check what it brings."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from comparisons import plugins
from comparisons.models import MODELS, check_model, model_names
from comparisons.papers import PAPERS, Paper
from comparisons.plan import PRESETS, Preset
from comparisons.records import Setting
from comparisons.tasks import TASKS
from comparisons.testing import CheckError, check_builder, check_task


def plugin(name: str) -> str:
    """Load the plug-in; return the name under which every process finds it.

    Raises:
        argparse.ArgumentTypeError: It cannot be loaded, or what it brings is unfit.
    """
    before = _registered()
    try:
        plugins.load([name])
        for kind, found in _registered().items():
            for own in sorted(found - before[kind]):
                _CHECKS[kind](own)
        _check_names()
    except (plugins.PluginError, CheckError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return plugins.absolute(name)


def _registered() -> dict[str, set[str]]:
    """The names of each kind."""
    return {
        "task": set(TASKS.names()),
        "model": set(MODELS.names()),
        "paper": set(PAPERS),
        "preset": set(PRESETS.names()),
    }


def _check_names() -> None:
    """Check that no scheme has the name of another model; their registries do not know each other.

    Raises:
        PluginError: One has.
    """
    names = model_names()
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise plugins.PluginError(
            f"a scheme is called {' and '.join(map(repr, twice))}, which is the name of another "
            "model; choose another"
        )


def _check_paper(name: str) -> None:
    for fault in _faults_of_paper(PAPERS[name]):
        raise plugins.PluginError(f"paper {name!r}: {fault}")


def _faults_of_paper(paper: Paper) -> Iterator[str]:
    """What the paper names and is not there; it would be left out without a word."""
    named = [(t.task, v, t.models) for t in paper.trainings for v in t.variants]
    named += [(p.task, p.variant, p.ours) for p in paper.published]
    for task, variant, models in named:
        try:
            TASKS.get(task).check_variant(variant)
            for model in models:
                check_model(model)
        except (LookupError, ValueError) as error:
            yield str(error)
    for training in paper.trainings:
        if not isinstance(training.setting, Setting):
            yield f"the setting of a training is {training.setting!r}, which is no Setting"


def _check_preset(name: str) -> None:
    preset: Preset = PRESETS.get(name)
    for task in TASKS.names():
        try:
            trainings = preset.trainings(task, "gru")
            wrong = [t for t in trainings if t.models != ("gru",) or t.task != task]
        except Exception as error:
            raise plugins.PluginError(
                f"preset {name!r} on {task} with gru: {type(error).__name__}: {error}"
            ) from None
        if wrong:
            raise plugins.PluginError(
                f"preset {name!r} has trainings of another task or model than {task} and gru; "
                "give those of the task and the one model that it is asked for"
            )


_CHECKS: dict[str, Callable[[str], None]] = {
    "task": lambda name: check_task(TASKS.get(name)),
    "model": lambda name: check_builder(MODELS.get(name), name),
    "paper": _check_paper,
    "preset": _check_preset,
}
