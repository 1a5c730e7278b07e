"""The constant baseline of a task by measurement: the best answer without looking at the input."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from comparisons.tasks import Task
    from comparisons.tasks._batch import Batch

SEQUENCES = 1000
"""Sequences on which the answer is fitted, and others on which its loss is measured."""
ENOUGH = 1e-6
"""Change of the loss, relative to that of the answer zero, below which the fit ends."""


def constant_loss(task: Task, sequences: int = SEQUENCES) -> float:
    """Loss of the best answer that is the same for every sequence, which may depend on the step.

    The answer is fitted to some sequences by L-BFGS, which finds it where the loss is convex in the
    outputs, and its loss is measured on as many others.
    """
    return _measured(type(task), task.length, task.variant, task.seed, sequences)


# It takes seconds, and the runs of a worker and the sections of a report ask for the same.
@functools.cache
def _measured(cls: type[Task], length: int, variant: str, seed: int, sequences: int) -> float:
    task = cls(length, variant, seed)
    drawn = task.test_batches(sequences, 2 * sequences, torch.Generator().manual_seed(0))
    first, second = next(drawn), next(drawn, None)
    with torch.enable_grad():
        answer = _fitted(task, first)
    with torch.no_grad():
        return _loss(task, answer, second or first).item()


def _fitted(task: Task, batch: Batch) -> Tensor:
    """The outputs, for one sequence, with the least loss on the batch."""
    steps = [batch.inputs.shape[0]] if task.per_step else []
    answer = torch.zeros(*steps, 1, task.output_size, requires_grad=True)
    with torch.no_grad():
        enough = ENOUGH * _loss(task, answer, batch).item()
    optimizer = torch.optim.LBFGS(
        [answer], max_iter=60, tolerance_change=enough, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = _loss(task, answer, batch)
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    return answer.detach()


def _loss(task: Task, answer: Tensor, batch: Batch) -> Tensor:
    """Loss of the answer to every sequence of the batch."""
    shape = (*answer.shape[:-2], batch.inputs.shape[1], answer.shape[-1])
    # Some losses flatten their arguments, for which views of one answer have to be copied.
    return task.loss(answer.expand(shape).contiguous(), batch.targets)
