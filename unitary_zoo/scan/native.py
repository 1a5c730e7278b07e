r"""The recurrence in compiled code, on the CPU; ``csrc/kernel.cpp`` says how it is fast.

Of a result that is one state no sequence is kept: the backward pass recomputes the states, a
segment at a time, from those kept every second step, or every k-th of a long sequence. Where W is
unitary the linear network keeps none at all, and \|x\| one bit a unit and step:
:math:`W^{-1} = W^H` leads back to the states.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import nonlinearities
from unitary_zoo._torch import is_traced, is_transformed
from unitary_zoo.base import DenseMap, LinearMap
from unitary_zoo.scan import kernel, reference, second_order, threads
from unitary_zoo.scan.kernel import Kernel, Sums, Task
from unitary_zoo.scan.problem import Problem

BOUNDS_ITS_MEMORY = True

# In the order of `enum uz_activation`.
_ACTIVATIONS = (
    "identity", "relu", "leaky_relu", "abs", "tanh", "sigmoid", "modrelu", "complex modrelu",
)  # fmt: skip

# Those whose pre-activation is the state, or the state and a sign.
_INVERTIBLE = ("identity", "abs")

# The way back through W^H may lose this much of a state, relative to the largest number.
_LOSS = {torch.float32: 1e-4, torch.float64: 1e-11}

# Multiplications that are worth a thread of their own: about 0.1 ms.
_WORTH_A_THREAD = 2**22

# Of a sequence that is not the result at most every second state is kept, and no more than this
# of them while other spacings allow it: recomputing one half takes a sixth more time.
_KEPT_BYTES = 32 * 2**20

# The states of a segment should stay in a second-level cache, for a tile of that many rows; and
# sums over fewer rows (of steps and batch) than these are slow.
_SEGMENT_BYTES, _TILE_ROWS, _SUMMED_ROWS = 384 * 1024, 24, 192

# A larger W is not in that cache: more rows shall share what is read of it.
_CACHED_W_BYTES, _MANY_ROWS = 2 * 2**20, 72


def status() -> tuple[bool, str]:
    """Whether it runs on this machine, and how or why not."""
    try:
        return True, f"used on the CPU: compiled kernel, instruction set {kernel.isa()}"
    except kernel.UnavailableError as error:
        return False, str(error)


def supports(problem: Problem) -> tuple[bool, str]:
    """Dense matrices on the CPU."""
    p = problem
    if is_traced() or is_transformed():  # before all else, for what follows is traced, too
        return False, "a tracer or transform sees PyTorch operations, not compiled code"
    ok, reason = status()
    if not ok:
        return False, reason
    if isinstance(p.w, LinearMap) and not isinstance(p.w, DenseMap):
        return False, f"{type(p.w).__name__} is applied by its factors, not by a matrix"
    for tensor in p.tensors():
        if tensor is None:
            continue
        if tensor.device.type != "cpu":
            return False, f"a tensor is on {tensor.device}, and the kernel runs on the CPU"
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided:
            return False, f"{type(tensor).__name__} may have no memory that a kernel can read"
    return True, reason


def run(problem: Problem) -> Tensor:
    """All states (T, B, n), or the last one (B, n)."""
    p = problem
    if p.x.numel() == 0 or p.h0.numel() == 0:  # nothing to be fast at
        return reference.run(p)
    tensors = p.tensors()
    # Asked here, since inside the function gradients always look wanted.
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        out: Tensor = _Scan.apply(*tensors, p.activation.name, p.return_sequence, p.checkpoint)
        return out
    return _Call(Kernel(kernel.isa()), p.activation.name, *tensors).forward(p.return_sequence)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w: Tensor,
        h0: Tensor,
        weight_ih: Tensor | None,
        bias: Tensor | None,
        threshold: Tensor | None,
        name: str,
        return_sequence: bool,
        checkpoint: int | None,
    ) -> Tensor:
        library = Kernel(kernel.isa())
        call = _Call(library, name, x, w, h0, weight_ih, bias, threshold)
        trail = call.trail(return_sequence, checkpoint)
        out = call.forward(return_sequence, trail)
        if trail.zeros is not None and trail.zeros.any():
            trail = call.trail(return_sequence, checkpoint, reversible=False)
            out = call.forward(return_sequence, trail)
        ctx.name, ctx.return_sequence, ctx.keep = name, return_sequence, trail.keep
        ctx.library = library  # the signs are laid out as its vectors are
        ctx.save_for_backward(x, w, h0, weight_ih, bias, threshold, *trail.tensors())
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: reading them may recompute them
        inputs, trail = saved[:6], _Trail(ctx.keep, *saved[6:])
        options = ctx.name, ctx.return_sequence
        with torch.autocast("cpu", enabled=False):
            if torch.is_grad_enabled():
                # A derivative of this derivative is wanted: differentiate the plain loop instead.
                found = second_order.backward(inputs, *options, ctx.needs_input_grad, grad)
            else:
                call = _Call(ctx.library, ctx.name, *inputs)
                found = call.backward(grad, ctx.return_sequence, trail, ctx.needs_input_grad)
        return *found, None, None, None


@dataclass
class _Trail:
    """What the forward pass leaves for the backward pass to find the states by.

    Attributes:
        keep: Steps between the states of ``kept``, else 0.
        states: All states (T, B, n).
        kept: Or those after every ``keep``-th step, without the end.
        last: Or the one at the end, from which W^H leads back.
        signs: Of the pre-activations of |x|, one bit each.
        zeros: Beside ``last`` and ``signs``: not 0 if a pre-activation was, since the sign of the
            rounding that comes back for it would count.
    """

    keep: int = 0
    states: Tensor | None = None
    kept: Tensor | None = None
    last: Tensor | None = None
    signs: Tensor | None = None
    zeros: Tensor | None = None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """What the backward pass needs, in order."""
        return self.states, self.kept, self.last, self.signs


class _Call:
    """One recurrence in the form that the kernel takes: real numbers, addresses and strides."""

    def __init__(
        self,
        library: Kernel,
        name: str,
        x: Tensor,
        w: Tensor,
        h0: Tensor,
        weight_ih: Tensor | None,
        bias: Tensor | None,
        threshold: Tensor | None,
    ) -> None:
        self.kernel, self.name, self.w, self.weight_ih = library, name, w, weight_ih
        self.x, self.h0 = _in_rows(x), _in_rows(h0)
        self.steps, self.batch, self.n = x.shape[0], x.shape[1], w.shape[0]
        self.parts = 2 if w.is_complex() else 1
        if threshold is not None and w.is_complex():
            threshold = threshold.repeat_interleave(2)  # for both parts of each number
            name = "complex modrelu"
        self.task = Task(
            is_double=w.dtype.to_real() == torch.float64,
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
        # The kernel is given addresses only: what they point to must live as long as the task.
        self._alive = self.task.alive = [self.x, self.h0]
        self._point("w", self.kernel.pack_matrix(w, back=False))
        if weight_ih is not None:
            self._point("v", self.kernel.pack_matrix(weight_ih, back=False))
        self._point("bias", None if bias is None else self.kernel.pack_vector(bias))
        self._point("threshold", None if threshold is None else self.kernel.pack_vector(threshold))

    def _point(self, field: str, tensor: Tensor | None) -> None:
        setattr(self.task, field, None if tensor is None else tensor.data_ptr())
        if tensor is not None:
            self._alive.append(tensor)

    # ------------------------------------------------------------------------------- forward

    def trail(
        self, return_sequence: bool, checkpoint: int | None, *, reversible: bool = True
    ) -> _Trail:
        """The trail to leave for such a result, empty yet; all states are the result itself."""
        trail = _Trail(signs=self._no_signs())
        if return_sequence and checkpoint is None:
            return trail
        if reversible and self._invertible():
            trail.last = self._states()
            if trail.signs is not None:
                trail.zeros = torch.zeros(self.batch, dtype=torch.uint8)
        else:
            trail.keep = min(self._spacing() if checkpoint is None else checkpoint, self.steps)
            trail.kept = self._states((self.steps - 1) // trail.keep)
        return trail

    def forward(self, return_sequence: bool, trail: _Trail | None = None) -> Tensor:
        """All states, or the last one; fills the trail."""
        out = self._states(self.steps) if return_sequence else self._states()
        last = None if return_sequence else out
        if trail is not None:
            if trail.kept is None and trail.last is None:
                trail.states = out
            elif return_sequence:
                last = trail.last
            self._point("kept", trail.kept)
            self._point("signs", trail.signs)
            self._point("zeros", trail.zeros)
            self.task.keep = trail.keep
        self._point("states", out if return_sequence else None)
        self._point("last", last)
        slices = self._slices()
        threads.run([partial(self.kernel.forward, self.task, *ends) for ends in slices])
        if trail is not None and trail.last is not None and not return_sequence:
            trail.last.copy_(out)
        return out

    def _spacing(self) -> int:
        """Steps between kept states: two, but more where half of all states are too many."""
        total = self.steps * self.batch * self._row_bytes()
        # Beyond the root of T the segments that are recomputed would outweigh what is spared.
        return max(2, min(math.ceil(total / _KEPT_BYTES), math.isqrt(self.steps)))

    def _segment(self, keep: int) -> int:
        """Steps that are found again at a time: a multiple of ``keep`` that the cache can hold."""
        rows = min(_TILE_ROWS, math.ceil(self.batch / torch.get_num_threads()))
        unit = max(keep, 1)
        most = max(_SEGMENT_BYTES // (rows * self._row_bytes()), _SUMMED_ROWS // rows)
        return unit * max(1, most // unit)

    def _row_bytes(self) -> int:
        return self.n * self.w.element_size()

    def _invertible(self) -> bool:
        """Whether W^H leads back through all steps, by an estimate of what that loses."""
        # For fewer rows the estimate would cost as much as it spares.
        if self.name not in _INVERTIBLE or self.steps * self.batch < 4 * self.n:
            return False
        w, real = self.w.detach(), self.w.dtype.to_real()
        defect = w.mH @ w
        defect.diagonal().sub_(1)
        # W^H W - I acts once a step, from ever other sides: what adds up is its part on an
        # eigenvector of W, an n-th of the norm for a defect without a preferred direction.
        drift = self.steps * float(torch.linalg.matrix_norm(defect)) / self.n
        rounding = 4 * math.sqrt(self.steps) * torch.finfo(real).eps
        return drift + rounding <= _LOSS[real]

    def _states(self, *count: int) -> Tensor:
        return self.w.new_empty(*count, self.batch, self.n)

    def _no_signs(self) -> Tensor | None:
        if self.name != "abs":
            return None
        return torch.empty(self.kernel.sign_bytes(self.task), dtype=torch.uint8)

    def _slices(self) -> list[tuple[int, int]]:
        """The batch in slices for threads."""
        work = self.steps * self.batch * self.task.n * (self.task.n + self.task.m)
        cached = self.n * self.parts * self._row_bytes() <= _CACHED_W_BYTES
        rows = _TILE_ROWS if cached else _MANY_ROWS
        return threads.slices(self.batch, 1 + work // _WORTH_A_THREAD, rows)

    # ------------------------------------------------------------------------------ backward

    def backward(
        self, grad: Tensor, return_sequence: bool, trail: _Trail, wanted: tuple[bool, ...]
    ) -> tuple[Tensor | None, ...]:
        """The gradients of x, W, h0, V, b and the threshold, None where not wanted."""
        grad = _in_rows(grad)
        task = self.task
        task.keep, task.segment = trail.keep, self._segment(trail.keep)
        task.reverse = trail.last is not None
        for field in ("states", "kept", "last", "signs"):
            self._point(field, getattr(trail, field))
        start = None if trail.last is None else torch.empty_like(trail.last)
        self._point("start", start)
        self._point("grad", grad)
        task.grad_last = not return_sequence
        task.grad_step = grad.stride(0) * self.parts if return_sequence else 0
        task.grad_row = grad.stride(-2) * self.parts
        dx = torch.empty_like(self.x, memory_format=torch.contiguous_format) if wanted[0] else None
        dh0 = self._states() if wanted[2] else None
        self._point("dx", dx)
        self._point("dh0", dh0)
        self._point("w_back", self.kernel.pack_matrix(self.w, back=True))
        if self.weight_ih is not None and wanted[0]:
            self._point("v_back", self.kernel.pack_matrix(self.weight_ih, back=True))

        n, m = task.n, task.m
        shapes = {"dw": (n, n), "dv": (n, m), "dbias": (n,), "dthreshold": (n,)}
        asked = dict(zip(shapes, (wanted[1], wanted[3], wanted[4], wanted[5]), strict=True))
        slices = self._slices()
        sums = {
            name: torch.empty(len(slices), *shape, dtype=self.w.dtype.to_real())
            for name, shape in shapes.items()
            if asked[name]
        }

        def part(begin: int, end: int, i: int) -> None:
            fields = {name: total[i].data_ptr() for name, total in sums.items()}
            self.kernel.backward(task, begin, end, Sums(**fields))

        threads.run([partial(part, *ends, i) for i, ends in enumerate(slices)])
        if start is not None and self._strays(start, trail):
            again = self.trail(False, None, reversible=False)
            self.forward(False, again)
            return self.backward(grad, return_sequence, again, wanted)
        total = {name: s.sum(0) if len(slices) > 1 else s[0] for name, s in sums.items()}
        return (
            dx,
            self._matrix(total.get("dw")),
            dh0,
            self._matrix(total.get("dv")),
            self._vector(total.get("dbias")),
            total["dthreshold"][:: self.parts] if "dthreshold" in total else None,
        )

    def _strays(self, start: Tensor, trail: _Trail) -> bool:
        """Whether the way back through W^H missed the initial state by more than it may."""
        assert trail.last is not None
        largest = max(1.0, float(trail.last.abs().max()), float(self.h0.abs().max()))
        error = float((start - self.h0).abs().max())
        return not error <= _LOSS[self.w.dtype.to_real()] * largest  # true if it is not a number

    def _matrix(self, a: Tensor | None) -> Tensor | None:
        """The gradient of a matrix from that of its real embedding."""
        if a is None or self.parts == 1:
            return a
        rows, columns = a.shape
        blocks = a.view(rows // 2, 2, columns // 2, 2)
        real = blocks[:, 0, :, 0] + blocks[:, 1, :, 1]
        return torch.complex(real, blocks[:, 1, :, 0] - blocks[:, 0, :, 1])

    def _vector(self, a: Tensor | None) -> Tensor | None:
        if a is None or self.parts == 1:
            return a
        return torch.view_as_complex(a.view(-1, 2))


def _in_rows(x: Tensor) -> Tensor:
    """``x`` with the numbers of its last dimension side by side in memory."""
    x = x.resolve_conj().resolve_neg()
    if torch._is_zerotensor(x):  # a gradient that autograd has not written to memory
        x = x.clone()
    return x if x.stride(-1) == 1 else x.contiguous()
