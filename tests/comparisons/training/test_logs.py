"""Logs of trainings; each library is another extra."""

import argparse
import sys

import pytest

from comparisons.cli.execution_flags import add_execution_flags, execution_options
from comparisons.execution import ExecutorError
from comparisons.training import logs
from comparisons.training.artifacts import Artifacts
from comparisons.training.logs import Log, LogWarning
from comparisons.training.trainer import train


class Noted(Log):
    """A log that notes what comes."""

    def __init__(self, folder, run):
        self.folder, self.added, self.closed = folder, [], []
        NOTED.append(self)

    def add(self, iteration, values):
        if FAULTS and iteration == 3:
            raise OSError("disk full")
        self.added.append((iteration, values))

    def close(self, values):
        self.closed.append(values)


NOTED: list[Noted] = []
FAULTS: list[str] = []


@pytest.fixture
def noted(monkeypatch):
    """The logs that trainings write to "wandb"."""
    monkeypatch.setitem(logs._LOGS, "wandb", ("json", Noted))
    NOTED.clear()
    FAULTS.clear()
    return NOTED


def test_train_logs_every_evaluation_once_after_a_resume_too(make_run, tmp_path, noted):
    run = make_run(iterations=6, eval_every=2, lr_decay=0.5, decay_every=3)
    artifacts = Artifacts(tmp_path, 0.0, logs=("wandb",))

    def fail(iteration, loss):
        if iteration == 5:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(run, fail, artifacts)
    result = train(run, None, artifacts)
    first, second = noted
    assert first.closed == [{}]
    assert first.folder == tmp_path / "logs" / run.id
    assert [iteration for iteration, _ in first.added] == [0, 2, 4]
    assert second.added[:3] == first.added
    assert [iteration for iteration, _ in second.added] == [0, 2, 4, 6]
    values = second.added[-1][1]
    assert values["loss/test"] == second.closed[0]["loss/test"] == result.final.test_loss
    assert values["loss/training"] == result.final.train_loss
    assert [values["lr/parameters"] for _, values in second.added] == [1e-3, 1e-3, 5e-4, 2.5e-4]
    assert "loss/training" not in second.added[0][1]


def test_train_goes_on_without_a_log_that_fails(make_run, tmp_path, noted):
    FAULTS.append("at the second evaluation")
    with pytest.warns(LogWarning, match="log for wandb is left out .*disk full") as seen:
        train(make_run(), None, Artifacts(tmp_path, None, logs=("wandb",)))
    assert len(seen) == 1
    assert [iteration for iteration, _ in noted[0].added] == [0]


def test_execution_options_name_the_library_that_is_missing(tmp_path, monkeypatch):
    p = argparse.ArgumentParser()
    add_execution_flags(p)
    p.set_defaults(plugin=[])
    for flags, module, extra in (
        (["--log", "wandb"], "wandb", "wandb"),
        (["--log", "tensorboard"], "torch.utils.tensorboard", "tensorboard"),
        (["--save-models"], "safetensors", "comparisons"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(ExecutorError, match=rf"install the extra unitary_zoo\[{extra}\]"):
                execution_options(p.parse_args(flags), tmp_path)


def test_tensorboard_log_replaces_that_of_an_earlier_process(make_run, tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run()
    values = {"loss/test": 1.0}
    for count, last in ((3, {}), (5, values)):
        log = logs.TensorBoardLog(tmp_path, run)
        for iteration in range(count):
            log.add(iteration, values)
        log.close(last)
    found = EventAccumulator(str(tmp_path)).Reload()
    assert [scalar.step for scalar in found.Scalars("loss/test")] == [0, 1, 2, 3, 4]
    assert "_hparams_/experiment" in found.summary_metadata
