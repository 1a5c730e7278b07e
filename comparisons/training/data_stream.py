"""The training batches of a run, with a state from which they go on where they were."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from comparisons.records import Run
from comparisons.tasks import Batch, Task
from comparisons.training.evaluation import OnBatch, make_task, run_stream


class DataStream:
    """The training batches of a run, from its first one.

    A task whose batches depend on the generator alone goes on from the generator's state. The
    batches of any other task are drawn again, which takes as long as the first time. Either way
    the last batch is compared with what it was.

    Args:
        run: The run.
        task: Its task.
    """

    def __init__(self, run: Run, task: Task) -> None:
        self._run = run
        self._begin(task)

    def _begin(self, task: Task) -> None:
        self._generator = run_stream(self._run, "train")
        size = self._run.setting.training.batch_size
        self._independent = task.independent_batches
        self._batches = task.train_batches(size, self._generator)
        self._before = self._generator.get_state()
        self._last: Batch | None = None

    def next(self) -> Batch:
        """Draw the next batch."""
        self._before = self._generator.get_state()
        self._last = next(self._batches)
        return self._last

    def state_dict(self) -> dict[str, Any]:
        """The state of the generator before the last batch, and a digest of that batch."""
        return {
            "before": self._before,
            "last": None if self._last is None else _digest(self._last),
        }

    def go_on(self, state: dict[str, Any], drawn: int, on_batch: OnBatch) -> None:
        """Go on after ``drawn`` batches.

        Args:
            state: The state at that time.
            drawn: Number of batches drawn by then.
            on_batch: Called after every batch that is drawn again.

        Raises:
            ValueError: Other batches come now.
        """
        if not drawn:
            return
        if self._independent:
            self._generator.set_state(state["before"])
            if _digest(self.next()) == state["last"]:
                return
            self._begin(make_task(self._run))  # batches depend on those before, after all
        for _ in range(drawn):
            self.next()
            on_batch()
        if self._last is None or _digest(self._last) != state["last"]:
            raise ValueError(
                f"the task {self._run.task} draws other training data than it did, so it depends "
                "on more than its generator"
            )


def _digest(batch: Batch) -> str:
    digest = hashlib.sha256(str(batch.continues).encode())
    for x in (batch.inputs, batch.targets):
        digest.update(f"{x.dtype} {tuple(x.shape)}".encode())
        digest.update(_bytes(x))
    return digest.hexdigest()


def _bytes(x: Tensor) -> bytes:
    return x.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
