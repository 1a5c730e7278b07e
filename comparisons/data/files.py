"""Files of real data: the folder that the user names, checksums, and downloads on request.

The folder holds one folder a data set, such as ``mnist/`` and ``ptb/``. Every worker process finds
it by the environment variable :data:`VARIABLE`.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pooch

from comparisons.data import DataError

VARIABLE = "UNITARY_ZOO_DATA"


@dataclass(frozen=True)
class DataSet:
    """Files that belong together.

    Attributes:
        name: Name of their folder.
        title: Name for people.
        url: Address of a download, up to the file's name.
        checksums: SHA-256 by file name. Where the name ends in ``.gz`` it is that of the unpacked
            content, since copies of one content are packed in several ways.
    """

    name: str
    title: str
    url: str
    checksums: Mapping[str, str]


def folder() -> Path | None:
    """The folder of real data; None if none was given."""
    value = os.environ.get(VARIABLE)
    return Path(value) if value else None


def use_folder(path: Path) -> None:
    """Take real data from this folder, in this process and those it starts."""
    os.environ[VARIABLE] = str(path.resolve())


def find(dataset: DataSet, download: bool = False) -> dict[str, Path]:
    """The data set's files by name, each verified by its checksum.

    Args:
        dataset: Which files.
        download: Whether to fetch missing files into the folder.

    Raises:
        DataError: No folder is given, or a file is missing or damaged.
    """
    root = folder()
    if root is None:
        raise DataError(
            f"no folder of real data is given, which {dataset.title} needs; name one by --data-dir "
            f"or {VARIABLE}, and add --download to have it fetched there"
        )
    found = {}
    for name, checksum in dataset.checksums.items():
        path = root / dataset.name / name
        fetched = download and not path.exists()
        if fetched:
            # pooch logs a request for a checksum, which it could compare with packed content only.
            pooch.get_logger().setLevel("WARNING")
            try:
                pooch.retrieve(dataset.url + name, None, fname=name, path=path.parent)
            except (OSError, ValueError) as error:
                raise DataError(
                    f"{dataset.url + name} could not be fetched ({error}); put a copy at {path}"
                ) from None
        if not path.exists():
            raise DataError(
                f"{path} is missing, which {dataset.title} needs; put the file from "
                f"{dataset.url + name} there, or add --download"
            )
        actual = _checksum(path)
        if actual != checksum:
            if fetched:
                path.unlink()  # so that the next try asks for it again
            raise DataError(
                f"{path} is damaged: its SHA-256 is {actual} instead of {checksum}; replace it by "
                f"the file from {dataset.url + name}"
            )
        found[name] = path
    return found


def _checksum(path: Path) -> str:
    """SHA-256 of the file, or of its content if it is packed; the reason if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except (OSError, EOFError, zlib.error) as error:
        return f"unknown ({error})"
    return digest.hexdigest()
