"""What is measured inside a model: eigenphases, unitarity defect and gradients through time.

Nothing here changes the model or a random state. A training that diverged leaves a model of which
some cannot be measured; that is left out of the result and ends no run.
"""

from __future__ import annotations

import math

from comparisons.models import SequenceModel
from comparisons.records import Probes, Run
from comparisons.tasks import Task
from comparisons.training.evaluation import run_stream
from unitary_zoo import theory
from unitary_zoo.errors import NotFiniteError

STEPS = 100
"""Steps of a sequence at which gradients are kept, at most."""

SEQUENCES = 16
"""Sequences whose gradients are measured, at most: they cost the time of several evaluations."""


def unitarity_defect(model: SequenceModel) -> float | None:
    """The model's unitarity defect; None without unitary weights or with one that is not finite."""
    try:
        defect = model.unitarity_defect()
    except (NotFiniteError, ArithmeticError):
        return None
    return defect if defect is not None and math.isfinite(defect) else None


def eigenphases(model: SequenceModel) -> tuple[float, ...] | None:
    """The eigenphases of the first layer's recurrent matrix, ascending in (-π, π], to six digits.

    Returns:
        None if the matrix has no scheme or is not finite.
    """
    scheme = model.recurrent_scheme()
    if scheme is None:
        return None
    try:
        phases = scheme.describe().eigenphases.tolist()
    except (NotFiniteError, ArithmeticError):
        return None
    if not all(map(math.isfinite, phases)):
        return None
    # Rounding turns the eigenvalue -1 into either end of the interval.
    return tuple(sorted(_rounded(math.pi if x == -math.pi else x) for x in phases))


def gradients(
    model: SequenceModel, task: Task, run: Run
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Steps t, and ‖dL/dh_t‖ of the top layer at each, on sequences of the first test batch.

    Returns:
        Both empty where the model gives no access to its states, as one of a plug-in with several
        layers. Steps at which the norm is not finite are left out.
    """
    training = model.training
    model.eval()
    try:
        norms = _norms(model, task, run)
    except Exception:
        # The code of a plug-in's model may raise anything, and so may weights that diverged.
        return (), ()
    finally:
        model.train(training)
    last = len(norms) - 1
    count = min(STEPS, len(norms))
    places = sorted({round(i * last / max(1, count - 1)) for i in range(count)})
    kept = [t for t in places if math.isfinite(norms[t])]
    return tuple(t + 1 for t in kept), tuple(_rounded(norms[t]) for t in kept)


def _norms(model: SequenceModel, task: Task, run: Run) -> list[float]:
    size = run.setting.training.batch_size
    count = run.setting.evaluation.test_size
    whole = next(iter(task.test_batches(size, count, run_stream(run, "test"))))
    batch = task.part(whole, 0, math.ceil(whole.inputs.shape[1] / SEQUENCES)).to(run.device)
    sequences = batch.inputs.shape[1]
    found = theory.gradient_norms(
        model,
        # The task's loss is a mean over sequences; times their number, each has its own gradient.
        lambda result: sequences * task.loss(result[0], batch.targets),
        batch.inputs,
        rnn="rnn",
    )
    return found.square().mean(dim=1).sqrt().tolist()


def measured(model: SequenceModel, task: Task, run: Run, start: tuple[float, ...] | None) -> Probes:
    """The probes of a training that has finished.

    Args:
        model: The model as the training left it.
        task: The run's task.
        run: The run.
        start: What :func:`eigenphases` gave before the first step.
    """
    steps, norms = gradients(model, task, run)
    return Probes(start, eigenphases(model), steps, norms)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
