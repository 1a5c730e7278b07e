"""Recurrences that keep one state for every segment of the sequence and recompute the others."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from unitary_zoo._torch import has_functional_transforms
from unitary_zoo.scan import reference
from unitary_zoo.scan.autograd import Engine, Needed, Saved
from unitary_zoo.scan.problem import AnyProblem


class Segments(Engine):
    """An engine that keeps every ``problem.checkpoint``-th state, made from one that keeps all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def forward(self, problem: AnyProblem, keep: bool) -> tuple[Tensor, Saved]:
        """Return the result; keeps the state before every segment but the first."""
        assert problem.checkpoint is not None
        if not keep:
            return self._engine.forward(problem, keep=False)
        outs: list[Tensor] = []
        starts: list[Tensor] = []
        h = problem.h0
        for x in problem.x.split(problem.checkpoint):
            if outs:
                starts.append(h.clone())  # a view would hold all states of its segment
            out, _ = self._engine.forward(_segment(problem, x, h), keep=False)
            h = out[-1] if problem.return_sequence else out
            outs.append(out)
        return torch.cat(outs) if problem.return_sequence else h, Saved((None, *starts))

    def restore(self, problem: AnyProblem, states: Tensor) -> Saved | None:
        """Return None: all states are more than is kept."""
        return None

    def backward(
        self, problem: AnyProblem, saved: Saved, needed: Needed, grad: Tensor
    ) -> dict[str, Tensor]:
        """Return the gradients of the operands; computes the states of one segment at a time."""
        assert problem.checkpoint is not None
        xs = problem.x.split(problem.checkpoint)
        grads = grad.split(problem.checkpoint) if problem.return_sequence else None
        starts = [problem.h0, *saved.tensors[1:]]
        needed = {**needed, "h0": True}
        dh = None if problem.return_sequence else grad
        dx: list[Tensor] = []
        sums: dict[str, Tensor] = {}
        for i in range(len(xs) - 1, -1, -1):
            h = starts[i]
            assert h is not None
            part = _segment(problem, xs[i], h)
            g = dh if grads is None else grads[i]
            if grads is not None and dh is not None:
                g = torch.cat([grads[i][:-1], (grads[i][-1] + dh).unsqueeze(0)])
            assert g is not None
            _, kept = self._engine.forward(part, keep=True)
            found = self._engine.backward(part, kept, needed, g)
            dh = found.pop("h0")
            if "x" in found:
                dx.insert(0, found.pop("x"))
            sums = {key: value + sums[key] if sums else value for key, value in found.items()}
        assert dh is not None
        return {**sums, "h0": dh, **({"x": torch.cat(dx)} if dx else {})}


def _segment(problem: AnyProblem, x: Tensor, h0: Tensor) -> AnyProblem:
    return replace(problem, x=x, h0=h0, checkpoint=None)


def plain_loop(problem: AnyProblem) -> Tensor:
    """Return the result of the plain loop; the backward pass recomputes each segment, if any.

    Under the transforms of ``torch.func``, which refuse torch's own checkpoints, it keeps all.
    """
    if problem.checkpoint is None or has_functional_transforms():
        return reference.run(problem)
    # Imported here, since torch up to 2.6 imports sympy with it, which takes up to 0.8 s.
    from torch.utils.checkpoint import checkpoint as recompute

    outs: list[Tensor] = []
    h = problem.h0
    for x in problem.x.split(problem.checkpoint):
        out = recompute(
            lambda x, h: reference.run(_segment(problem, x, h)),
            x, h, use_reentrant=False, preserve_rng_state=False,
        )  # fmt: skip
        h = out[-1] if problem.return_sequence else out
        outs.append(out)
    return torch.cat(outs) if problem.return_sequence else h
