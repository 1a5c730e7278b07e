"""Files of a comparison that nothing needs any more."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from comparisons.results.claims import Claims, leftovers, tidy
from comparisons.results.store import Store

KINDS = {
    "failures": "failures of runs that have finished since",
    "claims": "claims of commands that have ended",
    "checkpoints": "checkpoints of runs that have finished",
    "temporary": "files that a command was writing when it was killed",
    "set_aside": "damaged and foreign files that were set aside",
    "not_planned": "results and failures that the last command did not ask for",
}
USUAL = tuple(kind for kind in KINDS if kind != "not_planned")
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
HOUR = 3600.0


@dataclass(frozen=True)
class Spare:
    """A file that can go, and the key of :data:`KINDS` that says why."""

    path: Path
    kind: str

    @property
    def size(self) -> int:
        """Bytes; 0 if the file has gone."""
        with contextlib.suppress(OSError):
            return self.path.lstat().st_size
        return 0


def spare_files(folder: Path, kinds: Iterable[str], now: float) -> list[Spare]:
    """The files of these kinds, by kind; ``now`` is a time of the file system's clock.

    Without a plan that can be read, nothing counts as not planned. Results that cannot be read here
    do not count as finished.
    """
    contents = Store(folder).load()
    finished = {result.run.id for result in contents.results}
    found = {
        "failures": _named(folder / "failures", ".json", finished),
        "claims": leftovers(folder, now),
        "checkpoints": _named(folder / "checkpoints", ".pt", finished),
        "temporary": list(_abandoned(folder, now)),
        "set_aside": _listed(folder / "set_aside"),
        "not_planned": [],
    }
    if contents.plan is not None:
        others = {ended.run.id for ended in contents.ended} - set(contents.plan.ids)
        found["not_planned"] = [
            *_named(folder / "runs", ".json", others),
            *_named(folder / "failures", ".json", others - finished),
        ]
    return [Spare(path, kind) for kind in kinds for path in found[kind]]


def delete(folder: Path, spares: Iterable[Spare]) -> tuple[list[Path], list[OSError]]:
    """Delete the files; return those that are gone, and the errors of the others.

    Claims go by their own protocol, because another command may take them over just now.
    """
    spares = list(spares)
    gone: list[Path] = []
    errors: list[OSError] = []
    if any(spare.kind == "claims" for spare in spares):
        try:
            with Claims(folder) as claims:
                gone += tidy(folder, claims)
        except OSError as error:
            errors.append(error)
    for spare in spares:
        if spare.kind == "claims":
            continue
        try:
            spare.path.unlink(missing_ok=True)
        except OSError as error:
            errors.append(error)
        else:
            gone.append(spare.path)
    return gone, errors


def _named(folder: Path, end: str, ids: Iterable[str]) -> list[Path]:
    paths = (folder / f"{id}{end}" for id in sorted(ids))
    return [path for path in paths if path.is_file()]


def _listed(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if not (folder / name).is_dir()]


def _abandoned(folder: Path, now: float) -> Iterator[Path]:
    for place in (folder, *(folder / name for name in ("runs", "failures", "checkpoints"))):
        for path in _listed(place):
            if not _TEMPORARY.fullmatch(path.name):
                continue
            with contextlib.suppress(FileNotFoundError):  # its writer has renamed it by now
                if now - path.lstat().st_mtime > HOUR:  # to write one takes no hour
                    yield path
