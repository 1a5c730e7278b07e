"""The recurrence engine: one entry, several backends that agree with the plain loop."""

from unitary_zoo.scan.dispatch import backends, recurrent_scan

__all__ = ["backends", "recurrent_scan"]
