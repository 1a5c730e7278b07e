"""Check a built wheel: its tag, and that it carries the whole library and nothing else.

python .ci/check_wheel.py WHEEL           the wheel of one platform, with the compiled kernel
python .ci/check_wheel.py --pure WHEEL    the wheel without it, for every platform
"""

import re
import sys
import zipfile
from pathlib import Path

KERNEL = "unitary_zoo/scan/native/_kernel" + (".dylib" if sys.platform == "darwin" else ".so")
# Of these kinds only the kernel; data files of the library (py.typed and the like) belong to it.
COMPILED = (".so", ".dylib", ".dll", ".a", ".o")


def main(path: str, *, pure: bool) -> int:
    """Print what is wrong with the wheel; the exit code says whether anything is."""
    wheel = Path(path)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        kernel = archive.read(KERNEL) if KERNEL in names else b""
    library = {str(file.as_posix()) for file in Path("unitary_zoo").rglob("*.py")}
    if not pure:
        library.add(KERNEL)
    problems = []
    # auditwheel writes several tags, with dots between them.
    platform = "any" if pure else r"((many|musl)?linux|macosx)\w+(\.(many|musl)linux\w+)*"
    if not re.search(rf"-py3-none-{platform}\.whl$", wheel.name):
        problems.append(f"the tag is not py3-none-{platform}: {wheel.name}")
    problems += [f"missing from the wheel: {name}" for name in sorted(library - names)]
    foreign = {name for name in names if ".dist-info/" not in name} - library
    problems += [
        f"foreign: {name}"
        for name in sorted(foreign)
        if not name.startswith("unitary_zoo/") or name.endswith(COMPILED)
    ]
    if b"libstdc++" in kernel:
        problems.append("the kernel needs the C++ runtime library; see csrc/CMakeLists.txt")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        problems.append("the licence is missing")
    print(
        "\n".join(problems)
        or f"{wheel.name}: {sum(not name.endswith('/') for name in names)} files"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1], pure="--pure" in sys.argv))
