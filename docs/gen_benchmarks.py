"""The tables of the benchmarks, from the files that their scripts wrote: a mkdocs hook."""

import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# mkdocs does not look for modules in the folder it is started in.
sys.path.insert(0, str(HERE.parent))

from comparisons.benchmarks import text  # noqa: E402 - found only now that the path is set

MARKER = re.compile(r"<!-- benchmark: (\w+) -->")


def table(rows: list[dict[str, Any]]) -> str:
    """Rows, which have the same keys, as a table; numbers to the right."""
    header = [key.replace("_", " ") for key in rows[0]]
    sides = [":--" if isinstance(value, str) else "--:" for value in rows[0].values()]
    cells = [[text(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, sides, *cells])


def source(found: dict[str, Any]) -> str:
    """What made a file, on which machine and when."""
    machine = found["machine"]
    loads = [found["load_before"], found["load_after"]]
    load = " and ".join("unknown" if load is None else text(load[0]) for load in loads)
    return (
        f"Made on {found['date'][:10]} by `{found['command']}` on {machine['cpu']}, "
        f"{machine['instructions']}, {machine['cores']} cores, with {found['threads']} threads, "
        f"torch {found['versions']['torch']}, Python {found['versions']['python']}; "
        f"load average before and after: {load}."
    )


def benchmark(name: str, folder: Path) -> str:
    """All tables of a file, or that there is none."""
    path = folder / f"{name}.json"
    command = f"python comparisons/benchmarks/{name}.py --json docs/benchmarks/{name}.json"
    if not path.exists():
        return f"*No run is recorded yet. This makes one:* `{command}`"
    found = json.loads(path.read_text(encoding="utf-8"))
    tables = {key: value for key, value in found.items() if _is_table(value)}
    parts = [source(found)]
    for key, rows in tables.items():
        parts += [f"### {name}: {key}".replace("_", " "), table(rows)]
    return "\n\n".join(parts)


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def on_page_markdown(markdown: str, /, *, folder: Path = HERE / "benchmarks", **_: Any) -> str:
    """Called by mkdocs with every page: put the figures where the markers are."""
    return MARKER.sub(lambda match: benchmark(match[1], folder), markdown)


if __name__ == "__main__":
    for script in ("scan_speed", "map_speed", "schemes", "memory", "silent_failures"):
        print(benchmark(script, HERE / "benchmarks"), end="\n\n")
