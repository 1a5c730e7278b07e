import os
from pathlib import Path

import pytest

from comparisons.execution.local import memory

GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Write files of a machine with 8 GiB available, and of its control groups."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")

    def write(files):
        files = {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {8 * 2**20} kB\n", **files}
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(str(text))

    return write


def group(folder, limit, usage, files=0, names=("memory.max", "memory.current")):
    """The files of a control group."""
    return {
        f"cgroup/{folder}/{names[0]}": limit,
        f"cgroup/{folder}/{names[1]}": usage,
        f"cgroup/{folder}/memory.stat": f"anon 1\ninactive_file {files}\n",
    }


def test_available_mb_is_that_of_the_machine_without_limits(machine):
    machine({})
    assert memory.available_mb() == 8 * 1024
    machine({"proc/self/cgroup": "0::/job\n", **group("job", "max", 5)})
    assert memory.available_mb() == 8 * 1024


def test_available_mb_respects_limit_of_an_outer_group(machine):
    outer = group("slurm", 4 * GIB, 2 * GIB, files=GIB)
    machine({"proc/self/cgroup": "0::/slurm/step\n", **outer, **group("slurm/step", "max", 5)})
    assert memory.available_mb() == 3 * 1024


def test_available_mb_respects_limit_of_version_1(machine):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    machine(
        {
            "proc/self/cgroup": "3:cpu:/x\n2:memory:/docker/7\n",
            **group("memory", 2**63 - 4096, 0, names=names),
            **group("memory/docker/7", 2 * GIB, GIB, names=names),
        }
    )
    assert memory.available_mb() == 1024


def test_available_mb_is_unknown_where_nothing_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROC", tmp_path)
    assert memory.available_mb() is None
    assert memory.own_mb(1) is None


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no memory is told")
def test_own_mb_counts_what_was_written():
    before = memory.own_mb(os.getpid())
    block = b"." * (64 << 20)
    assert memory.own_mb(os.getpid()) - before == pytest.approx(64, abs=8)
    del block
