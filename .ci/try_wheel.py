"""Try the library where a wheel has installed it, with torch and nothing else.

python .ci/try_wheel.py                     load the kernel, then run the first example of README.md
python .ci/try_wheel.py --without-torch     load the kernel; for platforms without a wheel of torch
"""

import ctypes
import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def installed() -> Path:
    """Return the folder of the installed package, without importing it."""
    spec = importlib.util.find_spec("unitary_zoo")
    if spec is None or spec.origin is None:
        sys.exit("unitary_zoo is not installed here; install the wheel first")
    package = Path(spec.origin).parent
    if package == ROOT / "unitary_zoo":
        sys.exit(f"{package} is the source tree; install the wheel in an environment of its own")
    return package


def load_kernel(package: Path) -> None:
    """Open the kernel as the library does, and ask it what this processor can run."""
    name = "_kernel.dylib" if sys.platform == "darwin" else "_kernel.so"
    kernel = ctypes.CDLL(str(package / "scan" / "native" / name))
    isas = [isa for isa in range(8) if kernel.uz_isa_available(isa)]
    if not isas:
        sys.exit(f"{name} runs no instruction set of this processor")
    print(f"{name} loads, version {kernel.uz_version()}, instruction sets {isas}")


def run_example() -> None:
    """Run the first Python block of README.md by the kernel, in an environment without NumPy."""
    if importlib.util.find_spec("numpy"):
        sys.exit("NumPy is installed; try the wheel where only torch and what it requires are")
    from unitary_zoo import scan

    status = scan.backends()["native"]
    if not status.available:
        sys.exit(f"the kernel is not used: {status.reason}")
    print(status.reason)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    if example is None:
        sys.exit("README.md has no block of Python")
    exec(compile(example.group(1), "README.md", "exec"), {})


if __name__ == "__main__":
    load_kernel(installed())
    if "--without-torch" not in sys.argv[1:]:
        run_example()
