"""The recurrence in compiled code, on the CPU; ``csrc/kernel.cpp`` explains its speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo._torch import is_traced, is_transformed
from unitary_zoo.base import DenseMap, LinearMap
from unitary_zoo.scan import autograd, reference
from unitary_zoo.scan.native import library
from unitary_zoo.scan.native.call import Call, SavedStates
from unitary_zoo.scan.native.library import Kernel
from unitary_zoo.scan.problem import AnyProblem, GatedProblem, Operands

HEEDS_CHECKPOINT = True


def status() -> tuple[bool, str]:
    """Return whether this machine has the kernel, and with which instruction set or why not."""
    try:
        return True, f"used on the CPU: compiled kernel, instruction set {library.isa()}"
    except library.UnavailableError as error:
        return False, str(error)


def supports(problem: AnyProblem) -> tuple[bool, str]:
    """Return true for dense matrices on the CPU, without gates."""
    if isinstance(problem, GatedProblem):
        return False, "the compiled kernel has no gated recurrence"
    if is_traced() or is_transformed():  # first, since a tracer records the checks below, too
        return False, "a tracer or transform sees PyTorch operations, not compiled code"
    ok, reason = status()
    if not ok:
        return False, reason
    if isinstance(problem.w, LinearMap) and not isinstance(problem.w, DenseMap):
        return False, f"{type(problem.w).__name__} is applied by its factors, not by a matrix"
    for tensor in problem.operands():
        if tensor is None:
            continue
        if tensor.device.type != "cpu":
            return False, f"a tensor is on {tensor.device}, and the kernel runs on the CPU"
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided:
            return False, f"{type(tensor).__name__} may have no memory that a kernel can read"
    return True, reason


def run(problem: AnyProblem) -> Tensor:
    """Return all states (T, B, n), or the last one (B, n) if not ``return_sequence``."""
    assert not isinstance(problem, GatedProblem)
    if problem.x.numel() == 0 or problem.h0.numel() == 0:  # the kernel needs data
        return reference.run(problem)
    operands = problem.operands()
    if autograd.needs_gradients(operands):
        out: Tensor = _Scan.apply(*operands, *problem.options())
        return out
    call = Call(Kernel(library.isa()), problem.activation.name, operands)
    return call.forward(problem.return_sequence)


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
        operands = Operands(x, w, h0, weight_ih, bias, threshold)
        # Kept for the backward pass, since the layout of the signs depends on the instruction set.
        ctx.kernel = Kernel(library.isa())
        call = Call(ctx.kernel, name, operands)
        saved = call.empty_states(return_sequence, checkpoint)
        out = call.forward(return_sequence, saved)
        ctx.options = name, return_sequence, checkpoint
        ctx.spacing = saved.spacing
        ctx.save_for_backward(*operands, saved.states, saved.kept, saved.signs)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return autograd.backward(ctx, grad, Operands, _gradients)


def _gradients(
    ctx: Any,
    operands: Operands,
    saved: tuple[Tensor | None, ...],
    needed: Mapping[str, bool],
    grad: Tensor,
) -> dict[str, Tensor]:
    name, return_sequence, _ = ctx.options
    call = Call(ctx.kernel, name, operands)
    return call.backward(grad, return_sequence, SavedStates(ctx.spacing, *saved), needed)
