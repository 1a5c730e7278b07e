"""The process that owns a claim, and whether it is still alive."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from comparisons.results.schema import check

_PROC = Path("/proc")


@dataclass(frozen=True)
class Owner:
    """A process on some machine.

    Attributes:
        token: A name that no other owner has.
        host: Name of the machine, for messages.
        boot: The machine's current boot and the processes that can be seen from there, where the
            platform tells: on equal hosts with equal boots, a process id means the same process.
        pid: The process id.
        started: When the process started, as the platform writes it; "" where it does not tell.
    """

    token: str
    host: str
    boot: str
    pid: int
    started: str

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> Owner:
        """The owner in a file.

        Raises:
            TypeError: A field is missing or of another type.
        """
        owner = cls(**data)  # type: ignore[arg-type]  # which the next line checks
        check(owner, cls, "owner")
        return owner


def new_owner() -> Owner:
    """An owner that stands for this process."""
    pid = os.getpid()
    return Owner(secrets.token_hex(8), socket.gethostname(), _boot(), pid, _started(pid) or "")


def alive(owner: Owner) -> bool | None:
    """Whether the process is alive; None where that cannot be seen from here."""
    if (owner.host, owner.boot) != (socket.gethostname(), _boot()) or not owner.started:
        return None
    started = _started(owner.pid)
    if started is None:
        return None
    return started == owner.started  # another start is another process with a used id


def _boot() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # Containers may share the name and the boot of a machine, but not its process ids.
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When the process started; "" if it is not alive, None if the platform does not tell."""
    if (_PROC / "self/stat").exists():
        try:
            text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
        except OSError:
            return None
        # Behind the name, which may hold any character: the state is field 3, the start field 22.
        fields = text.rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    try:
        listing = subprocess.run(
            ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
        ).stdout.split(maxsplit=1)
    except OSError:
        return None
    return "" if len(listing) < 2 or listing[0].startswith("Z") else listing[1].strip()
