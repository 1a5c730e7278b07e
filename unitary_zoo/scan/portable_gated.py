"""The recurrence of gated units in PyTorch operations with its own backward pass, on any device.

For the backward pass it keeps the states, the two gates, the candidate and the product that the
reset gate scales. A step is one matrix product forward and one backward: the gradients of all that
the gates and the candidate are computed from are the gradient of h_t times slopes, which are
computed beforehand for all steps at once. The gradients of the matrices are one product over all
steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unitary_zoo.scan.autograd import Needed, Saved
from unitary_zoo.scan.problem import GatedOperands, GatedProblem


def _sums(
    x: Tensor, weight_ih: Tensor, bias: Tensor | None, bias_hn: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the sums (R, 3n) that W h is to be added to, and V_n x + b_n (R, n).

    The sums are those of the two gates and of the candidate's product W_n h + b_hn.
    """
    n = weight_ih.shape[0] // 3
    sums = x @ weight_ih.mT if bias is None else torch.addmm(bias, x, weight_ih.mT)
    candidate = sums[:, 2 * n :].clone()
    sums[:, 2 * n :] = 0 if bias_hn is None else bias_hn
    return sums, candidate


def _gates(h: Tensor, transposed: Tensor, sums: Tensor, candidate: Tensor) -> None:
    """Turn the sums into r, z and the product, and the other sum into the candidate."""
    n = h.shape[1]
    sums.addmm_(h, transposed)
    sums[:, : 2 * n].sigmoid_()
    candidate.addcmul_(sums[:, :n], sums[:, 2 * n :]).tanh_()


def _step(h: Tensor, transposed: Tensor, sums: Tensor, candidate: Tensor, out: Tensor) -> None:
    """Write the state after h (B, n) into ``out``; turns the sums into r, z and the product."""
    n = h.shape[1]
    _gates(h, transposed, sums, candidate)
    torch.lerp(candidate, h, sums[:, n : 2 * n], out=out)


def _last_state(operands: GatedOperands) -> Tensor:
    """Return the last state with two states in memory, whatever T; for inference."""
    x, w, h0, weight_ih, bias, bias_hn = operands
    h, following = h0.clone(), torch.empty_like(h0, memory_format=torch.contiguous_format)
    for x_t in x.unbind(0):
        _step(h, w.mT, *_sums(x_t, weight_ih, bias, bias_hn), out=following)
        h, following = following, h
    return h


def forward(problem: GatedProblem, keep: bool) -> tuple[Tensor, Saved]:
    """Return the result; keeps all states, and what the gates made of the sums."""
    operands = problem.operands()
    if not (problem.return_sequence or keep):
        return _last_state(operands), Saved(())
    x, w, h0, weight_ih, bias, bias_hn = operands
    (steps, batch, m), n = x.shape, w.shape[1]
    sums, candidates = _sums(x.reshape(steps * batch, m), weight_ih, bias, bias_hn)
    sums, candidates = sums.view(steps, batch, 3 * n), candidates.view(steps, batch, n)
    states = x.new_empty(steps, batch, n)
    transposed = w.mT.contiguous()  # the product is fastest with this layout
    sums_at, candidate_at = sums.unbind(0), candidates.unbind(0)
    h = h0
    for t, following in enumerate(states.unbind(0)):
        _step(h, transposed, sums_at[t], candidate_at[t], out=following)
        h = following
    saved = Saved((states, sums, candidates))
    return states if problem.return_sequence else h.clone(), saved


def restore(problem: GatedProblem, states: Tensor) -> Saved:
    """Return what :func:`forward` keeps, from all states: all steps at once."""
    x, w, h0, weight_ih, bias, bias_hn = problem.operands()
    steps, batch, n = states.shape
    sums, candidates = _sums(x.reshape(steps * batch, x.shape[2]), weight_ih, bias, bias_hn)
    previous = torch.cat([h0.unsqueeze(0), states[:-1]]).view(steps * batch, n)
    _gates(previous, w.mT, sums, candidates)
    return Saved((states, sums.view(steps, batch, 3 * n), candidates.view(steps, batch, n)))


def products_with_previous(d: Tensor, states: Tensor, h0: Tensor) -> Tensor:
    """Return the sum over t of d_t^T conj(h_(t-1)) (k, n), for d (T, B, k), states (T, B, n)."""
    first = d[0].mT @ h0.conj()
    rest = d[1:].flatten(0, 1).mT
    return first.addmm_(rest, states[:-1].flatten(0, 1).conj())


def backward(
    problem: GatedProblem, saved: Saved, needed: Needed, grad: Tensor
) -> dict[str, Tensor]:
    """Return the gradients of the operands, by name, at least of those that need one."""
    x, w, h0, weight_ih, _, _ = problem.operands()
    states, sums, c = saved.tensors
    assert states is not None
    assert sums is not None
    assert c is not None
    steps, batch, n = c.shape
    r, z, product = sums.view(steps, batch, 3, n).unbind(2)
    # Multiplied by the gradient of h_t these slopes become the gradients of the candidate's sum,
    # and (T, B, 3, n) of the sums of the reset gate, the update gate and the product.
    slope = (1 - z).mul_(1 - c.square())
    slopes = torch.empty_like(sums).view(steps, batch, 3, n)
    torch.mul(slope, r, out=slopes[:, :, 2])
    torch.mul(slopes[:, :, 2], (1 - r).mul_(product), out=slopes[:, :, 0])
    difference = torch.cat([h0.unsqueeze(0), states[:-1]]).sub_(c)
    torch.mul(z * (1 - z), difference, out=slopes[:, :, 1])
    grads = grad.unbind(0) if problem.return_sequence else None
    gradients = torch.empty_like(c)  # of the states
    gradients[-1] = grad if grads is None else grads[-1]
    gradient_at, slopes_at, z_at = gradients.unbind(0), slopes.unbind(0), z.unbind(0)
    flat_at = slopes.view(steps, batch, 3 * n).unbind(0)
    for t in range(steps - 1, -1, -1):
        g = gradient_at[t]
        slopes_at[t].mul_(g.unsqueeze(1))  # the slopes become the gradients
        if t == 0:
            g = g * z_at[0]
        elif grads is None:
            g = torch.mul(g, z_at[t], out=gradient_at[t - 1])
        else:
            g = torch.addcmul(grads[t - 1], g, z_at[t], out=gradient_at[t - 1])
        dh = g.addmm_(flat_at[t], w)  # of h_(t-1), through z h_(t-1) and through W h_(t-1)
    d = slopes.view(steps * batch, 3 * n)
    found = {"h0": dh}
    if needed["w"]:
        found["w"] = products_with_previous(slopes.flatten(2), states, h0)
    if needed["bias_hn"]:
        found["bias_hn"] = d[:, 2 * n :].sum(0)
    # The inputs enter the candidate's sum, not the product: from here on its gradient takes the
    # place of the product's.
    torch.mul(gradients, slope, out=slopes[:, :, 2])
    if needed["x"]:
        found["x"] = (d @ weight_ih).view(x.shape)
    if needed["weight_ih"]:
        found["weight_ih"] = d.mT @ x.reshape(steps * batch, x.shape[2])
    if needed["bias"]:
        found["bias"] = d.sum(0)
    return found
