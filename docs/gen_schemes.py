"""The table of schemes, from SchemeInfo: a hook of mkdocs, and a script that prints the table."""

from dataclasses import replace
from typing import Any

from unitary_zoo import Parametrization

MARKER = "<!-- schemes -->"
SIZE = 128
HEADER = ("scheme", "W", "family", "field", "group", f"dimension at n = {SIZE}", "det", "cost")


def rows() -> list[tuple[str, ...]]:
    """One row for each registered scheme and each field it serves, its default field first."""
    table = []
    for name in Parametrization.names():
        scheme = Parametrization.get(name).info
        for field in sorted(scheme.fields, key=lambda field: field != scheme.field):
            info = replace(scheme, field=field)
            size = next(n for n in range(SIZE, 2 * SIZE + 1) if info.accepts(n))
            dimension = f"{info.dimension(size)}" + ("" if size == SIZE else f" (n = {size})")
            formula = f"`{info.title}`"
            cells = (f"`{name}`", formula, info.family, field, info.group, dimension)
            table.append((*cells, info.determinant, info.cost))
    return table


def markdown() -> str:
    """The table, then the BibTeX entry of each scheme."""
    lines = [" | ".join(HEADER), " | ".join("---" for _ in HEADER)]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows()]
    text = "\n".join(f"| {line} |" for line in lines) + "\n\n## References\n"
    for name in Parametrization.names():
        reference = Parametrization.get(name).info.reference
        text += f"\n`{name}`\n\n```bibtex\n{reference}\n```\n"
    return text


def on_page_markdown(source: str, /, **_: Any) -> str:
    """Called by mkdocs with every page: put the table where the marker is."""
    return source.replace(MARKER, markdown()) if MARKER in source else source


if __name__ == "__main__":
    print(markdown())
