"""The constant baseline of a task by measurement: the best answer without looking at the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from comparisons.tasks import Task
    from comparisons.tasks._batch import Batch

SEQUENCES = 1000
"""Sequences on which the answer is fitted, and others on which its loss is measured."""


def constant_loss(task: Task, sequences: int = SEQUENCES) -> float:
    """Loss of the best answer that is the same for every sequence, which may depend on the step.

    The answer is fitted to some sequences by L-BFGS, which finds it where the loss is convex in the
    outputs, and its loss is measured on as many others.
    """
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
    optimizer = torch.optim.LBFGS([answer], max_iter=60, line_search_fn="strong_wolfe")

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
