"""The recurrence in compiled code, on the CPU; ``csrc/kernel.cpp`` explains its speed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unitary_zoo._torch import is_transformed
from unitary_zoo.base import FactoredMap
from unitary_zoo.scan import portable
from unitary_zoo.scan.autograd import Needed, Saved
from unitary_zoo.scan.native import factors, library, team
from unitary_zoo.scan.native.base_call import SavedStates
from unitary_zoo.scan.native.call import Call
from unitary_zoo.scan.native.gated_call import GatedCall
from unitary_zoo.scan.native.library import Kernel
from unitary_zoo.scan.problem import AnyProblem, GatedProblem, Problem


def status() -> tuple[bool, str]:
    """Return whether this machine has the kernel, and with which instruction set or why not.

    Raises:
        ValueError: The environment names an instruction set that this machine lacks.
    """
    try:
        isa = library.isa()
        return True, f"used on the CPU: compiled kernel, instruction set {isa}, {team.status()}"
    except library.UnavailableError as error:
        return False, str(error)


def supports(problem: AnyProblem) -> tuple[bool, str]:
    """Return true for dense matrices on the CPU."""
    if is_transformed():
        return False, "a transform sees PyTorch operations, not compiled code"
    ok, reason = status()
    if not ok:
        return False, reason
    if isinstance(problem, Problem) and problem.by_factors:
        ok, why = _supports_map(problem)
        if not ok:
            return False, why
    for tensor in problem.operands():
        if tensor is None:
            continue
        if tensor.device.type != "cpu":
            return False, f"a tensor is on {tensor.device}, and the kernel runs on the CPU"
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided:
            return False, f"{type(tensor).__name__} may have no memory that a kernel can read"
    return True, reason


def _supports_map(problem: Problem) -> tuple[bool, str]:
    if not isinstance(problem.w, FactoredMap):
        return False, f"{type(problem.w).__name__} is applied by its factors, not by a matrix"
    if _is_empty(problem):
        return False, "there is nothing to compute"
    return factors.supports(problem.w)


def forward(problem: AnyProblem, keep: bool) -> tuple[Tensor, Saved]:
    """Return the result; keeps what the problem and the memory allow."""
    if _is_empty(problem):
        return portable.forward(problem, keep)
    # Kept for the backward pass, since the layout of the signs depends on the instruction set.
    kernel = Kernel(library.isa())
    call = _call(kernel, problem)
    if not keep:
        return call.forward(problem.return_sequence), Saved(())
    states = call.empty_states(problem.return_sequence, problem.checkpoint)
    out = call.forward(problem.return_sequence, states)
    return out, Saved(states.tensors(), (kernel, states.spacing, states.packed))


def restore(problem: AnyProblem, states: Tensor) -> Saved | None:
    """Return what :func:`forward` keeps, from all states; None for |x|, whose signs are lost."""
    if _is_empty(problem):
        return portable.restore(problem, states)
    if isinstance(problem, Problem) and problem.activation.name == "abs":
        return None
    return Saved(SavedStates(states=states).tensors(), (Kernel(library.isa()), 0, None))


def backward(problem: AnyProblem, saved: Saved, needed: Needed, grad: Tensor) -> dict[str, Tensor]:
    """Return the gradients of the operands, by name, at least of those that need one."""
    if _is_empty(problem):
        return portable.backward(problem, saved, needed, grad)
    kernel, spacing, packed = saved.rest
    states, kept, signs, gates = saved.tensors
    found = SavedStates(spacing, states, kept, signs, gates, packed)
    return _call(kernel, problem).backward(grad, problem.return_sequence, found, needed)


def _call(kernel: Kernel, problem: AnyProblem) -> Call | GatedCall:
    if isinstance(problem, GatedProblem):
        return GatedCall(kernel, problem.operands(), problem.lengths)
    product = problem.w if isinstance(problem.w, FactoredMap) else None
    return Call(kernel, problem.activation.name, problem.operands(), problem.lengths, product)


def _is_empty(problem: AnyProblem) -> bool:
    """Whether there is nothing that the kernel could read."""
    return problem.x.numel() == 0 or problem.h0.numel() == 0
