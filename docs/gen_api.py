"""Put short tables of the documented names into the pages of the API: a mkdocs hook.

The comment ``api: NAME`` is replaced by a table of what docs/api/NAME.md documents.
"""

import inspect
import re
import sys
from pathlib import Path
from pydoc import locate
from typing import Any

# mkdocs does not look for modules in the folder it is started in.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from comparisons.results.text import markdown_table

HERE = Path(__file__).resolve().parent / "api"
MARKER = re.compile(r"<!-- api: (\w+) -->")


def documented(page: str, folder: Path = HERE) -> list[str]:
    """The full names that a page documents, in its order."""
    text = (folder / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)


def first_paragraph(name: str) -> str:
    """The first paragraph of a name's docstring, on one line.

    Raises:
        LookupError: There is no such name, or it has no docstring.
    """
    doc = inspect.getdoc(locate(name))
    if not doc:
        raise LookupError(f"{name} is on a page of the API and has no docstring: write one")
    return " ".join(doc.partition("\n\n")[0].split())


def summary(page: str, folder: Path = HERE) -> str:
    """A row for each name of a page: a link to it and the first paragraph of its docstring."""
    rows = []
    for name in documented(page, folder):
        short = name.rpartition(".")[2]
        rows.append((f"[`{short}`][{name}]", first_paragraph(name)))
    return markdown_table(("name", "what it is"), rows)


def on_page_markdown(source: str, /, **_: Any) -> str:
    """Replace the comments of a page; mkdocs calls it with every page."""
    return MARKER.sub(lambda match: summary(match[1]), source)
