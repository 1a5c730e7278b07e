"""The figures of the pages, from the files that the benchmark scripts wrote: a mkdocs hook."""

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
SPLIT = {("schemes", "schemes"): ("field", "n")}
"""Tables of many rows, by file and section, and the columns by which they are shown in parts."""

BUILD = "build_ms + step_ms"
LEADERS = (
    ("W(θ) and step, real, n = 128, ms", "schemes", BUILD, "real", 128, "least", ""),
    ("W(θ) and step, real, n = 512, ms", "schemes", BUILD, "real", 512, "least", ""),
    ("W(θ) and step, complex, n = 512, ms", "schemes", BUILD, "complex", 512, "least", ""),
    (
        "W h against dense, real, n = 16384",
        "schemes",
        "dense_ratio",
        "real",
        16384,
        "most",
        " times",
    ),
    ("least drift, real", "schemes", "drift", "real", 128, "least", ""),
    ("copying, test loss", "quick", "copying_loss", None, None, "least", ""),
    ("adding, test loss", "quick", "adding_loss", None, None, "least", ""),
)
"""Title, file, columns to add up, field and n of the rows (None is any), the best end, unit."""


def table(rows: list[dict[str, Any]]) -> str:
    """Rows, which have the same keys, as a table; numbers to the right."""
    header = [key.replace("_", " ") for key in rows[0]]
    sides = [":--" if isinstance(value, str) else "--:" for value in rows[0].values()]
    cells = [[text(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, sides, *cells])


def parts(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    """The rows that agree in some columns, without these, by a title."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        title = ", ".join(
            text(row[key]) if isinstance(row[key], str) else f"{key} = {text(row[key])}"
            for key in keys
        )
        kept = {key: value for key, value in row.items() if key not in keys}
        found.setdefault(title, []).append(kept)
    return found


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
    shown = [source(found)]
    for key, rows in tables.items():
        shown.append(f"### {name}: {key}".replace("_", " "))
        if columns := SPLIT.get((name, key)):
            for title, part in parts(rows, columns).items():
                shown += [f"#### {title}", table(part)]
        else:
            shown.append(table(rows))
    return "\n\n".join(shown)


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def leaders(folder: Path) -> str:
    """The three best schemes by each of some measures, from what is recorded."""
    lines = []
    for title, name, keys, field, n, best, unit in LEADERS:
        path = folder / f"{name}.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        values = [
            (sum(row[key] for key in keys.split(" + ")), row["scheme"])
            for row in found.get(name, [])
            if field in (None, row["field"])
            and n in (None, row["n"])
            and all(isinstance(row.get(key), (int, float)) for key in keys.split(" + "))
        ]
        values.sort(reverse=best == "most")
        podium = [f"`{scheme}` {text(float(value))}{unit}" for value, scheme in values[:3]]
        if podium:
            lines.append(f"| {title} | {' | '.join(podium + [''] * (3 - len(podium)))} |")
    if not lines:
        return "*No run is recorded yet.*"
    return "\n".join(["| measure | first | second | third |", "| :-- | :-- | :-- | :-- |", *lines])


def on_page_markdown(markdown: str, /, *, folder: Path = HERE / "benchmarks", **_: Any) -> str:
    """Called by mkdocs with every page: put the figures where the markers are."""
    markdown = markdown.replace("<!-- leaders -->", leaders(folder))
    return MARKER.sub(lambda match: benchmark(match[1], folder), markdown)


if __name__ == "__main__":
    for recorded in sorted((HERE / "benchmarks").glob("*.json")):
        print(benchmark(recorded.stem, HERE / "benchmarks"), end="\n\n")
