"""Logs of trainings for TensorBoard and Weights & Biases, through their own libraries."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from comparisons.records import Point, Run

Rates = tuple[float, ...]
"""The learning rates of the optimizers: of the free parameters, then of the unitary weight."""


class LogError(RuntimeError):
    """A library for logs cannot be used; the message says what is missing."""


class LogWarning(UserWarning):
    """A log could not be written."""


class Log(ABC):
    """The log of one run.

    It is always written from the first evaluation on: a training that goes on from a checkpoint
    replaces what it logged before, and nothing is there twice.
    """

    @abstractmethod
    def add(self, iteration: int, values: dict[str, float]) -> None:
        """Add an evaluation: values by their names."""

    @abstractmethod
    def close(self, values: dict[str, float]) -> None:
        """End the log with the last values; there are none if the training was interrupted."""


class TensorBoardLog(Log):
    """Scalars, the configuration as text and, at the end, as hyperparameters."""

    def __init__(self, folder: Path, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # TensorBoard then leaves out what an earlier process has logged.
        self._writer = SummaryWriter(str(folder), purge_step=0)
        self._configuration = _configuration(run)
        self._writer.add_text("configuration", json.dumps(run.to_dict(), indent=1))

    def add(self, iteration: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)
        self._writer.flush()  # a process that is killed would take the last two minutes with it

    def close(self, values: dict[str, float]) -> None:
        if values:
            # Under names of their own: the measures of a configuration are scalars as well.
            measures = {f"final {name}": value for name, value in values.items()}
            self._writer.add_hparams(self._configuration, measures, run_name=".")
        self._writer.close()


class WandbLog(Log):
    """A run of Weights & Biases, kept in the folder; ``WANDB_MODE=online`` uploads it at once."""

    def __init__(self, folder: Path, run: Run) -> None:
        import wandb

        for old in folder.glob("wandb/offline-run-*"):
            shutil.rmtree(old, ignore_errors=True)  # of an earlier process: all is logged again
        folder.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {
            "project": os.environ.get("WANDB_PROJECT", "unitary_zoo"),
            "id": run.id,
            "name": str(run),
            "dir": str(folder),
            "config": _configuration(run),
            "resume": "allow",
            "mode": os.environ.get("WANDB_MODE", "offline"),
            "settings": wandb.Settings(silent=True, console="off"),
        }
        self._run: Any = wandb.init(**options)

    def add(self, iteration: int, values: dict[str, float]) -> None:
        self._run.log(values, step=iteration)

    def close(self, values: dict[str, float]) -> None:
        self._run.summary.update(values)
        self._run.finish(exit_code=0 if values else 1)


_LOGS: dict[str, tuple[str, Callable[[Path, Run], Log]]] = {
    "tensorboard": ("torch.utils.tensorboard", TensorBoardLog),
    "wandb": ("wandb", WandbLog),
}

LOGS = tuple(_LOGS)
"""The names of ``--log``."""


def check_logs(names: Iterable[str]) -> None:
    """Check that the libraries can be imported.

    Raises:
        LogError: One cannot.
    """
    for name in names:
        try:
            importlib.import_module(_LOGS[name][0])
        except ImportError as error:
            raise LogError(
                f"--log {name} needs a library that cannot be imported ({error}); install the "
                f"extra unitary_zoo[{name}]"
            ) from None


class Logs:
    """The logs of one run; one that fails is left out from then on, with a warning.

    Args:
        names: Names of the libraries.
        folder: The folder of the run's logs.
        run: The run.

    Raises:
        LogError: A library is missing.
    """

    def __init__(self, names: Sequence[str], folder: Path | None, run: Run) -> None:
        check_logs(names)
        self._count = 0
        self._logs: dict[str, Log] = {}
        if folder is not None:
            for name in names:
                self._try(name, self._open, name, folder, run)

    def update(self, curve: Sequence[Point], rates: Sequence[Rates]) -> None:
        """Log the evaluations that are new."""
        for point, lr in zip(curve[self._count :], rates[self._count :], strict=True):
            for name, log in list(self._logs.items()):
                self._try(name, log.add, point.iteration, _values(point, lr))
        self._count = len(curve)

    def close(self, last: Point | None) -> None:
        """End the logs, with the last evaluation of a training that has finished."""
        for name, log in list(self._logs.items()):
            self._try(name, log.close, {} if last is None else _values(last, ()))

    def _open(self, name: str, folder: Path, run: Run) -> None:
        self._logs[name] = _LOGS[name][1](folder, run)

    def _try(self, name: str, call: Callable[..., None], *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as error:
            # Whatever the library raises, for instance of a full disk: the training is worth more.
            self._logs.pop(name, None)
            warnings.warn(
                f"the log for {name} is left out from now on "
                f"({type(error).__name__}: {error}); the training goes on",
                LogWarning,
                stacklevel=3,
            )


def _values(point: Point, rates: Rates) -> dict[str, float]:
    values = {
        "loss/training": point.train_loss,
        "loss/test": point.test_loss,
        "loss/validation": point.valid_loss,
        "accuracy/test": point.test_accuracy,
        "seconds": point.seconds,
    }
    known = {name: value for name, value in values.items() if value is not None}
    names = ("lr/parameters", "lr/unitary")
    return {**known, **dict(zip(names, rates, strict=False))}


def _configuration(run: Run) -> dict[str, Any]:
    """What the run is, in plain values on one level."""
    setting = run.setting.configuration()
    plain = {
        name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for name, value in setting.items()
    }
    return {
        "task": run.task,
        "variant": run.variant,
        "T": run.length,
        "model": run.model,
        "seed": run.seed,
        "device": run.device,
        **plain,
    }
