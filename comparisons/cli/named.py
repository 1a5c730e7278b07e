"""Commands of the form ``python -m PACKAGE NAME ...``, where NAME is a module of the package."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any


def chosen_module(
    package: str, doc: str | None, names: Sequence[str], words: Sequence[str], **options: Any
) -> tuple[str, ModuleType, argparse.ArgumentParser]:
    """Return the name of the module that is named first, the module, and a parser of its flags.

    Args:
        package: The package, such as ``comparisons.benchmarks``.
        doc: A text whose first line describes the package's command.
        names: The modules that can be named.
        words: The command line without the program.
        options: Arguments of the parser that is returned.
    """
    program = f"python -m {package}"
    chooser = argparse.ArgumentParser(prog=program, description=_first_line(doc))
    chooser.add_argument("name", choices=names)
    name: str = chooser.parse_args(words[:1]).name
    module = importlib.import_module(f"{package}.{name}")
    parser = argparse.ArgumentParser(
        prog=f"{program} {name}", description=_first_line(module.__doc__), **options
    )
    return name, module, parser


def _first_line(doc: str | None) -> str:
    return (doc or "").partition("\n")[0]
