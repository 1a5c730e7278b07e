"""One recurrence as the compiled kernel takes it: real numbers, by addresses and strides.

If the result is the last state, no sequence is kept: the backward pass recomputes the states, one
segment at a time, from those kept every second step, or every k-th of a long sequence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unitary_zoo import linalg, nonlinearities
from unitary_zoo._torch import in_memory
from unitary_zoo.scan.native.library import Kernel, RecurrenceArgs, Slices, Sums
from unitary_zoo.scan.native.slices import Division
from unitary_zoo.scan.problem import Operands

# In the order of `enum uz_activation`.
_ACTIVATIONS = (
    "identity", "relu", "leaky_relu", "abs", "tanh", "sigmoid", "modrelu", "complex modrelu",
)  # fmt: skip

# If the sequence is not the result, at most every second state is kept, and no more than this
# many bytes of them while other spacings allow it: recomputing one half takes a sixth more time.
_KEPT_BYTES = 32 * 2**20

# The states of a segment of a slice should stay in a second-level cache; and sums over fewer rows
# (of steps and batch) than _SUMMED_ROWS are slow.
_SEGMENT_BYTES, _SUMMED_ROWS = 384 * 1024, 192


@dataclass
class SavedStates:
    """What the forward pass saves so that the backward pass can find the states.

    Attributes:
        spacing: Steps between the states of ``kept``, or 0.
        states: All states (T, B, n), or None.
        kept: The states after every ``spacing``-th step, without the last one, or None.
        signs: The signs of the pre-activations of |x|, one bit each, or None.
        packed: What :meth:`Call.pack` returned, or None; for states that have to be recomputed.
    """

    spacing: int = 0
    states: Tensor | None = None
    kept: Tensor | None = None
    signs: Tensor | None = None
    packed: dict[str, Tensor] | None = None


class Call:
    """One recurrence in the form that the kernel takes."""

    def __init__(
        self, kernel: Kernel, name: str, operands: Operands, lengths: Tensor | None = None
    ) -> None:
        x, w, h0, weight_ih, bias, threshold = operands
        self.kernel, self.name, self.w, self.weight_ih = kernel, name, w, weight_ih
        self.x, self.h0 = _in_rows(x), _in_rows(h0)
        self.steps, self.batch, self.n = x.shape[0], x.shape[1], w.shape[0]
        self.parts = 2 if w.is_complex() else 1
        if threshold is not None and w.is_complex():
            threshold = threshold.repeat_interleave(2)  # for both parts of each number
            name = "complex modrelu"
        self.args = RecurrenceArgs(
            is_double=linalg.real_dtype(w.dtype) == torch.float64,
            activation=_ACTIVATIONS.index(name),
            steps=self.steps,
            batch=self.batch,
            n=self.n * self.parts,
            m=0 if weight_ih is None else weight_ih.shape[1] * self.parts,
            slope=nonlinearities.LEAKY_SLOPE,
            x=self.x.data_ptr(),
            x_step=self.x.stride(0) * self.parts,
            x_row=self.x.stride(1) * self.parts,
            h0=self.h0.data_ptr(),
            h0_row=self.h0.stride(0) * self.parts,
        )
        # The kernel receives addresses only, so the tensors must live as long as the arguments.
        self.args.alive = [self.x, self.h0]
        row = self.args.n * (self.args.n + self.args.m)
        w_bytes = self.n * self.parts * self._row_bytes()
        self.division = Division.of(self.batch, self.steps, w_bytes, row)
        self.bias = bias
        self._point("lengths", None if lengths is None else lengths.contiguous())
        self._point("threshold", None if threshold is None else kernel.pack_vector(threshold))

    def pack(self) -> dict[str, Tensor]:
        """Return what a step of the forward pass reads, W, V and b, as the kernel takes them."""
        kernel, packed = self.kernel, {"w": self.kernel.pack_matrix(self.w, back=False)}
        if self.weight_ih is not None:
            packed["v"] = kernel.pack_matrix(self.weight_ih, back=False)
        if self.bias is not None:
            packed["bias"] = kernel.pack_vector(self.bias)
        return packed

    def _read(self, packed: dict[str, Tensor]) -> None:
        for field, tensor in packed.items():
            self._point(field, tensor)

    def _point(self, field: str, tensor: Tensor | None) -> None:
        setattr(self.args, field, None if tensor is None else tensor.data_ptr())
        if tensor is not None:
            self.args.alive.append(tensor)

    # ------------------------------------------------------------------------------- forward

    def empty_states(self, return_sequence: bool, checkpoint: int | None) -> SavedStates:
        """Return buffers for what :meth:`forward` shall save for the backward pass."""
        signs = None
        if self.name == "abs":
            signs = torch.empty(self.kernel.sign_bytes(self.args), dtype=torch.uint8)
        if return_sequence and checkpoint is None:
            return SavedStates(signs=signs)  # the result holds all states
        spacing = min(self._spacing() if checkpoint is None else checkpoint, self.steps)
        kept = self._new_states((self.steps - 1) // spacing)
        return SavedStates(spacing, kept=kept, signs=signs)

    def forward(self, return_sequence: bool, saved: SavedStates | None = None) -> Tensor:
        """Return all states, or the last one; fills the buffers of ``saved``."""
        out = self._new_states(self.steps) if return_sequence else self._new_states()
        packed = self.pack()
        self._read(packed)
        if saved is not None:
            if saved.kept is None:
                saved.states = out
            else:
                saved.packed = packed
            self._point("kept", saved.kept)
            self._point("signs", saved.signs)
            self.args.keep = saved.spacing
        self._point("states" if return_sequence else "last", out)
        self.division.run(
            lambda *on: self.kernel.forward(self.args, *on), lambda crew: self._work(crew, False)
        )
        return out

    def _work(self, crew: int, backward: bool) -> int:
        # A slice with a row less may sum over more steps at a time.
        return max(
            self.kernel.work_bytes(self.args, rows, backward=backward, crew=crew)
            for rows in {self.division.rows, self.batch // self.division.count}
        )

    def _spacing(self) -> int:
        """Return the steps between kept states: 2, or more if half of all states are too many."""
        total = self.steps * self.batch * self._row_bytes()
        # Beyond the root of T the recomputed segments would take more memory than is saved.
        return max(2, min(math.ceil(total / _KEPT_BYTES), math.isqrt(self.steps)))

    def _segment(self, spacing: int) -> int:
        """Return the steps recomputed at a time: a multiple of ``spacing`` that fits the cache."""
        rows = self.division.rows
        unit = max(spacing, 1)
        most = max(_SEGMENT_BYTES // (rows * self._row_bytes()), _SUMMED_ROWS // rows)
        return unit * max(1, most // unit)

    def _row_bytes(self) -> int:
        return self.n * self.w.element_size()

    def _new_states(self, *count: int) -> Tensor:
        return self.w.new_empty(*count, self.batch, self.n)

    # ------------------------------------------------------------------------------ backward

    def backward(
        self, grad: Tensor, return_sequence: bool, saved: SavedStates, needed: Mapping[str, bool]
    ) -> dict[str, Tensor]:
        """Return the gradients of the operands that need one, by name."""
        grad = _in_rows(grad)
        args = self.args
        args.keep, args.segment = saved.spacing, self._segment(saved.spacing)
        if saved.states is None:
            self._read(saved.packed or self.pack())
        self._point("states", saved.states)
        self._point("kept", saved.kept)
        self._point("signs", saved.signs)
        self._point("grad", grad)
        args.grad_last = not return_sequence
        args.grad_step = grad.stride(0) * self.parts if return_sequence else 0
        args.grad_row = grad.stride(-2) * self.parts
        self._point("w_back", self.kernel.pack_matrix(self.w, back=True))
        found: dict[str, Tensor] = {}
        if needed["x"]:
            found["x"] = torch.empty_like(self.x, memory_format=torch.contiguous_format)
            self._point("dx", found["x"])
            if self.weight_ih is not None:
                self._point("v_back", self.kernel.pack_matrix(self.weight_ih, back=True))
        if needed["h0"]:
            found["h0"] = self._new_states()
            self._point("dh0", found["h0"])
        for name, total in self._sums(needed).items():
            if name == "threshold":
                found[name] = total[:: self.parts]
            else:
                found[name] = self._matrix(total) if total.dim() == 2 else self._vector(total)
        return found

    def _sums(self, needed: Mapping[str, bool]) -> dict[str, Tensor]:
        """Run the kernel; returns the gradients that are sums over the batch, in real numbers."""
        n, m = self.args.n, self.args.m
        shapes = {"w": (n, n), "weight_ih": (n, m), "bias": (n,), "threshold": (n,)}
        fields = {"w": "dw", "weight_ih": "dv", "bias": "dbias", "threshold": "dthreshold"}
        sums = {
            name: torch.empty(shape, dtype=linalg.real_dtype(self.w.dtype))
            for name, shape in shapes.items()
            if needed[name]
        }
        wanted = Sums(**{fields[name]: total.data_ptr() for name, total in sums.items()})
        size = self.kernel.partial_bytes(self.args, wanted)
        partial = torch.empty(self.division.count * size, dtype=torch.uint8)
        parts = Slices(partial=partial.data_ptr(), partial_bytes=size)
        self.division.run(
            lambda *on: self.kernel.backward(self.args, wanted, *on),
            lambda crew: self._work(crew, True),
            parts,
        )
        self.division.add(lambda *on: self.kernel.add_slices(self.args, wanted, *on), parts)
        return sums

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


def _in_rows(x: Tensor) -> Tensor:
    """Return ``x`` with the numbers of its last dimension side by side in memory."""
    x = in_memory(x.resolve_conj().resolve_neg())
    return x if x.stride(-1) == 1 else x.contiguous()
