"""Facts about the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from comparisons.training import machine


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_highest_resident_mb_is_not_that_of_the_parent():
    parent = bytearray(b"\1") * 2**29  # resident, since written
    code = "import resource, comparisons.training.machine as m; print(m._highest_resident_mb())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert machine._highest_resident_mb() > 512
    assert float(found.stdout) < 512
    del parent


def test_usable_cpus_are_at_most_those_of_a_slurm_job(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    usable = machine.usable_cpus()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert machine.usable_cpus() == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", str(usable + 1))
    assert machine.usable_cpus() == usable
