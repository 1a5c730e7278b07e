"""What ``describe()`` returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Description:
    """The summary that :meth:`Parametrization.describe` returns; ``group`` is its display text."""

    scheme: str
    n: int
    field: str
    group: str
    dtype: torch.dtype
    device: torch.device
    parameters: int
    dimension: int
    determinant: complex
    defect: float
    tolerance: float
    deviation: str
    eigenphases: Tensor

    def __repr__(self) -> str:
        """Return a readable summary, one quantity a line."""
        phases = self.eigenphases
        det = f"{self.determinant.real:+.6f}"
        if self.field == "complex":
            det += f"{self.determinant.imag:+.6f}i"
        claim = self.deviation or f"tolerance {self.tolerance:.2e}"
        rows = {
            "size": f"{self.n} x {self.n}, {self.field}, {self.dtype}, {self.device}",
            "group": f"{self.group}, dimension {self.dimension}",
            "parameters": str(self.parameters),
            "determinant": det,
            "unitarity defect": f"{self.defect:.2e} ({claim})",
            "eigenphases": f"{phases.min():+.4f} to {phases.max():+.4f} rad",
        }
        width = max(map(len, rows))
        lines = [f"  {key:<{width}}  {value}" for key, value in rows.items()]
        return "\n".join([f"{self.scheme}:", *lines])
