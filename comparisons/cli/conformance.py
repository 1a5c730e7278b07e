"""Let the schemes of plug-ins pass the conformance kit before anything is trained."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

import unitary_zoo
from comparisons import plugins
from comparisons.cli.console import say
from comparisons.models import MODELS, traits_of
from comparisons.records import Run
from comparisons.results.conformance import Conformance, read_conformance, write_conformance
from unitary_zoo import Parametrization
from unitary_zoo.testing import ConformanceError, check_parametrization


class NotConformingError(ValueError):
    """A scheme fails checks; the message is a block of lines, one for each failed check."""


def require_conformance(runs: Iterable[Run], folder: Path, skip: bool = False) -> None:
    """Check the schemes of plug-ins that the runs use, as models or in a model of a plug-in.

    What passed is recorded in the folder, and checked again when its code, torch or the library
    has changed.

    Args:
        runs: The runs of the command.
        folder: The results folder.
        skip: Whether to check nothing; the folder then records that, and the report says so.

    Raises:
        NotConformingError: A scheme fails.
    """
    before = record = read_conformance(folder)
    for name in sorted(_used(runs)):
        scheme = Parametrization.get(name)
        key = _key(scheme)
        if key in record.passed:
            continue
        if skip:
            say(f"scheme {name} is trained without the conformance kit")
            record = record.with_unchecked(name)
            continue
        _check(name, scheme)
        record = record.with_passed(key)
        _record(folder, record)  # at once: the kit takes some seconds for each
    if record != before:
        _record(folder, record)


def _record(folder: Path, record: Conformance) -> None:
    # Where nothing can be written, the store says so before anything is trained.
    with contextlib.suppress(OSError):
        write_conformance(folder, record)


def _used(runs: Iterable[Run]) -> set[str]:
    """Names of the schemes that came with a plug-in and are used by a run."""
    brought = {name for plugin in plugins.loaded() for name in plugin.schemes}
    models = {run.model for run in runs}
    used = set(models)
    for model in models & set(MODELS.names()) if brought else ():
        used.update(traits_of(MODELS.get(model)).schemes)
    return brought & used


def _check(name: str, scheme: type[Parametrization]) -> None:
    say(f"checking scheme {name} by the conformance kit, which takes some seconds")
    started = time.perf_counter()
    try:
        found = check_parametrization(scheme)
    except ConformanceError as error:
        raise NotConformingError(
            f"{error}\nnothing was trained; docs/extending.md explains the checks, and "
            "--skip-conformance trains all the same"
        ) from None
    say(f"scheme {name} passes {len(found)} checks ({time.perf_counter() - started:.0f} s)")


def _key(scheme: type[Parametrization]) -> str:
    """A hash of the name, the files that define the class, and the versions it was checked with."""
    digest = hashlib.sha256()
    versions = (scheme.info.name, scheme.__qualname__, torch.__version__, unitary_zoo.__version__)
    digest.update(repr(versions).encode())
    for source in _sources(scheme):
        digest.update(source)
    return digest.hexdigest()


def _sources(scheme: type[Parametrization]) -> Iterator[bytes]:
    """The files of the class and of its bases outside the library and torch."""
    for cls in scheme.__mro__:
        if cls.__module__.partition(".")[0] not in ("unitary_zoo", "torch", "builtins"):
            file = inspect.getsourcefile(cls)
            if file is not None:
                yield Path(file).read_bytes()
