"""Sequences of different lengths in one batch: the state of each at its own end."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from unitary_zoo._torch import is_traced
from unitary_zoo.scan.problem import AnyProblem


def at_ends(states: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the state of each sequence at its end, (B, n).

    Args:
        states: (T, B, n).
        lengths: (B), the steps of each sequence; None is T.
    """
    if lengths is None:
        return states[-1]
    ends = lengths.to(states.device) - 1
    return states[ends, torch.arange(states.shape[1], device=states.device)]


def checked(lengths: Tensor | None, x: Tensor, return_sequence: bool) -> Tensor | None:
    """Return the lengths of the sequences ``x`` (T, B, m), or None if all are T.

    Raises:
        ValueError: They are not B numbers in descending order, or all states are asked for.
    """
    if lengths is None:
        return None
    steps, batch = x.shape[:2]
    if return_sequence:
        raise ValueError(
            "lengths are for the last states alone; pass return_sequence=False as well"
        )
    if lengths.dtype != torch.int64 or lengths.shape != (batch,) or lengths.device.type != "cpu":
        raise ValueError(
            f"lengths are {lengths.dtype} {tuple(lengths.shape)} on {lengths.device}; pass "
            f"int64 ({batch},) on the CPU"
        )
    if is_traced():
        return lengths  # numbers that are not known
    found = lengths.tolist()
    if found != sorted(found, reverse=True) or (found and not 1 <= found[-1] <= found[0] <= steps):
        raise ValueError(f"lengths are {found}; pass numbers from {steps} down to 1, sorted")
    return None if found and found[-1] == steps else lengths


def with_all_states(problem: AnyProblem) -> AnyProblem:
    """Return the problem whose result holds the states at the ends among all others."""
    return replace(problem, return_sequence=True, lengths=None)
