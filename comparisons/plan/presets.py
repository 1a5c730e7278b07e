"""The presets: this project's own settings, one for each task and fitted to every model.

``smoke`` shows that everything runs, and ``quick`` how the models differ. The third preset,
``paper``, takes the settings of the papers. Plug-ins register theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from comparisons.papers import Training
from comparisons.plan.fitting import fitted
from comparisons.plan.papers import own_or_borrowed
from comparisons.records import Optimizer, Setting
from comparisons.tasks import TASKS
from unitary_zoo.registry import Registry


@dataclass(frozen=True)
class Preset:
    """A named choice of everything that a command leaves open.

    Attributes:
        title: One line for ``--list``.
        trainings: Called with a task and a model; returns how the model is trained on the task.
    """

    title: str
    trainings: Callable[[str, str], list[Training]]


def _check_preset(name: str, preset: Preset) -> None:
    """Raise an error if it is no preset."""
    if not isinstance(preset, Preset):
        raise TypeError(f"preset {name!r} is {preset!r}; register a comparisons.plan.Preset")


PRESETS: Registry[Preset] = Registry(
    "preset", entry_points="unitary_zoo.presets", validate=_check_preset
)

SMOKE = Setting.of(
    hidden_size=16,
    batch_size=8,
    iterations=30,
    optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
    test_size=32,
    eval_every=10,
    source="this project's: just enough to see that everything runs",
)


QUICK_COPYING = Setting.of(
    hidden_size=128,
    batch_size=20,
    iterations=500,
    optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
    test_size=500,
    eval_every=50,
    source="this project's: every model has a state of 128 real numbers and the same free "
    "parameters' learning rate; that of the unitary weight is a tenth of it (as in expRNN), or the "
    "same where the scheme has O(n) parameters (as in Arjovsky et al.)",
)
QUICK_IMAGES = QUICK_COPYING.changed(
    batch_size=32,
    iterations=200,
    optimizer=Optimizer("rmsprop", lr=3e-3, alpha=0.9),
)
QUICK_SYSTEM = Setting.of(
    hidden_size=16,
    batch_size=20,
    iterations=700,
    optimizer=Optimizer("adam", lr=3e-3),
    nonlinearity="relu",
    bias=True,
    test_size=300,
    eval_every=100,
    source="this project's: every model has a state of 16 real numbers, twice the least with which "
    "a unitary ReLU network can be the system (Emami et al.); learning rates as on copying",
)
QUICK_TEXT = QUICK_COPYING.changed(
    iterations=200,
    optimizer=Optimizer("rmsprop", lr=1e-2, alpha=0.9),
    init_range=0.1,
    eval_every=100,
)
QUICK_IDENTIFICATION = Setting.of(
    hidden_size=16,
    batch_size=20,
    iterations=1000,
    optimizer=Optimizer("adam", lr=2e-2),
    test_size=200,
    eval_every=200,
    lr_decay=0.3,
    decay_every=900,
    only_recurrent_weight=True,
    source="this project's: schemes that fill U(n) learn W alone, by one learning rate, in 8 "
    "complex units; all others have a state of 16 real numbers and learn all of their parameters, "
    "at the rates of copying",
)
QUICK_ADDING = QUICK_COPYING.changed(
    iterations=1000,
    optimizer=Optimizer("rmsprop", lr=3e-3, alpha=0.9),
    eval_every=100,
    lr_decay=0.3,  # without it, the last loss is at times a spike of the whole curve
    decay_every=800,
)
QUICK_INTEGERS = QUICK_IMAGES.changed(batch_size=64)
# Lengths and iterations are the least at which the schemes stand apart from the baselines.
QUICK = {
    "contractive_system": (50, QUICK_SYSTEM),
    "copying": (100, QUICK_COPYING),
    "adding": (30, QUICK_ADDING),
    "first_term": (20, QUICK_INTEGERS.changed(iterations=150)),
    "kth_highest": (20, QUICK_INTEGERS),
    "permuted_mnist": (64, QUICK_IMAGES),
    "pixel_mnist": (64, QUICK_IMAGES),
    "char_lm": (50, QUICK_TEXT),
    "word_lm": (35, QUICK_TEXT),
    "unitary_system": (25, QUICK_IDENTIFICATION),
}


def smoke(task: str, model: str) -> list[Training]:
    """A few iterations at T = 10; where the data of a variant fix the length, at theirs."""
    length = max(10, TASKS.get(task).shortest)
    return [Training(task, (length,), (model,), fitted(SMOKE, model))]


def quick(task: str, model: str) -> list[Training]:
    """Short trainings of models with states of one size, by a setting that a plug-in's task has."""
    own = QUICK.get(task) or TASKS.get(task).quick
    if own is None:
        return []
    length, setting = own
    return [Training(task, (length,), (model,), fitted(setting, model))]


for _name, _preset in {
    "smoke": Preset("every model for a few iterations, within 90 seconds; no result", smoke),
    "quick": Preset("the difference in about eight minutes on two cores", quick),
    "paper": Preset(
        "the papers' own sizes, lengths and optimizers; days on a CPU", own_or_borrowed
    ),
}.items():
    PRESETS.register(_name)(_preset)

DEFAULT_PRESET = "quick"
"""The preset of a command that names none."""
