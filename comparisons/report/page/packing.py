"""Texts packed for the page: compressed, in letters that need no escape, opened by its scripts."""

from __future__ import annotations

import base64
import functools
import gzip
import importlib.util
import json
from pathlib import Path

STATIC = Path(__file__).parent / "static"


def packed(data: bytes) -> str:
    """The data, compressed by gzip and in base64; equal data give equal texts."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")


@functools.cache
def packed_library(package: str, file: str) -> str:
    """A file of an installed package, packed.

    Args:
        package: The package, which is not imported.
        file: Path of the file inside it.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"the page of a report needs {package}; pip install 'unitary_zoo[comparisons]'"
        )
    return packed((Path(spec.origin).parent / file).read_bytes())


def style_sheet() -> str:
    """All style sheets of the page, in the order of their names."""
    return "\n".join(path.read_text("utf-8") for path in sorted(STATIC.glob("*.css")))


def import_map() -> str:
    """The import map by which the scripts find each other inside the one file of the page.

    ``static/NAME.js`` is the module ``page/NAME``, held in a data URL. A browser that opens a page
    from the disk refuses to import a neighbouring file, so the modules cannot stay files.
    """
    modules = {
        f"page/{path.stem}": "data:text/javascript;base64,"
        + base64.b64encode(path.read_bytes()).decode("ascii")
        for path in sorted(STATIC.glob("*.js"))
    }
    return json.dumps({"imports": modules})
