"""Claims of runs, so that two commands on one folder do not train the same run twice.

A claim is a file that its owner alone created, ``claims/<run id>.1.claim``: to create a file that
must not exist is one step, on network file systems without locks too. The owner shows that it lives
by touching ``claims/<token>.lease``. Where a claim is out of date, the next one is
``<run id>.2.claim``, so that of several commands that find it out of date, one alone goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from comparisons.results.owners import Owner, alive, new_owner

EXPIRY_SECONDS = 300.0
"""Time without a sign of life after which a claim is out of date."""
RENEWAL_SECONDS = 20.0
"""Time between two signs of life: a network file system may show one a minute late."""

FOLDER = "claims"
Mark = tuple[int, str]  # a file's number, which a later file can get again, and its content
_CLAIM = re.compile(r"(.+)\.(\d+)\.claim")
_OF_EARLIER_VERSIONS = (".json", ".lock")


@dataclass(frozen=True)
class Claim:
    """A claim in a file.

    Attributes:
        path: The file.
        id: The id of the run.
        owner: Who made it; None if the file does not say, or not yet.
        seen: The owner's last sign of life, by the clock of the file system.
        mark: Tells the file from a later one of the same name.
    """

    path: Path
    id: str
    owner: Owner | None
    seen: float
    mark: Mark

    def out_of_date(self, now: float) -> bool:
        """Whether nobody stands behind the claim any more.

        A process of this machine is looked for. Any other has to have shown that it lives.
        """
        living = None if self.owner is None else alive(self.owner)
        return not living if living is not None else expired(self.seen, now)


class Claims:
    """The claims of one command, from ``with`` to the end of the block.

    Times are those of the file system, which each command reads from a file that it touches: the
    clocks of the machines need not agree.

    Args:
        folder: The folder of the comparison.

    Attributes:
        since: When the claims began.

    Raises:
        OSError: The folder does not take them; raised at the start of the block and by
            :meth:`take`.
    """

    def __init__(self, folder: Path) -> None:
        self._owner = new_owner()
        self._place = folder / FOLDER
        self._lease = self._place / f"{self._owner.token}.lease"
        self._text = json.dumps(dataclasses.asdict(self._owner))
        self._held: dict[str, list[tuple[Path, Mark]]] = {}
        self._ended = threading.Event()
        self.since = 0.0

    def __enter__(self) -> Claims:
        self._place.mkdir(parents=True, exist_ok=True)
        try:
            self._lease.write_text(self._text, encoding="utf-8")
            self.since = self.now()
        except OSError:
            self._lease.unlink(missing_ok=True)
            raise
        threading.Thread(target=self._keep_alive, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        for id in list(self._held):
            self.release(id)
        with contextlib.suppress(OSError):  # it will be out of date
            self._lease.unlink(missing_ok=True)

    def take(self, id: str) -> bool:
        """Claim a run; return whether it is claimed by this command now.

        Who gets a claim has to look whether the run has ended meanwhile.
        """
        if id in self._held:
            return True
        before: list[tuple[Path, Mark]] = []
        while True:
            path = self._place / f"{id}.{len(before) + 1}.claim"
            if self._create(path):
                own = (path, (path.stat().st_ino, self._text))
                if all(_is_marked(*earlier) for earlier in before):
                    self._held[id] = [*before, own]
                    return True
                # Its owner released what was out of date a moment ago: others begin at 1 again.
                path.unlink(missing_ok=True)
                before = []
                continue
            claim = read_claim(path)
            if claim is None:
                continue  # released this moment
            if not claim.out_of_date(self.now()):
                return False
            before.append((path, claim.mark))

    def release(self, id: str) -> None:
        """Give a claim back, and delete those out of date before it."""
        # The own one last: while it is there, nobody creates it again over one that was deleted.
        for path, mark in self._held.pop(id, []):
            with contextlib.suppress(OSError):
                if _is_marked(path, mark):
                    path.unlink()

    def now(self) -> float:
        """The time by the clock of the file system."""
        self._renew()
        return self._lease.stat().st_mtime

    def _create(self, path: Path) -> bool:
        try:
            file = path.open("x", encoding="utf-8")
        except FileExistsError:
            return False
        try:
            with file:
                file.write(self._text)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return True

    def _renew(self) -> None:
        try:
            os.utime(self._lease)  # without a time, a server takes its own
        except FileNotFoundError:  # this process slept for so long that another deleted it
            self._lease.write_text(self._text, encoding="utf-8")

    def _keep_alive(self) -> None:
        while not self._ended.wait(RENEWAL_SECONDS):
            with contextlib.suppress(OSError):  # the next one may succeed
                self._renew()


def read_claim(path: Path) -> Claim | None:
    """The claim in a file; None if there is none any more."""
    match = _CLAIM.fullmatch(path.name)
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            facts, text = os.fstat(file.fileno()), file.read(1 << 16)
    except OSError:
        # What cannot be opened but is there, such as a folder, is a claim that says nothing.
        try:
            facts, text = path.lstat(), ""
        except OSError:
            return None
    owner, seen = None, facts.st_mtime
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        owner = Owner.from_dict(json.loads(text))
    if owner is not None and re.fullmatch("[0-9a-f]+", owner.token):
        with contextlib.suppress(OSError), (path.parent / f"{owner.token}.lease").open() as lease:
            # Opened first, because a network file system then asks its server.
            seen = max(seen, os.fstat(lease.fileno()).st_mtime)
    return Claim(path, match[1] if match else path.name, owner, seen, (facts.st_ino, text))


def current_claims(folder: Path, now: float) -> dict[str, Claim]:
    """The claims of a folder that are not out of date, by the ids of their runs."""
    claims = (read_claim(path) for path in _files(folder, ".claim"))
    return {claim.id: claim for claim in claims if claim and not claim.out_of_date(now)}


def leftovers(folder: Path, now: float) -> list[Path]:
    """The files of claims that nobody stands behind any more."""
    living = current_claims(folder, now)  # those before a living one belong to it
    found = []
    for path in _files(folder, ".claim", ".lease"):
        claim = read_claim(path)
        if claim and claim.id not in living and claim.out_of_date(now):
            found.append(path)
    return found + _files(folder, *_OF_EARLIER_VERSIONS)


def tidy(folder: Path, claims: Claims) -> list[Path]:
    """Delete the :func:`leftovers`; return those that were deleted."""
    paths = leftovers(folder, claims.now())
    for path in paths:
        match = _CLAIM.fullmatch(path.name)
        with contextlib.suppress(OSError):
            if match is None:
                path.unlink()
            elif claims.take(match[1]):  # another command may do so just now
                claims.release(match[1])
    return [path for path in paths if not os.path.lexists(path)]


def expired(seen: float, now: float) -> bool:
    """Whether the last sign of life is too old, or of a time that the clock was set back from."""
    return abs(now - seen) > EXPIRY_SECONDS


def _files(folder: Path, *ends: str) -> list[Path]:
    try:
        names = os.listdir(folder / FOLDER)
    except OSError:
        return []
    return [folder / FOLDER / name for name in sorted(names) if name.endswith(ends)]


def _is_marked(path: Path, mark: Mark) -> bool:
    claim = read_claim(path)
    return claim is not None and claim.mark == mark
