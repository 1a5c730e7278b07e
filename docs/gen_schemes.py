"""Make the table of schemes, and complete the page of each: a mkdocs hook and a script.

docs/schemes/NAME.md says when to take a scheme and has an example. What it did in recorded
trainings, what it claims, its class and its paper follow here. A scheme without such a file, which
an installed package brings, has a page without these words.
"""

import sys
from pathlib import Path
from typing import Any

# mkdocs does not look for modules in the folder it is started in, nor in that of a hook.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from recorded import HERE
from scheme_claims import claims_of, overview
from scheme_numbers import cost, reached
from scheme_pictures import inside

from unitary_zoo import Parametrization

MARKER = "<!-- schemes -->"
FOLDER = "schemes"


def complete(written: str, name: str, docs: Path = HERE) -> str:
    """The page of a scheme: its formula below the title of what is written, and more at the end."""
    scheme = Parametrization.get(name)
    title, _, rest = written.partition("\n")
    sections = {
        "Inside one training": inside(name, docs),
        "What it reached in short trainings": reached(name, docs),
        "What it costs": cost(name, docs),
        "What it claims": claims_of(name),
        "The class": f"::: {scheme.__module__}.{scheme.__qualname__}\n    options:\n"
        "      members: []\n      docstring_section_style: list",
        "Reference": f"```bibtex\n{scheme.info.reference}\n```",
    }
    shown = [f"## {heading}\n\n{text}" for heading, text in sections.items() if text]
    return "\n\n".join([title, f"`{scheme.info.title}`", rest.strip(), *shown]) + "\n"


def on_config(config: Any, **_: Any) -> Any:
    """List the schemes' pages below their table; mkdocs calls it with its settings."""
    pages = [{name: f"{FOLDER}/{name}.md"} for name in Parametrization.names()]
    for entry in config.nav:
        if "Schemes" in entry:
            entry["Schemes"] = [*entry["Schemes"], *pages]
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that are not on disk; mkdocs calls it with the files it found."""
    from mkdocs.structure.files import File  # only the site needs mkdocs, not the tests

    for name in Parametrization.names():
        path = f"{FOLDER}/{name}.md"
        if files.get_file_from_path(path) is None:
            files.append(File.generated(config, path, content=f"# {name}\n"))
    return files


def on_page_markdown(source: str, /, *, page: Any, docs: Path = HERE, **_: Any) -> str:
    """Complete a scheme's page, or put the table into another; mkdocs calls it with each page."""
    path = Path(page.file.src_uri) if page else Path()
    if path.parent.name == FOLDER:
        return complete(source, path.stem, docs)
    return source.replace(MARKER, overview()) if MARKER in source else source


if __name__ == "__main__":
    print(overview())
