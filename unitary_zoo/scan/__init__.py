"""The recurrence engine: one entry, several backends that agree with the plain loop."""

from unitary_zoo.scan.dispatch import backends, recurrent_scan
from unitary_zoo.scan.gated import gated_scan

__all__ = ["backends", "gated_scan", "recurrent_scan"]
