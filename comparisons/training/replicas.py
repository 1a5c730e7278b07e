"""Copies of one model in several processes, which train it together on the same batches."""

from __future__ import annotations

import hashlib
import inspect
import io
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from comparisons.tasks import Batch, Task

_PARAMETERS = inspect.signature(DistributedDataParallel.__init__).parameters
_SYNC_BUFFERS = (  # PyTorch has renamed it
    "forward_sync_buffers" if "forward_sync_buffers" in _PARAMETERS else "broadcast_buffers"
)


class ReplicasDifferError(RuntimeError):
    """The copies of a model are no longer equal."""


class Replicas:
    """The copies of a model, one in each process, of which this process holds one.

    Every process draws the same batch and takes its own share of the sequences. Averages over the
    processes make of that what one process makes of the whole batch, up to rounding: sums are
    added in another order. A model with dropout draws other numbers, as each process has a stream
    of its own.

    The process group of :mod:`torch.distributed` has to exist if there are several processes.

    Args:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that keeps files."""
        return self.rank == 0

    def wrap(self, model: nn.Module, some_unused: bool = False) -> nn.Module:
        """A module that computes what ``model`` does and whose backward pass averages gradients.

        It sets the parameters to those of the first process.

        Args:
            model: The model.
            some_unused: Whether a step may leave out parameters, which takes longer. Without it,
                PyTorch refuses such a step.
        """
        if self.size == 1:
            return model
        # Buffers change in steps alone, which are the same in every process.
        options: dict[str, Any] = {_SYNC_BUFFERS: False, "find_unused_parameters": some_unused}
        return DistributedDataParallel(model, **options)

    def seed_own_stream(self, seed: int) -> None:
        """Give each process but the first a random stream of its own, as for dropout."""
        if not self.is_first:
            digest = hashlib.sha256(f"{seed}/replica {self.rank}".encode()).digest()
            torch.manual_seed(int.from_bytes(digest[:8], "big", signed=True))

    def part(self, task: Task, batch: Batch) -> tuple[Batch, float]:
        """This process's sequences of a batch, and their share of its targets.

        A batch with fewer sequences than processes gives the last ones its first sequence with a
        share of zero, for every process has to take part in the averages.
        """
        if self.size == 1:
            return batch, 1.0
        own = task.part(batch, self.rank, self.size)
        if not own.targets.numel():
            return task.part(batch, 0, batch.inputs.shape[1]), 0.0
        return own, own.targets.numel() / batch.targets.numel()

    def weighted(self, loss: Tensor, share: float) -> Tensor:
        """The loss of a share, times what makes the average of the gradients that of the batch."""
        return loss if self.size == 1 else loss * (share * self.size)

    def totals(self, values: Sequence[float]) -> list[float]:
        """The sum of each number over the processes, the same in all of them."""
        if self.size == 1:
            return list(values)
        # Double precision on the CPU, where the numbers are needed.
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return sums.tolist()

    def mean(self, x: Tensor) -> Tensor:
        """The mean of ``x`` over the processes; ``x`` itself where there is one."""
        if self.size == 1:
            return x
        parts = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
        parts = (parts / self.size).contiguous()
        dist.all_reduce(parts)
        return torch.view_as_complex(parts) if x.is_complex() else parts

    def sent(self, content: Any, sender: int = 0) -> Any:
        """What the sender has given: tensors and plain values in any nesting."""
        if self.size == 1:
            return content
        buffer = io.BytesIO()
        if self.rank == sender:
            torch.save(content, buffer)
        length = torch.tensor([buffer.tell()])
        dist.broadcast(length, sender)
        data = torch.empty(int(length), dtype=torch.uint8)
        if self.rank == sender:
            data.copy_(torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8))
        dist.broadcast(data, sender)
        return torch.load(io.BytesIO(data.numpy().tobytes()), "cpu", weights_only=True)

    def gathered(self, content: Any) -> list[Any]:
        """What each process has given, in their order."""
        return [self.sent(content, sender) for sender in range(self.size)]

    def check_equal(self, model: nn.Module) -> None:
        """Check that the copies of the model have the same bits.

        Raises:
            ReplicasDifferError: They differ.
        """
        if self.size == 1:
            return
        digest = hashlib.sha256()
        for x in model.state_dict().values():
            parts = torch.view_as_real(x) if x.is_complex() else x
            digest.update(parts.cpu().contiguous().numpy().tobytes())
        number = int.from_bytes(digest.digest()[:8], "big", signed=True)
        least, largest = torch.tensor([number]), torch.tensor([number])
        dist.all_reduce(least, dist.ReduceOp.MIN)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        if not torch.equal(least, largest):
            raise ReplicasDifferError(
                f"the copies of the model in {self.size} processes differ, although each took the "
                "same steps; use devices and versions of PyTorch that are all the same, and a "
                "scheme that draws no random numbers of its own in a step"
            )


ALONE = Replicas()
"""One process, which trains as if there were none of this."""
