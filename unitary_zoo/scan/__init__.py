"""The recurrence engine: two recurrences, and backends that agree with the plain loop."""

from unitary_zoo.scan.choice import backends
from unitary_zoo.scan.gated import gated_scan
from unitary_zoo.scan.recurrent import recurrent_scan

__all__ = ["backends", "gated_scan", "recurrent_scan"]
