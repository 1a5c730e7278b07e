"""The old place of :mod:`comparisons.plan`."""

# old name: remove at integration
from comparisons.plan import DEFAULT_PRESET as USUAL
from comparisons.plan import PRESETS, Preset
from comparisons.plan import PlanError as GridError
from comparisons.plan import plan as expand

__all__ = ["PRESETS", "USUAL", "GridError", "Preset", "expand"]
