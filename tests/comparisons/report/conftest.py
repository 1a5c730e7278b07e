"""A task made up, and results folders with their reports."""

import math
from dataclasses import replace
from typing import ClassVar

import pytest

from comparisons.report.sections import build_report
from comparisons.results.store import Store
from comparisons.tasks import TASKS
from comparisons.tasks.copying import Copying


class Imaginary(Copying):
    """A task with a metric that is no accuracy, a validation set, variants and an optimum."""

    name = "imaginary"
    title = "Imaginary task"
    metric_name = "perplexity"
    variants: ClassVar = {"small": "few words", "large": "all words"}
    optimum = 0.005

    def metric(self, loss, accuracy):
        return math.exp(loss)


@pytest.fixture
def imaginary():
    """The task, registered."""
    with TASKS.override(imaginary=Imaginary):
        yield Imaginary


@pytest.fixture(scope="session")
def finished():
    """Make the result one of another task, with validation losses along its curve."""

    def make(result, *, task="imaginary", variant="small", valid=None, **run):
        curve = result.curve
        if valid is not None:
            curve = tuple(replace(p, valid_loss=v) for p, v in zip(curve, valid, strict=True))
        run = replace(result.run, task=task, variant=variant, **run)
        return replace(result, run=run, curve=curve, data=f"data of {variant}")

    return make


@pytest.fixture
def build(tmp_path):
    """Build the report of some results, by way of a folder."""

    def make(results, paper=""):
        store = Store(tmp_path)
        for result in results:
            store.save(result)
        store.save_plan("python run_it", [result.run for result in results], paper)
        return build_report(store.load())

    return make


@pytest.fixture
def copying(make_result):
    """Results on copying: a curve for each seed of a model, given the last losses."""

    def make(model, *losses, **run):
        return [
            make_result(model, length=100, seed=seed, losses=(2.0, 0.1, loss), **run)
            for seed, loss in enumerate(losses)
        ]

    return make
