"""This project's own settings: one for each task, fitted to every model.

The preset ``smoke`` shows that everything runs; ``quick`` shows the difference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from comparisons.models import is_baseline
from comparisons.records import Optimizer, Setting
from unitary_zoo import Parametrization, nonlinearities


class Choice(NamedTuple):
    """One length and one variant of a task, the setting to train with there, and how often.

    Without a variant it is the task's default: that of real data, where they are given.
    """

    length: int
    setting: Setting
    variant: str = ""
    seeds: tuple[int, ...] = (0,)
    paper: str = ""


SMOKE = Setting(
    hidden_size=16,
    batch_size=8,
    iterations=30,
    optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
    test_size=32,
    eval_every=10,
    source="this project's: just enough to see that everything runs",
)


QUICK_COPYING = Setting(
    hidden_size=128,
    batch_size=20,
    iterations=1000,
    optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
    test_size=500,
    eval_every=50,
    source="this project's: every model has a state of 128 real numbers and the same free "
    "parameters' learning rate; that of the unitary weight is a tenth of it (as in expRNN), or the "
    "same where the scheme has O(n) parameters (as in Arjovsky et al.)",
)
QUICK_IMAGES = replace(
    QUICK_COPYING,
    batch_size=32,
    iterations=300,
    optimizer=Optimizer("rmsprop", lr=3e-3, alpha=0.9),
    eval_every=100,
)
QUICK_SYSTEM = Setting(
    hidden_size=16,
    batch_size=20,
    iterations=1000,
    optimizer=Optimizer("adam", lr=3e-3),
    nonlinearity="relu",
    bias=True,
    test_size=300,
    eval_every=250,
    source="this project's: every model has a state of 16 real numbers, twice the least with which "
    "a unitary ReLU network can be the system (Emami et al.); learning rates as on copying",
)
QUICK_TEXT = replace(
    QUICK_COPYING,
    iterations=300,
    optimizer=Optimizer("rmsprop", lr=1e-2, alpha=0.9),
    init_range=0.1,
    eval_every=100,
)
QUICK_IDENTIFICATION = Setting(
    hidden_size=16,
    batch_size=20,
    iterations=1200,
    optimizer=Optimizer("adam", lr=2e-2),
    test_size=200,
    eval_every=200,
    decay=0.3,
    decay_every=900,
    identify=True,
    source="this project's: schemes that fill U(n) learn W alone, by one learning rate, in 8 "
    "complex units; all others have a state of 16 real numbers and learn all of their parameters, "
    "at the rates of copying",
)
PROJECTED_IDENTIFICATION = Optimizer("sgd", lr=0.15)
"""For W where it is projected and learned alone.

A unitary W keeps the length of a state that it gets wrong, so the gradient's part along W H, H
Hermitian, is about ten times that along the group at T = 25. The projection takes that part back;
but Adam scales each entry by both, and the scaled part is no longer what the projection takes.
"""
QUICK_INTEGERS = replace(QUICK_IMAGES, batch_size=64)
QUICK = {
    "contractive_system": (100, QUICK_SYSTEM),
    "copying": (100, QUICK_COPYING),
    "adding": (
        50,
        replace(QUICK_COPYING, iterations=1500, optimizer=Optimizer("rmsprop", lr=3e-3, alpha=0.9)),
    ),
    "first_term": (20, QUICK_INTEGERS),
    "kth_highest": (20, replace(QUICK_INTEGERS, iterations=400)),
    "permuted_mnist": (64, QUICK_IMAGES),
    "pixel_mnist": (64, QUICK_IMAGES),
    "char_lm": (50, QUICK_TEXT),
    "word_lm": (35, replace(QUICK_TEXT, iterations=200)),
    "unitary_system": (25, QUICK_IDENTIFICATION),
}


def smoke(task: str, model: str) -> list[Choice]:
    """At the shortest lengths that show anything; a variant of one length has that."""
    return [Choice(10, _fitted(SMOKE, model, state=SMOKE.hidden_size))]


def quick(task: str, model: str) -> list[Choice]:
    """Short trainings of models with states of one size."""
    if task not in QUICK:
        return []
    length, setting = QUICK[task]
    return [Choice(length, _fitted(setting, model, state=setting.hidden_size))]


def _fitted(setting: Setting, model: str, state: int) -> Setting:
    """The setting for a model whose state is ``state`` real numbers."""
    setting = of_field(setting, model)
    if is_baseline(model):
        # An LSTM's state is h and c.
        return replace(setting, hidden_size=state // 2 if model == "lstm" else state, clip=1.0)
    info = Parametrization.get(model).info
    field = dict(setting.options).get("field", info.field)
    n = accepted_size(model, state // 2 if field == "complex" else state)
    dimension = info.claims[field].dimension(n)
    # A smaller family may hold no W near the system's, and W alone cannot predict 0: it keeps
    # lengths, so that what is carried wrongly costs twice the power. A free read-out can.
    setting = replace(setting, identify=setting.identify and dimension >= n * n)
    few = dimension <= 8 * n
    lr = setting.optimizer.lr
    if not (few or setting.identify):  # where W alone is learned, there is no other rate
        lr /= 10
    unitary = replace(setting.optimizer, lr=lr)
    # What is unitary only in the limit is not projected: its step follows a field of its own.
    if setting.identify and info.family == "projected" and info.exact:
        unitary = PROJECTED_IDENTIFICATION
    return replace(setting, hidden_size=n, unitary_optimizer=unitary)


def of_field(setting: Setting, model: str) -> Setting:
    """The setting with what it asks of complex models left out for real ones, and vice versa.

    Where W alone is to be learned, a model that serves complex numbers does so, and the others are
    trained as a whole. modReLU stands in for a nonlinearity that complex states do not have.
    """
    fields = () if is_baseline(model) else Parametrization.get(model).info.fields
    field = field_of(model)
    if setting.identify and "complex" in fields and field == "real":
        field = "complex"
        setting = replace(setting, options=(*setting.options, ("field", field)))
    if field != "complex":
        return replace(setting, identify=False)
    if not nonlinearities.get(setting.nonlinearity).complex:
        return replace(setting, nonlinearity="modrelu")
    return setting


def field_of(model: str) -> str:
    """The default field of a scheme, or "baseline"."""
    return "baseline" if is_baseline(model) else Parametrization.get(model).info.field


def accepted_size(model: str, n: int) -> int:
    """The smallest size from ``n`` up at which the model exists (some need a power of two)."""
    if is_baseline(model):
        return n
    accepts = Parametrization.get(model).info.accepts
    return next(size for size in range(n, 2 * n + 1) if accepts(size))
