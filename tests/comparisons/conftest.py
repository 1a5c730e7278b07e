"""Small runs, and results made up without training."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from comparisons.records import Optimizer, Point, Result, Run, Setting
from comparisons.tasks import TASKS

SETTING = Setting(
    hidden_size=8,
    batch_size=4,
    iterations=6,
    optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
    unitary_optimizer=Optimizer("rmsprop", lr=1e-4, alpha=0.9),
    test_size=6,
    eval_every=3,
    source="a test's",
)


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    """A run of a few iterations; keyword arguments replace fields of the run or its setting."""

    def make(model: str = "cayley", *, task="copying", length=5, seed=0, **setting) -> Run:
        return Run(task, model, length, seed, replace(SETTING, **setting))

    return make


@pytest.fixture(scope="session")
def make_result(make_run) -> Callable[..., Result]:
    """A finished run that never ran; ``losses`` are the test losses of its curve."""

    def make(model="cayley", *, losses=(2.0, 0.5, 0.01), defect=1e-7, **run) -> Result:
        run = make_run(model, **run)
        return Result(
            run=run,
            baseline=TASKS.get(run.task)(run.length).baseline,
            parameters=1234,
            recurrent_parameters=567,
            curve=tuple(
                Point(3 * i, 0.1 * i, loss if i else None, loss, 0.25)
                for i, loss in enumerate(losses)
            ),
            ms_per_step=1.5,
            seconds=2.0,
            peak_memory_mb=10.0,
            defect_start=defect,
            defect_end=defect,
            threads=1,
            versions={"python": "3", "torch": "2", "unitary_zoo": "0"},
            machine={"cpu": "Imaginary CPU 9000", "cores": 2, "platform": "test", "gpu": None},
            date="2026-01-02T03:04:05+00:00",
            command="python comparisons/run_all.py --preset imaginary",
        )

    return make
