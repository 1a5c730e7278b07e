"""What the compiled kernel takes, for all recurrences: real numbers, by addresses and strides."""

from __future__ import annotations

import ctypes
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo._torch import in_memory
from unitary_zoo.base import FactoredMap
from unitary_zoo.scan.native.factors import FactorsArgs, arguments
from unitary_zoo.scan.native.library import Kernel, RecurrenceArgs, Slices, Sums
from unitary_zoo.scan.native.slices import Division

# In the order of `enum uz_activation`.
_ACTIVATIONS = (
    "identity", "relu", "leaky_relu", "abs", "tanh", "sigmoid", "modrelu", "complex modrelu",
    "gated",
)  # fmt: skip

# What is kept for the backward pass, beside a sequence that is the result, has no more bytes than
# this, while there is another way.
_KEPT_BYTES = 32 * 2**20

# What is recomputed of a slice at a time should stay in a second-level cache; and sums over fewer
# rows (of steps and batch) than _SUMMED_ROWS are slow.
_SEGMENT_BYTES, _SUMMED_ROWS = 384 * 1024, 192


@dataclass
class SavedStates:
    """What the forward pass saves so that the backward pass can find the states.

    Attributes:
        spacing: Steps between the states of ``kept``, or 0.
        states: All states (T, B, n), or None.
        kept: The states after every ``spacing``-th step, without the last one, or None.
        signs: The signs of the pre-activations of |x|, one bit each, or None.
        gates: Of gated units the product, both gates and the candidate (T, B, 4, n), or None.
        packed: What the forward pass has packed, by field, or None; for what is recomputed.
    """

    spacing: int = 0
    states: Tensor | None = None
    kept: Tensor | None = None
    signs: Tensor | None = None
    gates: Tensor | None = None
    packed: dict[str, Tensor] | None = None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Return the tensors that depend on the input, in order."""
        return self.states, self.kept, self.signs, self.gates


class BaseCall(ABC):
    """One recurrence in the form that the kernel takes.

    Args:
        kernel: The kernel.
        activation: A name of ``_ACTIVATIONS``.
        x: (T, B, m), or (T, B, n) without ``weight_ih``.
        w: (blocks n, n).
        h0: (B, n).
        weight_ih: (blocks n, m) or None.
        lengths: (B), descending, or None.
        blocks: Matrices in ``w``.
        product: The factors whose numbers ``w`` is, or None.
    """

    def __init__(
        self, kernel: Kernel, activation: str, x: Tensor, w: Tensor, h0: Tensor,
        weight_ih: Tensor | None, lengths: Tensor | None, blocks: int = 1,
        product: FactoredMap | None = None,
    ) -> None:  # fmt: skip
        self.kernel, self.w, self.weight_ih = kernel, w, weight_ih
        self.x, self.h0 = _in_rows(x), _in_rows(h0)
        self.steps, self.batch, self.n = x.shape[0], *h0.shape
        self.parts = 2 if w.is_complex() else 1
        self.args = RecurrenceArgs(
            is_double=linalg.real_dtype(w.dtype) == torch.float64,
            activation=_ACTIVATIONS.index(activation),
            steps=self.steps,
            batch=self.batch,
            n=self.n * self.parts,
            m=0 if weight_ih is None else weight_ih.shape[1] * self.parts,
            x=self.x.data_ptr(),
            x_step=self.x.stride(0) * self.parts,
            x_row=self.x.stride(1) * self.parts,
            h0=self.h0.data_ptr(),
            h0_row=self.h0.stride(0) * self.parts,
        )
        # The kernel receives addresses only, so the tensors must live as long as the arguments.
        self.args.alive = [self.x, self.h0]
        self._point("lengths", None if lengths is None else lengths.contiguous())
        self.factors: FactorsArgs | None = None
        if product is None:
            row = blocks * self.args.n * (self.args.n + self.args.m)
            w_bytes = blocks * self.n * self.parts * self._row_bytes()
            self.division = Division.of(self.batch, self.steps, w_bytes, row)
        else:
            row = int(product.multiplications) + self.args.n * self.args.m
            size = w.element_size() // self.parts
            self.division = Division.of_lanes(self.batch, self.steps, size, row)
            self.factors = arguments(product)
            self.args.factors = ctypes.addressof(self.factors)
            self.args.alive.append(self.factors)

    @abstractmethod
    def _pack(self) -> dict[str, Tensor]:
        """Return what a step of the forward pass reads of W, V and b, packed, by field."""

    def _read(self, packed: dict[str, Tensor]) -> None:
        for field, tensor in packed.items():
            self._point(field, tensor)

    def _point(self, field: str, tensor: Tensor | None) -> None:
        setattr(self.args, field, None if tensor is None else tensor.data_ptr())
        if tensor is not None:
            self.args.alive.append(tensor)

    def _row_bytes(self) -> int:
        return self.n * self.w.element_size()

    def _new_states(self, *count: int) -> Tensor:
        return self.w.new_empty(*count, self.batch, self.n)

    def _work(self, crew: int, backward: bool) -> int:
        # A slice with a row less may sum over more steps at a time.
        return max(
            self.kernel.work_bytes(self.args, rows, backward=backward, crew=crew)
            for rows in {self.division.rows, self.batch // self.division.count}
        )

    # ------------------------------------------------------------------------------- forward

    @abstractmethod
    def empty_states(self, return_sequence: bool, checkpoint: int | None) -> SavedStates:
        """Return buffers for what :meth:`forward` shall save for the backward pass."""

    def forward(self, return_sequence: bool, saved: SavedStates | None = None) -> Tensor:
        """Return all states, or the last one; fills the buffers of ``saved``."""
        out = self._new_states(self.steps) if return_sequence else self._new_states()
        states = out if return_sequence else None
        packed = self._pack()
        self._read(packed)
        if saved is not None:
            if saved.kept is None:
                states = saved.states = saved.states if states is None else states
            if self._recomputes(saved):
                saved.packed = packed
            self._point_saved(saved)
        self._point("states", states)
        self._point("last", None if return_sequence else out)
        self.division.run(
            lambda *on: self.kernel.forward(self.args, *on), lambda crew: self._work(crew, False)
        )
        return out

    def _point_saved(self, saved: SavedStates) -> None:
        self.args.keep = saved.spacing
        for field in ("states", "kept", "signs", "gates"):
            self._point(field, getattr(saved, field))

    def _are_few(self, bytes_kept: int) -> bool:
        return bytes_kept <= _KEPT_BYTES

    def _fewest_steps(self, row_bytes: int) -> int:
        """Return the least spacing of states of so many bytes that keeps few of them."""
        total = self.steps * self.batch * row_bytes
        # Beyond the root of T the recomputed segments would take more memory than is saved.
        return min(math.ceil(total / _KEPT_BYTES), math.isqrt(self.steps))

    def _steps_in_cache(self, row_bytes: int) -> int:
        """Return the steps recomputed at a time if each takes so many bytes for a row."""
        rows = self.division.rows
        return max(1, _SEGMENT_BYTES // (rows * row_bytes), _SUMMED_ROWS // rows)

    # ------------------------------------------------------------------------------ backward

    @abstractmethod
    def _recomputes(self, saved: SavedStates) -> bool:
        """Return whether the backward pass runs steps of the forward pass again."""

    @abstractmethod
    def _segment(self, spacing: int) -> int:
        """Return the steps recomputed at a time: a multiple of ``spacing`` that fits the cache."""

    @abstractmethod
    def _back(self) -> Tensor:
        """Return W with its rows in the order of the gradients of a step."""

    @abstractmethod
    def _shapes(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return the operands whose gradients are sums: the field of ``uz_sums`` and the shape."""

    @abstractmethod
    def _gradient(self, name: str, total: Tensor) -> Tensor:
        """Return the gradient of an operand, from the sum that the kernel has found."""

    def backward(
        self, grad: Tensor, return_sequence: bool, saved: SavedStates, needed: Mapping[str, bool]
    ) -> dict[str, Tensor]:
        """Return the gradients of the operands that need one, by name."""
        grad = _in_rows(grad)
        args = self.args
        self._point_saved(saved)
        if self._recomputes(saved):
            self._read(saved.packed or self._pack())
        args.segment = self._segment(saved.spacing)
        self._point("grad", grad)
        args.grad_last = not return_sequence
        args.grad_step = grad.stride(0) * self.parts if return_sequence else 0
        args.grad_row = grad.stride(-2) * self.parts
        if self.factors is None:
            self._point("w_back", self.kernel.pack_matrix(self._back(), back=True))
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
            found[name] = self._gradient(name, total)
        return found

    def _sums(self, needed: Mapping[str, bool]) -> dict[str, Tensor]:
        """Run the kernel; returns the gradients that are sums over the batch, in real numbers."""
        shapes = {name: value for name, value in self._shapes().items() if needed.get(name)}
        dtype = linalg.real_dtype(self.w.dtype)
        sums = {name: torch.empty(shape, dtype=dtype) for name, (_, shape) in shapes.items()}
        wanted = Sums(**{field: sums[name].data_ptr() for name, (field, _) in shapes.items()})
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


def _in_rows(x: Tensor) -> Tensor:
    """Return ``x`` with the numbers of its last dimension side by side in memory."""
    x = in_memory(x.resolve_conj().resolve_neg())
    return x if x.stride(-1) == 1 else x.contiguous()
