"""Checkpoint files: written in one step, and read without running any code of theirs."""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from comparisons.output import write_file
from comparisons.records import Run
from comparisons.training.machine import versions

FORMAT = 1
"""Version of the form of a checkpoint."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written or used."""


class CheckpointFile:
    """The checkpoint of one run.

    Args:
        path: The file.
        run: The run.
    """

    def __init__(self, path: Path, run: Run) -> None:
        self.path = path
        self._origin = _origin(run)
        self._warned = False

    def write(self, state: dict[str, Any]) -> bool:
        """Write the state; return whether that was possible. The first failure is a warning."""
        # Into memory first: where a disk is full, torch may leave the process in the middle of it.
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "origin": self._origin, "state": state}, buffer)
        try:
            write_file(self.path, buffer.getvalue())
        except OSError as error:
            if not self._warned:
                self._warned = True
                _warn(
                    f"{self.path} cannot be written ({error}); the training goes on, and if it "
                    "is ended, it begins anew; give the folder room and write permission"
                )
            return False
        return True

    def read(self) -> dict[str, Any] | None:
        """The state in the file; None if there is no file, or none that can be used.

        One that cannot be used is set aside.
        """
        try:
            content = self._read()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
            self.set_aside(_reason(error))
            return None
        if content["origin"] != self._origin:
            self.set_aside(_difference(content["origin"], self._origin))
            return None
        state: dict[str, Any] = content["state"]
        return state

    def _read(self) -> dict[str, Any]:
        if self.path.exists() and not self.path.is_file():
            raise ValueError("it is no regular file")
        try:
            with zipfile.ZipFile(self.path) as archive:
                damaged = archive.testzip()  # torch does not compare the checksums
        except zipfile.BadZipFile as error:
            raise ValueError(f"it is damaged: {error}") from None
        if damaged is not None:
            raise ValueError(f"it is damaged in {damaged}")
        content = torch.load(self.path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"it is no checkpoint of format {FORMAT}")
        if not isinstance(content.get("state"), dict) or "origin" not in content:
            raise ValueError("it is no whole checkpoint")
        return content

    def set_aside(self, reason: str) -> None:
        """Rename the file, so that the run begins anew, and say why."""
        aside = self.path.with_name(f"{self.path.name}.unusable")
        kept = f"it is kept as {aside.name}"
        try:
            os.replace(self.path, aside)
        except OSError as error:
            kept = f"it cannot be renamed ({error})"
        _warn(f"{self.path} cannot be used ({reason}); {kept}, and the run begins anew")

    def delete(self) -> None:
        """Delete the file, and those that were being written when an earlier process was killed."""
        pattern = f".{glob.escape(self.path.name)}.*.tmp"
        for path in (self.path, *self.path.parent.glob(pattern)):
            with contextlib.suppress(OSError):  # what is left does no harm
                path.unlink(missing_ok=True)


def _origin(run: Run) -> str:
    """All that the numbers of a training depend on, as JSON."""
    configuration = {
        "task": run.task,
        "variant": run.variant,
        "length": run.length,
        "model": run.model,
        "seed": run.seed,
        "device": run.device,
        **run.setting.configuration(),
        **{name: version for name, version in versions().items() if name != "python"},
    }
    return json.dumps(configuration, sort_keys=True)


def _difference(theirs: object, ours: str) -> str:
    """A phrase that names what differs between two origins."""
    mine: dict[str, Any] = json.loads(ours)
    try:
        found = json.loads(str(theirs))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return "it does not say which run it is of"
    names = [name for name in sorted({*mine, *found}) if mine.get(name) != found.get(name)]
    shown = [f"{name} is {found.get(name)!r} there and {mine.get(name)!r} here" for name in names]
    return f"it is of another configuration: {'; '.join(shown)}"


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines and isinstance(error, ValueError) else type(error).__name__


def _warn(text: str) -> None:
    warnings.warn(text, CheckpointWarning, stacklevel=3)
