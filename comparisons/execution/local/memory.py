"""Memory that is available to this command, and that a process takes, as Linux tells them."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
LIMITS = (
    ("memory.max", "memory.current", "memory.stat"),  # version 2
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"),  # version 1
)


def available_mb() -> float | None:
    """Memory that can still be taken in MiB; None where the platform does not tell.

    It is that of the machine or of the control group (container, SLURM job) around this process,
    whichever has less.
    """
    try:
        lines = (PROC / "meminfo").read_text(encoding="ascii").splitlines()
        machine = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return min([machine / 2**10, *(left / 2**20 for left in map(_left, _groups()) if left)])


def own_mb(pid: int | None) -> float | None:
    """Resident memory of a process that no file backs in MiB; None where it is not told."""
    try:
        fields = (PROC / str(pid) / "statm").read_text(encoding="ascii").split()
    except OSError:
        return None
    if len(fields) < 3:  # it is just ending
        return None
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _groups() -> list[Path]:
    """The folders of the control groups around this process, of either version."""
    try:
        lines = (PROC / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    groups: list[Path] = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers in ("", "memory"):
            root = CGROUPS / controllers
            group = root / name.lstrip("/")
            groups += [root, group, *(up for up in group.parents if root in up.parents)]
    return groups


def _left(group: Path) -> int | None:
    """Bytes that a control group may still take; None if it has no limit."""
    for limit, usage, statistics in LIMITS:
        try:
            most = int((group / limit).read_text(encoding="ascii"))
            taken = int((group / usage).read_text(encoding="ascii"))
            lines = (group / statistics).read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
        # Pages of files are given back when memory is short.
        files = sum(int(line.split()[1]) for line in lines if line.split()[0] == "inactive_file")
        return max(1, most - taken + files)
    return None
