"""The origin of numbers: commands, machines and days of some results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.records import Result


@dataclass(frozen=True)
class Provenance:
    """Commands, machines and days behind some numbers, each named once."""

    commands: tuple[str, ...]
    machines: tuple[str, ...]
    days: str


def provenance_of(results: Sequence[Result]) -> Provenance:
    """The provenance of one or more results."""
    days = sorted(result.date[:10] for result in results)
    return Provenance(
        commands=tuple(dict.fromkeys(result.command for result in results)),
        machines=tuple(dict.fromkeys(map(machine_of, results))),
        days=days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}",
    )


def machine_of(result: Result) -> str:
    """The machine of a run, and the versions of what it ran."""
    machine, versions = result.machine, result.versions
    return (
        f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores, "
        f"{result.threads} thread{'s' * (result.threads > 1)} a run, {machine['platform']}, "
        f"torch {versions['torch']}, unitary_zoo {versions['unitary_zoo']}{_plugins(result)}"
    )


def _plugins(result: Result) -> str:
    """The files of plug-ins, each with the start of its hash."""
    known = ("python", "torch", "unitary_zoo")
    return "".join(f", {f} {v}" for f, v in result.versions.items() if f not in known)
