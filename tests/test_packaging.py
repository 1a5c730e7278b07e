"""The package as installed: what an import costs and brings in, version, extras, the kernel."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import unitary_zoo

HEAVY = ("numpy", "scipy", "geotorch", "matplotlib", "hypothesis", "pytest", "_pytest", "triton")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    # An installed package has its bytecode; where none may be written, a checkout has to be
    # compiled at every import, which takes longer than all the rest of it.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, check=True, timeout=120, env=env,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["unitary_zoo", "unitary_zoo.testing"])
def test_import_brings_in_nothing_heavy(module):
    code = (
        f"import sys, torch; before = set(sys.modules); import {module}; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    new = set(python("-c", code).stdout.split())
    assert "unitary_zoo" in new
    assert not new & set(HEAVY)


def import_times() -> tuple[int, int]:
    """Microseconds spent in `import torch`, and in all that `import unitary_zoo` adds to it.

    One process, one report: a line of -X importtime is `self | cumulative | <indent>name`, written
    when a module is done, so all lines after that of torch itself are what we add. The garbage
    collector is off: one pass over all objects of torch takes as long as our import, and the number
    of objects before it decides whose module has to wait for it.
    """
    code = "import gc; gc.disable(); import torch; import unitary_zoo"
    report = python("-X", "importtime", "-c", code).stderr
    lines = re.findall(r"^import time: +(\d+) \| +(\d+) \| ( *)(\S+)$", report, re.MULTILINE)
    end = next(i for i, (*_, indent, name) in enumerate(lines) if name == "torch" and not indent)
    return int(lines[end][1]), sum(int(own) for own, *_ in lines[end + 1 :])


def test_import_adds_less_than_a_tenth_of_torch():
    # The least of three runs: another process on the machine can only add to a time.
    torch_time, ours = (
        min(times) for times in zip(*(import_times() for _ in range(3)), strict=True)
    )
    assert 0 < ours < 0.1 * torch_time


def test_version_is_that_of_the_installed_distribution():
    assert importlib.metadata.version("unitary_zoo") == unitary_zoo.__version__


def test_torch_is_the_only_requirement():
    requires = importlib.metadata.requires("unitary_zoo") or []
    names = {re.match(r"[\w-]+", line).group() for line in requires if "extra ==" not in line}
    assert names == {"torch"}


@pytest.mark.parametrize("extra", ["comparisons", "test", "dev", "docs", "ray", "parquet"])
def test_extra_is_declared(extra):
    assert extra in importlib.metadata.metadata("unitary_zoo").get_all("Provides-Extra")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_kernel_loads_no_other_library():
    kernel = next(Path(unitary_zoo.__file__).parent.glob("scan/native/_kernel.so"), None)
    if kernel is None:
        pytest.skip("installed without the compiled kernel")
    code = (
        "import ctypes, sys\n"
        "def libraries(): return {l.split()[-1] for l in open('/proc/self/maps') if '.so' in l}\n"
        "before = libraries()\n"
        "kernel = ctypes.CDLL(sys.argv[1])\n"
        "print(*libraries() - before)\n"
        "assert any(kernel.uz_isa_available(isa) for isa in range(8)), 'not even the baseline'\n"
    )
    (new,) = python("-I", "-c", code, str(kernel)).stdout.splitlines()
    # Most builds of CPython have libm loaded already.
    assert {Path(name).name for name in new.split()} - {"libm.so.6"} == {"_kernel.so"}
