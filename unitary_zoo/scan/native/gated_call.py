"""The recurrence of gated units as the compiled kernel takes it.

The gates, the candidate and the product that the reset gate scales are kept for the backward pass
while they have few bytes. Else it recomputes them, one segment at a time; if the result is the last
state, from the state before each segment, so that no sequence is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unitary_zoo.scan.native.base_call import BaseCall, SavedStates
from unitary_zoo.scan.native.library import Kernel
from unitary_zoo.scan.problem import GatedOperands

# What a segment holds of each step: the state, and what is made of the sums.
_KEPT_VECTORS = 5


class GatedCall(BaseCall):
    """A recurrence of gated units in the form that the kernel takes."""

    def __init__(self, kernel: Kernel, operands: GatedOperands, lengths: Tensor | None) -> None:
        x, w, h0, weight_ih, bias, bias_hn = operands
        super().__init__(kernel, "gated", x, w, h0, weight_ih, lengths, blocks=3)
        self.matrices = {"w": w, "v": weight_ih}
        self.bias, self.bias_hn = bias, bias_hn

    def _pack(self) -> dict[str, Tensor]:
        kernel = self.kernel
        packed = {
            field: torch.cat([kernel.pack_matrix(block, back=False) for block in matrix.chunk(3)])
            for field, matrix in self.matrices.items()
        }
        if self.bias is not None:
            packed["bias"] = torch.cat([kernel.pack_vector(b) for b in self.bias.chunk(3)])
        if self.bias_hn is not None:
            packed["bias_hn"] = kernel.pack_vector(self.bias_hn)
        return packed

    def empty_states(self, return_sequence: bool, checkpoint: int | None) -> SavedStates:
        """Return buffers for what :meth:`forward` shall save for the backward pass."""
        bytes_of_all = self.steps * self.batch * self._row_bytes()
        if checkpoint is None and self._are_few(_KEPT_VECTORS * bytes_of_all):
            gates = self.w.new_empty(self.steps, self.batch, 4, self.n)
            return SavedStates(
                states=None if return_sequence else self._new_states(self.steps), gates=gates
            )
        if return_sequence and checkpoint is None:
            return SavedStates()  # the result holds all states
        # A segment is recomputed from its first state, so that others would save nothing.
        spacing = max(self._steps_at_a_time(), self._fewest_steps(self._row_bytes()))
        spacing = min(spacing if checkpoint is None else checkpoint, self.steps)
        return SavedStates(spacing, kept=self._new_states((self.steps - 1) // spacing))

    def _steps_at_a_time(self) -> int:
        return self._steps_in_cache(_KEPT_VECTORS * self._row_bytes())

    def _recomputes(self, saved: SavedStates) -> bool:
        return saved.gates is None

    def _segment(self, spacing: int) -> int:
        unit = max(spacing, 1)
        return unit * max(1, self._steps_at_a_time() // unit)

    def _back(self) -> Tensor:
        return self.w.roll(self.n, 0)  # the kernel takes W_n first

    def _shapes(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        n, m = self.n, self.args.m
        return {
            "w": ("dw", (3 * n, n)),
            "weight_ih": ("dv", (3 * n, m)),
            "bias": ("dbias", (3 * n,)),
            "bias_hn": ("dbias_hn", (n,)),
        }

    def _gradient(self, name: str, total: Tensor) -> Tensor:
        return total.roll(-self.n, 0) if name == "w" else total
