"""Files and modules of the user's own, with schemes, models, tasks, papers or presets.

To load one is to run it: it registers what it brings, as the modules of this project do.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from unitary_zoo import Parametrization


class PluginError(ValueError):
    """A plug-in cannot be used; the message is one line with the file, the line and the cause."""


@dataclass(frozen=True)
class Plugin:
    """A file or module that was loaded.

    Attributes:
        name: The name it was asked for by: an absolute path, or a dotted name.
        module: What it defines.
        schemes: Names of the schemes that came with it.
    """

    name: str
    module: ModuleType
    schemes: tuple[str, ...]


_LOADED: dict[str, Plugin | str] = {}
"""What came of every name that was asked for: the plug-in, or the error."""


def load(names: Iterable[str]) -> None:
    """Import the files (``path.py``) and modules (``package.module``), each once in a process.

    Raises:
        PluginError: One is missing or cannot be imported.
    """
    for name in map(absolute, names):
        if name not in _LOADED:
            _LOADED[name] = _imported(name)
        found = _LOADED[name]
        # A second import would fail at the names that the first one took, and hide the cause.
        if isinstance(found, str):
            raise PluginError(found)


def loaded() -> tuple[Plugin, ...]:
    """The plug-ins of this process, in the order in which they were loaded."""
    return tuple(plugin for plugin in _LOADED.values() if isinstance(plugin, Plugin))


def add_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--plugin`` to a command that reads results: no file is run unless it is named here."""
    parser.add_argument(
        "--plugin", nargs="+", type=_named, default=[], metavar="FILE",
        help="files or modules that bring the tasks and papers of these results",
    )  # fmt: skip


def _named(name: str) -> str:
    """Load the plug-in that a flag names, and return its absolute name."""
    try:
        load([name])
    except PluginError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return absolute(name)


def versions() -> dict[str, str]:
    """A hash of each file that was loaded, by the file's name; 8 digits tell two versions apart."""
    return {
        Path(plugin.name).name: hashlib.sha256(Path(plugin.name).read_bytes()).hexdigest()[:8]
        for plugin in loaded()
        if is_file(plugin.name)
    }


def absolute(name: str) -> str:
    """The name under which a plug-in is known in every process: the path of a file, resolved."""
    return str(Path(name).expanduser().resolve()) if is_file(name) else name


def is_file(name: str) -> bool:
    """Whether the name is that of a file and not of a module."""
    return name.endswith(".py")


def _imported(name: str) -> Plugin | str:
    """The plug-in, or the reason why there is none."""
    before = set(Parametrization.names())
    try:
        module = _run(Path(name)) if is_file(name) else importlib.import_module(name)
    except (Exception, SystemExit) as error:
        # Whatever it raises is its own fault, and said in one line.
        return f"plug-in {name}{_cause(name, error)}"
    schemes = tuple(scheme for scheme in Parametrization.names() if scheme not in before)
    return Plugin(name, module, schemes)


def _run(path: Path) -> ModuleType:
    """The file as a module, whose name tells it from a file of the same stem elsewhere."""
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"plugin_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle and dataclasses find classes by the name of their module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _cause(name: str, error: BaseException) -> str:
    """Line, type and message of the error that the import of a plug-in raised."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SyntaxError):
        file, line = error.filename, error.lineno
        words = f"{type(error).__name__}: {error.msg}"
    else:
        skipped = (__file__, importlib.__file__, "<frozen")
        frames = [
            (frame.filename, frame.lineno)
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith(skipped)
        ]
        # What a file calls may be deep in a library; the line in the file is its author's.
        own = [frame for frame in frames if frame[0] == name]
        found = own or frames
        file, line = found[-1] if found else (None, None)
    if not file or not line:
        return f": {words}"
    return f", line {line}: {words}" if file == name else f": {file}, line {line}: {words}"
