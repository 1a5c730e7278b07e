"""The plain recurrence as the compiled kernel takes it.

If the result is the last state, no sequence is kept: the backward pass recomputes the states, one
segment at a time, from those kept every second step, or every k-th of a long sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unitary_zoo import nonlinearities
from unitary_zoo.base import FactoredMap
from unitary_zoo.scan.native.base_call import BaseCall, SavedStates
from unitary_zoo.scan.native.library import Kernel
from unitary_zoo.scan.problem import FactoredOperands, Operands


class Call(BaseCall):
    """A plain recurrence in the form that the kernel takes."""

    def __init__(
        self,
        kernel: Kernel,
        name: str,
        operands: Operands | FactoredOperands,
        lengths: Tensor | None,
        product: FactoredMap | None,
    ) -> None:
        x, w, h0, weight_ih, bias, threshold = operands
        self.name = name
        if threshold is not None and w.is_complex():
            threshold = threshold.repeat_interleave(2)  # for both parts of each number
            name = "complex modrelu"
        super().__init__(kernel, name, x, w, h0, weight_ih, lengths, product=product)
        self.args.slope = nonlinearities.LEAKY_SLOPE
        self.bias = bias
        self._point("threshold", None if threshold is None else kernel.pack_vector(threshold))

    def _pack(self) -> dict[str, Tensor]:
        kernel = self.kernel
        packed: dict[str, Tensor] = {}
        if self.factors is None:
            packed["w"] = kernel.pack_matrix(self.w, back=False)
        if self.weight_ih is not None:
            packed["v"] = kernel.pack_matrix(self.weight_ih, back=False)
        if self.bias is not None:
            packed["bias"] = kernel.pack_vector(self.bias)
        return packed

    def empty_states(self, return_sequence: bool, checkpoint: int | None) -> SavedStates:
        """Return buffers for what :meth:`forward` shall save for the backward pass."""
        signs = None
        if self.name == "abs":
            signs = torch.empty(self.kernel.sign_bytes(self.args), dtype=torch.uint8)
        if return_sequence and checkpoint is None:
            return SavedStates(signs=signs)  # the result holds all states
        # Recomputing one half of the states takes a sixth more time.
        spacing = max(2, self._fewest_steps(self._row_bytes()))
        spacing = min(spacing if checkpoint is None else checkpoint, self.steps)
        kept = self._new_states((self.steps - 1) // spacing)
        return SavedStates(spacing, kept=kept, signs=signs)

    def _recomputes(self, saved: SavedStates) -> bool:
        return saved.states is None

    def _segment(self, spacing: int) -> int:
        unit = max(spacing, 1)
        return unit * max(1, self._steps_in_cache(self._row_bytes()) // unit)

    def _back(self) -> Tensor:
        return self.w

    def _shapes(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        n, m = self.args.n, self.args.m
        numbers = 0 if self.factors is None else self.factors.numbers_count * self.parts
        return {
            "w": ("dw", (n, n)),
            "numbers": ("dw", (numbers,)),
            "weight_ih": ("dv", (n, m)),
            "bias": ("dbias", (n,)),
            "threshold": ("dthreshold", (n,)),
        }

    def _gradient(self, name: str, total: Tensor) -> Tensor:
        if name == "threshold":
            return total[:: self.parts]
        return self._matrix(total) if total.dim() == 2 else self._vector(total)

    def _matrix(self, a: Tensor) -> Tensor:
        """Return the gradient of a matrix, given that of its real embedding."""
        if self.parts == 1:
            return a
        rows, columns = a.shape
        blocks = a.view(rows // 2, 2, columns // 2, 2)
        real = blocks[:, 0, :, 0] + blocks[:, 1, :, 1]
        return torch.complex(real, blocks[:, 1, :, 0] - blocks[:, 0, :, 1])

    def _vector(self, a: Tensor) -> Tensor:
        return a if self.parts == 1 else torch.view_as_complex(a.view(-1, 2))
