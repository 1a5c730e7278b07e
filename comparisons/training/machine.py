"""Facts about the machine and the software, which a reader needs to judge a result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import unitary_zoo
from comparisons import plugins


def usable_cpus() -> int:
    """The number of CPUs that this process may use, perhaps fewer than the machine has."""
    affine = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if affine else os.cpu_count() or 1
    # SLURM does not bind a job to its CPUs on every cluster.
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(count, int(given)) if given.isdecimal() and int(given) else count


_NUMBERS = ("cpu family", "model")  # keys of /proc/cpuinfo on x86 processors


def cpu_model() -> str:
    """The processor's marketing name, or what the platform calls it."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        name = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        return name or platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        # The first processor: facts are kept as they first occur.
        facts: dict[str, str] = {}
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
        if "model name" in facts:
            # Virtual machines shorten the name ("AMD EPYC"); these numbers still tell which it is.
            numbers = [f"{key.split()[-1]} {facts[key]}" for key in _NUMBERS if key in facts]
            return facts["model name"] + (f" ({', '.join(numbers)})" if numbers else "")
    return platform.processor() or platform.machine()


def describe_machine(device: str) -> dict[str, Any]:
    """CPU, its vector instructions, usable cores, platform and, for a CUDA device, the GPU."""
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "cpu": cpu_model(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": usable_cpus(),
        "platform": platform.platform(),
        "gpu": gpu,
    }


def versions() -> dict[str, str]:
    """The versions of Python, torch, this library, and the files of plug-ins."""
    return {
        **plugins.versions(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "unitary_zoo": unitary_zoo.__version__,
    }


class PeakMemory:
    """Highest memory since this object was made.

    Args:
        device: On a CUDA device, the allocator's peak is measured; on any other, how far the
            resident memory of this process rises above its highest value so far.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(device)
        self._before = _highest_resident_mb()

    def mb(self) -> float | None:
        """The peak in MiB; None where the platform does not tell."""
        if self._device.startswith("cuda"):
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        now = _highest_resident_mb()
        return None if now is None or self._before is None else now - self._before


def _highest_resident_mb() -> float | None:
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux its maximum outlives exec, so it may be that of the parent.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10  # KiB
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere
