"""What a computation writes, counted deterministically."""

import torch

from tests.torch_internals import TorchDispatchMode


class Written(TorchDispatchMode):
    """The entries of the largest tensor that an operation returned, and of all together."""

    def __init__(self):
        super().__init__()
        self.largest = self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
                self.total += tensor.numel()
        return out
