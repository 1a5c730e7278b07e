"""UnitaryRNNCell: the parameters and the step of a simple recurrent layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unitary_zoo import nonlinearities
from unitary_zoo.base import LinearMap, Parametrization
from unitary_zoo.cells._base import RecurrentCell, build_recurrent, empty_parameter, uniform_
from unitary_zoo.scan import recurrent_scan


class UnitaryRNNCell(RecurrentCell):
    r""":math:`h' = \phi(W h + V x + b)` with W unitary.

    Args:
        input_size: m, the length of x.
        hidden_size: n, the length of h.
        scheme: Registered name, class or ready ``Parametrization`` of size n.
        nonlinearity: modrelu (with a learned threshold), relu, leaky_relu, abs, tanh, sigmoid or
            identity; complex schemes take modrelu and identity.
        bias: Whether the cell has b.
        learn_h0: Whether the initial state is learned; else it is zero.
        device: Device.
        dtype: Real dtype of all parameters.
        scheme_options: Passed to the scheme.

    Attributes:
        recurrent: The Parametrization of W.
        weight_ih: V (n, m), complex for a complex scheme.
        bias: b (n) or None.
        threshold: Real (n), for modReLU, else None.
        h0: The learned initial state (n) or None.

    The learnable tensors are real: those of a complex cell hold real and imaginary parts in a
    last dimension of length 2, and the attributes above are complex views of them. In half
    precision, which has no complex numbers, the attributes are float32 copies.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        scheme: str | type[Parametrization] | Parametrization = "expm",
        nonlinearity: str = "modrelu",
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        learn_h0: bool = False,
        **scheme_options: Any,
    ) -> None:
        recurrent = build_recurrent(
            scheme, hidden_size, device=device, dtype=dtype, **scheme_options
        )
        activation = nonlinearities.get(nonlinearity)
        activation.check(recurrent.field == "complex")
        super().__init__(input_size, hidden_size, recurrent, blocks=1, bias=bias, learn_h0=learn_h0)
        self.nonlinearity, self.recurrent = nonlinearity, recurrent
        self.threshold = (
            empty_parameter(recurrent, hidden_size) if activation.has_threshold else None
        )
        self._reset_inputs(None)

    def _schemes(self) -> tuple[Parametrization, ...]:
        return (self.recurrent,)

    def _reset_own(self, generator: torch.Generator | None) -> None:
        if self.threshold is not None:
            uniform_(self.threshold, 0.01, generator)

    def scan(
        self,
        x: Tensor,
        h0: Tensor | None = None,
        *,
        recurrent: LinearMap | None = None,
        return_sequence: bool = True,
        checkpoint: int | None = None,
    ) -> Tensor:
        """Return all states (T, B, n) for inputs (T, B, m), or the last (B, n); builds W once."""
        return recurrent_scan(
            x,
            self.recurrent.prepare() if recurrent is None else recurrent,
            self.initial_state(x.shape[1]) if h0 is None else h0,
            self.nonlinearity,
            weight_ih=self.weight_ih,
            bias=self.bias,
            threshold=self.threshold,
            return_sequence=return_sequence,
            checkpoint=checkpoint,
        )

    def extra_repr(self) -> str:
        """Return the sizes and the nonlinearity."""
        return f"{self.input_size}, {self.hidden_size}, nonlinearity={self.nonlinearity!r}"
