"""gated_scan: the recurrence of gated units, with its own backward pass, on any device.

For the backward pass it keeps the states, the two gates, the candidate and the product that the
reset gate scales. A step is one matrix product forward and one backward: given the gradient g of
h_t, those of all that the gates and the candidate were computed from are g times what is known
beforehand for all steps at once. The gradients of the matrices are one product over all steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unitary_zoo._torch import is_traced, is_transformed, without_autocast
from unitary_zoo.scan import reference, second_order
from unitary_zoo.scan.dispatch import ENVIRONMENT
from unitary_zoo.scan.problem import (
    GatedProblem,
    check_checkpoint,
    check_devices,
    check_inputs,
    check_shapes,
)
from unitary_zoo.scan.segments import in_segments


def gated_scan(
    x: Tensor,
    W: Tensor,
    h0: Tensor,
    weight_ih: Tensor,
    *,
    bias: Tensor | None = None,
    bias_hn: Tensor | None = None,
    return_sequence: bool = True,
    backend: str = "auto",
    checkpoint: int | None = None,
) -> Tensor:
    r""":math:`h_t = (1 - z) \odot c + z \odot h_{t-1}` for t = 1..T: the equations of ``nn.GRU``.

    :math:`r = \sigma(V_r x_t + b_r + W_r h_{t-1})`, :math:`z = \sigma(V_z x_t + b_z + W_z h_{t-1})`
    and the candidate :math:`c = \tanh(V_n x_t + b_n + r \odot (W_n h_{t-1} + b_{hn}))`.

    Computes in float32 or better whatever the autocast state, in the highest precision given; if
    ``x`` is in half precision, so is the result.

    Args:
        x: (T, B, m).
        W: (3n, n): W_r, W_z and W_n, one below the other.
        h0: (B, n).
        weight_ih: (3n, m): V_r, V_z and V_n.
        bias: (3n): b_r, b_z and b_n.
        bias_hn: (n).
        return_sequence: Return all states (T, B, n), or the last one (B, n).
        backend: "portable", "reference" (the plain loop), or "auto", which takes the loop for a
            single step and under compilers and ``torch.func``; the environment variable
            ``UNITARY_ZOO_SCAN`` overrides "auto".
        checkpoint: For the backward pass keep the states of every ``checkpoint``-th step only
            and recompute all else: less memory, about a third more time.

    Raises:
        ValueError: A shape, dtype, device, backend or checkpoint that does not fit.

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014; with the
    reset gate after the matrix product, as torch has it.
    """
    problem = _checked(GatedProblem(x, W, h0, weight_ih, bias, bias_hn, return_sequence))
    check_checkpoint(checkpoint)
    run = _choose((os.environ.get(ENVIRONMENT) or "auto") if backend == "auto" else backend, x)
    with without_autocast(x.device):
        if checkpoint is None:
            out = run(problem)
        else:
            out = in_segments(
                lambda x, h: run(replace(problem, x=x, h0=h)),
                problem.x, problem.h0, checkpoint, return_sequence,
            )  # fmt: skip
    return out.to(x.dtype) if x.dtype in (torch.float16, torch.bfloat16) else out


def _choose(name: str, x: Tensor) -> Callable[[GatedProblem], Tensor]:
    if name == "auto":
        # The loop where others differentiate it, and without any overhead for one step.
        plain = is_traced() or is_transformed() or x.shape[0] == 1
        name = "reference" if plain else "portable"
    if name not in _BACKENDS:
        raise ValueError(
            f"scan backend {name!r} has no gated recurrence; choose auto or one of "
            f"{tuple(_BACKENDS)}, by backend= or by {ENVIRONMENT}"
        )
    return _BACKENDS[name]


def _checked(problem: GatedProblem) -> GatedProblem:
    """The problem in one dtype, if all in it fits."""
    x, w, h0, weight_ih, bias, bias_hn = problem.tensors()
    n = w.shape[-1]
    check_inputs(x, weight_ih.shape[-1])
    wanted = {
        "W": (w, (3 * n, n)),
        "h0": (h0, (x.shape[1], n)),
        "weight_ih": (weight_ih, (3 * n, x.shape[2])),
        "bias": (bias, (3 * n,)),
        "bias_hn": (bias_hn, (n,)),
    }
    check_shapes(wanted)
    others = {name: tensor for name, (tensor, _) in wanted.items()}
    check_devices(x, others)
    dtype = torch.float32
    for name, tensor in {"x": x, **others}.items():
        if tensor is None:
            continue
        if tensor.is_complex():
            raise ValueError(
                f"{name} is {tensor.dtype}, and gates compare real numbers; pass the real features "
                "as_real(...), and matrices of a real scheme"
            )
        dtype = torch.promote_types(dtype, tensor.dtype)
    return replace(
        problem,
        x=x.to(dtype),
        w=w.to(dtype),
        h0=h0.to(dtype),
        weight_ih=weight_ih.to(dtype),
        bias=None if bias is None else bias.to(dtype),
        bias_hn=None if bias_hn is None else bias_hn.to(dtype),
    )


# --------------------------------------------------------------------------- portable: forward


def _run(problem: GatedProblem) -> Tensor:
    """All states (T, B, n), or the last one (B, n)."""
    tensors = problem.tensors()
    # Asked here, since inside the function gradients always look wanted.
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    if not (wanted or problem.return_sequence):
        return _last_state(problem)
    out: Tensor = _GatedScan.apply(*tensors, problem.return_sequence)
    return out


_BACKENDS: dict[str, Callable[[GatedProblem], Tensor]] = {
    "portable": _run,
    "reference": reference.run_gated,
}


def _from_inputs(
    x: Tensor, weight_ih: Tensor, bias: Tensor | None, bias_hn: Tensor | None
) -> tuple[Tensor, Tensor]:
    """What W h is added to for the gates and for the product (R, 3n), and V_n x + b_n (R, n)."""
    n = weight_ih.shape[0] // 3
    sums = x @ weight_ih.mT if bias is None else torch.addmm(bias, x, weight_ih.mT)
    candidate = sums[:, 2 * n :].clone()
    sums[:, 2 * n :] = 0 if bias_hn is None else bias_hn
    return sums, candidate


def _step(h: Tensor, transposed: Tensor, sums: Tensor, candidate: Tensor, out: Tensor) -> None:
    """From h (B, n) to the next state ``out``; turns the sums into r, z and the product."""
    n = h.shape[1]
    sums.addmm_(h, transposed)
    sums[:, : 2 * n].sigmoid_()
    candidate.addcmul_(sums[:, :n], sums[:, 2 * n :]).tanh_()
    torch.lerp(candidate, h, sums[:, n : 2 * n], out=out)


def _last_state(problem: GatedProblem) -> Tensor:
    """The loop for inference: two states in memory, whatever T."""
    x, w, h0, weight_ih, bias, bias_hn = problem.tensors()
    h, following = h0.clone(), torch.empty_like(h0, memory_format=torch.contiguous_format)
    for x_t in x.unbind(0):
        _step(h, w.mT, *_from_inputs(x_t, weight_ih, bias, bias_hn), out=following)
        h, following = following, h
    return h


class _GatedScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w: Tensor,
        h0: Tensor,
        weight_ih: Tensor,
        bias: Tensor | None,
        bias_hn: Tensor | None,
        return_sequence: bool,
    ) -> Tensor:
        (steps, batch, m), n = x.shape, w.shape[1]
        ctx.return_sequence = return_sequence
        sums, candidates = _from_inputs(x.reshape(steps * batch, m), weight_ih, bias, bias_hn)
        sums, candidates = sums.view(steps, batch, 3 * n), candidates.view(steps, batch, n)
        states = x.new_empty(steps + 1, batch, n)
        states[0] = h0
        transposed = w.mT.contiguous()  # the product runs on the layout the library likes best
        slots = states.unbind(0)
        for t, (row, candidate) in enumerate(
            zip(sums.unbind(0), candidates.unbind(0), strict=True)
        ):
            _step(slots[t], transposed, row, candidate, out=slots[t + 1])
        ctx.save_for_backward(x, w, h0, weight_ih, bias, bias_hn, states, sums, candidates)
        return states[1:] if return_sequence else states[-1].clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(grad.device):
            if torch.is_grad_enabled():
                # A derivative of this derivative is wanted: differentiate the plain loop instead.
                inputs = ctx.saved_tensors[:6]
                options = ctx.return_sequence, ctx.needs_input_grad
                return *second_order.gated_backward(inputs, *options, grad), None
            return _backward(ctx, grad)


# --------------------------------------------------------------------------- portable: backward


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, w, _, weight_ih, bias, bias_hn, states, sums, c = ctx.saved_tensors
    steps, batch, n = c.shape
    r, z, product = sums.view(steps, batch, 3, n).unbind(2)
    # The gradients of what the candidate and the gates are functions of are g times these: of the
    # candidate's sum, and (T, B, 3, n) of the reset gate's, the update gate's and the product.
    slope = (1 - z).mul_(1 - c.square())
    slopes = torch.empty_like(sums).view(steps, batch, 3, n)
    torch.mul(slope, r, out=slopes[:, :, 2])
    torch.mul(slopes[:, :, 2], (1 - r).mul_(product), out=slopes[:, :, 0])
    torch.mul(z * (1 - z), states[:-1] - c, out=slopes[:, :, 1])
    grads = grad.unbind(0) if ctx.return_sequence else None
    gradients = torch.empty_like(c)  # of the states
    gradients[-1] = grad if grads is None else grads[-1]
    slots, rows = gradients.unbind(0), slopes.unbind(0)
    flat, gates = slopes.view(steps, batch, 3 * n).unbind(0), z.unbind(0)
    for t in range(steps - 1, -1, -1):
        g = slots[t]
        rows[t].mul_(g.unsqueeze(1))  # the slopes become the gradients
        if t == 0:
            g = g * gates[0]
        elif grads is None:
            g = torch.mul(g, gates[t], out=slots[t - 1])
        else:
            g = torch.addcmul(grads[t - 1], g, gates[t], out=slots[t - 1])
        dh = g.addmm_(flat[t], w)  # of h_(t-1), by z h_(t-1) and by W h_(t-1)
    d = slopes.view(steps * batch, 3 * n)
    dx = dw = dv = db = db_hn = None
    if ctx.needs_input_grad[1]:
        dw = d.mT @ states[:-1].reshape(steps * batch, n)
    if bias_hn is not None and ctx.needs_input_grad[5]:
        db_hn = d[:, 2 * n :].sum(0)
    # From here on with the candidate's sum, which the inputs enter, in place of the product.
    torch.mul(gradients, slope, out=slopes[:, :, 2])
    if ctx.needs_input_grad[0]:
        dx = (d @ weight_ih).view(x.shape)
    if ctx.needs_input_grad[3]:
        dv = d.mT @ x.reshape(steps * batch, x.shape[2])
    if bias is not None and ctx.needs_input_grad[4]:
        db = d.sum(0)
    return dx, dw, dh, dv, db, db_hn, None
