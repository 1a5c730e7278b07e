"""recurrent_scan: the recurrence of UnitaryRNN."""

from __future__ import annotations

from torch import Tensor

from unitary_zoo.base import LinearMap
from unitary_zoo.scan import dispatch
from unitary_zoo.scan.arguments import make_problem


def recurrent_scan(
    x: Tensor,
    W: Tensor | LinearMap,
    h0: Tensor,
    nonlinearity: str,
    *,
    weight_ih: Tensor | None = None,
    bias: Tensor | None = None,
    threshold: Tensor | None = None,
    return_sequence: bool = True,
    backend: str = "auto",
    checkpoint: int | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    r""":math:`h_t = \phi(W h_{t-1} + x_t + b)`, t = 1..T, or with :math:`V x_t` for x_t.

    Computes in float32 or better whatever the autocast state, in the highest precision given; if
    ``x`` is in half precision, so is a real result.

    Args:
        x: (T, B, n) pre-activations; with ``weight_ih``, (T, B, m) inputs.
        W: (n, n), or a LinearMap from ``Parametrization.prepare()``.
        h0: (B, n).
        nonlinearity: modrelu, relu, leaky_relu, abs, tanh, sigmoid or identity; complex states
            take modrelu and identity.
        weight_ih: V (n, m).
        bias: b (n).
        threshold: (n), real: the threshold of modReLU; None is zero.
        return_sequence: Return all states (T, B, n), or the last one (B, n).
        backend: "auto", or one of :func:`backends`; the environment variable
            ``UNITARY_ZOO_SCAN`` overrides "auto".
        checkpoint: For the backward pass keep the states of every ``checkpoint``-th step only
            and recompute those between: less memory, about a third more time.
        lengths: (B), int64 on the CPU, in descending order: the steps of each sequence. The result
            is the state of each at its end; with ``return_sequence=False`` only.

    Raises:
        ValueError: A shape, nonlinearity, backend, checkpoint or lengths that do not fit.
    """
    problem = make_problem(
        x, W, h0, nonlinearity, weight_ih, bias, threshold, return_sequence, checkpoint, lengths
    )
    return dispatch.run(problem, backend, x.dtype)
