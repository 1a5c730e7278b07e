"""Sequences of different lengths: run backwards, and packed again."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from unitary_zoo.linalg import as_real


def backwards(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return ``x`` (T, B, ...) backwards in time, each sequence within its own length."""
    if lengths is None:
        return x.flip(0)
    lengths = lengths.to(x.device)
    steps = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    index = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x.gather(0, index.unsqueeze(-1).expand_as(x))


def packed_as(packed: PackedSequence, output: Tensor, lengths: Tensor) -> PackedSequence:
    """Return ``output`` (T, B, n) packed as the input was.

    Args:
        packed: The input of the same sequences.
        output: The padded sequences, in the order in which they are packed.
        lengths: Their lengths (B), on the CPU.
    """
    # Packing has no gradients for complex numbers, so it receives their real parts.
    data = pack_padded_sequence(as_real(output), lengths).data
    if output.is_complex():
        data = torch.complex(*data.chunk(2, dim=-1))
    order = packed.sorted_indices
    return PackedSequence(data, packed.batch_sizes, order, packed.unsorted_indices)
