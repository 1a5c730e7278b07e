"""Places on the GPUs of this machine."""

from __future__ import annotations

import os

import torch


class GpuSlots:
    """Places of runs on the visible GPUs, filled evenly.

    Args:
        each: Runs at the same time on one GPU.
    """

    def __init__(self, each: int) -> None:
        self._free = dict.fromkeys(_visible(), each)

    @property
    def count(self) -> int:
        """Number of places that are free."""
        return sum(self._free.values())

    def take(self, device: str) -> str | None:
        """Take a place for a run on a device; None if there is no free one."""
        name = self.free(device)
        if name is not None:
            self._free[name] -= 1
        return name

    def free(self, device: str) -> str | None:
        """The GPU with a place for a run on that device, "cuda" or "cuda:1"; None if none has."""
        _, _, index = device.partition(":")
        names = list(self._free)
        found = names[int(index) : int(index) + 1] if index else names
        # The GPU with the most room: no run shares one while another is idle.
        name = max(found, key=lambda name: self._free[name], default=None)
        return name if name is not None and self._free[name] else None

    def give_back(self, name: str) -> None:
        """Free a place."""
        self._free[name] += 1


def _visible() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(index) for index in range(count)] if given is None else given.split(",")
    return [name.strip() for name in names[:count]]
