"""gated_scan: the recurrence of UnitaryGRU."""

from __future__ import annotations

from torch import Tensor

from unitary_zoo.scan import dispatch
from unitary_zoo.scan.arguments import make_gated_problem


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
    lengths: Tensor | None = None,
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
        backend: "native" (compiled code for the CPU), "portable", "reference" (the plain loop), or
            "auto", which takes the loop for a single step and under ``torch.func``; the environment
            variable ``UNITARY_ZOO_SCAN`` overrides "auto".
        checkpoint: For the backward pass keep the states of every ``checkpoint``-th step only
            and recompute all else: less memory, about a third more time. Without it, "native" keeps
            all gates while they and the states have at most 32 MB; of more, it keeps the states of
            the result, or that before each segment, and recomputes the gates.
        lengths: (B), int64 on the CPU, in descending order: the steps of each sequence. The result
            is the state of each at its end; with ``return_sequence=False`` only.

    Raises:
        ValueError: A shape, dtype, device, backend, checkpoint or lengths that do not fit.

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014; with the
    reset gate after the matrix product, as torch has it.
    """
    problem = make_gated_problem(
        x, W, h0, weight_ih, bias, bias_hn, return_sequence, checkpoint, lengths
    )
    return dispatch.run(problem, backend, x.dtype)
