"""What happened inside each model: eigenphases, unitarity defect and gradients through time."""

from __future__ import annotations

from dataclasses import dataclass

from comparisons.records import Probes
from comparisons.report.overview import Kind


@dataclass(frozen=True)
class Inside:
    """What one configuration of a model recorded on a task.

    Attributes:
        section: Name of the section.
        title: Task, variant and length.
        label: The configuration, as in the figures of the section.
        seed: Seed of the run whose probes are shown: the smallest that has any.
        probes: Its probes.
        iterations: Iterations of the evaluations.
        defects: Unitarity defects at these, of that run; empty where none was recorded.
    """

    section: str
    title: str
    label: str
    seed: int
    probes: Probes
    iterations: tuple[int, ...]
    defects: tuple[float, ...]


@dataclass(frozen=True)
class ModelSection:
    """One model of the report.

    Attributes:
        model: Its name.
        kind: A scheme or a baseline.
        formula: W as a formula, of a registered scheme; the first line of a builder's docstring for
            the others.
        deviation: Why it is not unitary; "" if it is, or if it is a baseline.
        inside: What was recorded, by section; empty for results that were kept without probes.
    """

    model: str
    kind: Kind
    formula: str
    deviation: str
    inside: tuple[Inside, ...]
