"""Recurrences that keep one state for every segment of the sequence and recompute the others."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def in_segments(
    run: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    h0: Tensor,
    length: int,
    return_sequence: bool,
) -> Tensor:
    """Apply ``run`` to ``length`` steps at a time; the backward pass recomputes each segment.

    Args:
        run: From inputs and the state before them to all states, or to the last one.
        x: (T, B, m).
        h0: (B, n).
        length: Steps of a segment.
        return_sequence: Whether ``run`` returns all states.

    Returns:
        All states (T, B, n), or the last one (B, n).
    """
    # Imported here, since torch up to 2.6 imports sympy with it, which takes up to 0.8 s.
    from torch.utils.checkpoint import checkpoint as recompute

    outs: list[Tensor] = []
    h = h0
    for segment in x.split(length):
        out = recompute(run, segment, h, use_reentrant=False, preserve_rng_state=False)
        h = out[-1] if return_sequence else out
        outs.append(out)
    return torch.cat(outs) if return_sequence else h
