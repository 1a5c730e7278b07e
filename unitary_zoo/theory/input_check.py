"""The check that inputs and initial states keep the bounds a unitary network was built for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unitary_zoo import linalg
from unitary_zoo._torch import is_traced, is_transformed
from unitary_zoo.cells.calls import read_layer_call
from unitary_zoo.errors import BoundExceededError
from unitary_zoo.layers import UnitaryRNN


@dataclass(frozen=True)
class InputCheck:
    """Forward pre-hook that compares a call with the bounds.

    It is a class, not a closure, so that it can be pickled with the network.

    Attributes:
        states: Number of states of the given network, in each cell.
        input_bound: Largest norm of an input.
        initial_bound: Largest norm of an initial state.
        steps: Largest number of steps, or None.
    """

    states: int
    input_bound: float
    initial_bound: float
    steps: int | None

    def __call__(self, network: UnitaryRNN, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise :class:`BoundExceededError` if an argument of ``network`` is beyond a bound."""
        if is_traced() or is_transformed():  # tensors have no values then
            return
        x, h_0 = read_layer_call(args, kwargs)
        if isinstance(x, (Tensor, PackedSequence)):
            self._check_input(network, x)
        if isinstance(h_0, Tensor):
            self._check_initial_state(h_0, network.cells[0].recurrent.dtype)

    def _check_input(self, network: UnitaryRNN, x: Tensor | PackedSequence) -> None:
        data = x.data if isinstance(x, PackedSequence) else x
        if data.is_meta or data.numel() == 0:
            return
        time = 1 if network.batch_first and data.ndim == 3 else 0
        count = len(x.batch_sizes) if isinstance(x, PackedSequence) else data.shape[time]
        if self.steps is not None and count > self.steps:
            raise BoundExceededError(
                f"the sequence has {count} steps, and the bound of the states is for "
                f"steps={self.steps}; build the network for the longest one{_OR_UNCHECKED}"
            )
        norms = _norms(data, network.cells[0].recurrent.dtype)
        if float(norms.max()) <= _rounded_up(self.input_bound, data.shape[-1], norms):
            return
        worst = norms.argmax()
        if isinstance(x, PackedSequence):
            step = int(torch.searchsorted(x.batch_sizes.cumsum(0), int(worst), right=True))
        else:
            step = int(torch.unravel_index(worst, norms.shape)[time])
        raise BoundExceededError(
            f"the input of step {step} has norm {float(norms.max()):.9g}, and "
            f"input_bound={self.input_bound:.9g}; build the network for the largest input, or "
            f"scale the inputs{_OR_UNCHECKED}"
        )

    def _check_initial_state(self, h_0: Tensor, dtype: torch.dtype) -> None:
        if h_0.is_meta or h_0.numel() == 0:
            return
        norms = _norms(h_0, dtype)
        largest, limit = float(norms.max()), self.initial_bound
        if not largest <= _rounded_up(limit, h_0.shape[-1], norms):
            raise BoundExceededError(
                f"h_0 has norm {largest:.9g}, and initial_bound={limit:.9g}; build the network "
                f"for the largest initial state{_OR_UNCHECKED}"
            )
        if bool(h_0[..., self.states :].any()):
            raise BoundExceededError(
                f"h_0 is not 0 beyond the {self.states} states of the given network; pad its "
                "initial state by torch.nn.functional.pad"
            )


_OR_UNCHECKED = ", or with check_inputs=False"


def _norms(x: Tensor, dtype: torch.dtype) -> Tensor:
    x = x.detach().to(torch.promote_types(x.dtype, dtype))
    # Scaled first: in float32 the square of 1e20 is infinite and that of 1e-25 is 0.
    largest = x.abs().amax(-1, keepdim=True)
    unit = torch.where((largest > 0) & largest.isfinite(), largest, 1.0)
    return torch.linalg.vector_norm(x / unit, dim=-1) * unit.squeeze(-1)


def _rounded_up(bound: float, terms: int, norms: Tensor) -> float:
    # The norm and the bound are rounded themselves; a tiny bound may have few digits.
    eps, tiny = linalg.eps(norms.dtype), torch.finfo(norms.dtype).tiny
    return bound + (terms + 4) * eps * max(bound, tiny)
