"""Check a built wheel: its tag, and that it carries the whole library and nothing else."""

import sys
import zipfile
from pathlib import Path


def main(path: str) -> int:
    """Print what is wrong with the wheel; the exit code says whether anything is."""
    wheel = Path(path)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    library = {str(file.as_posix()) for file in Path("unitary_zoo").rglob("*.py")}
    problems = []
    if not wheel.name.endswith("-py3-none-any.whl"):
        problems.append(f"the tag is not py3-none-any: {wheel.name}")
    problems += [f"missing from the wheel: {name}" for name in sorted(library - names)]
    foreign = {name for name in names if ".dist-info/" not in name} - library
    # Data files of the library (py.typed and the like) belong to it; other folders do not.
    problems += [f"foreign: {n}" for n in sorted(foreign) if not n.startswith("unitary_zoo/")]
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        problems.append("the licence is missing")
    print("\n".join(problems) or f"{wheel.name}: {len(names)} files")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
