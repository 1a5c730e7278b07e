"""UnitaryRNNCell: the parameters and the step of a simple recurrent layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import nonlinearities
from unitary_zoo.base import LinearMap, Parametrization
from unitary_zoo.cells._base import RecurrentCell, build_recurrent, empty_parameter, uniform_
from unitary_zoo.cells.torch_weights import Scheme, check_kind, options_of
from unitary_zoo.scan import recurrent_scan

TORCH_NONLINEARITIES = ("relu", "tanh")
"""The nonlinearities of nn.RNN; both are real."""


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
        scheme: Scheme = "expm",
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

    def _scan(
        self,
        x: Tensor,
        h0: Tensor,
        recurrent: LinearMap | None,
        **options: Any,
    ) -> Tensor:
        return recurrent_scan(
            x,
            self.recurrent.prepare() if recurrent is None else recurrent,
            h0,
            self.nonlinearity,
            weight_ih=self.weight_ih,
            bias=self.bias,
            threshold=self.threshold,
            **options,
        )

    @classmethod
    def from_torch(
        cls, cell: nn.RNNCell, scheme: Scheme | None = None, **options: Any
    ) -> UnitaryRNNCell:
        """Return a cell with the weights of ``cell``, as near as the scheme can be.

        Args:
            cell: Gives sizes, nonlinearity, device and dtype.
            scheme: As in the constructor.
            options: Other options of the constructor.

        Raises:
            TypeError, ValueError: As :meth:`load_torch`, which warns of what the scheme changes.
        """
        check_kind(cell, nn.RNNCell)
        found = cls(
            cell.input_size, cell.hidden_size, nonlinearity=cell.nonlinearity, bias=bool(cell.bias),
            **options_of(cell.weight_ih, scheme), **options,
        )  # fmt: skip
        found.load_torch(cell)
        return found.train(cell.training)

    def to_torch(self) -> nn.RNNCell:
        """Return an ``nn.RNNCell`` with copies of the weights, for relu or tanh.

        Raises:
            ValueError: Another nonlinearity, or a learned initial state.
        """
        weights, v = self.torch_weights(), self.weight_ih_parts
        # Built on the meta device, since it would draw weights elsewhere.
        cell = nn.RNNCell(
            self.input_size, self.hidden_size, bias=self.bias_parts is not None,
            nonlinearity=self.nonlinearity, device="meta", dtype=v.dtype,
        ).to_empty(device=v.device)  # fmt: skip
        cell.load_state_dict(weights)
        return cell.train(self.training)

    def _torch_kind(self) -> type[nn.Module]:
        return nn.RNNCell

    def _check_has_torch_function(self) -> None:
        if self.nonlinearity not in TORCH_NONLINEARITIES:
            raise ValueError(
                f"nonlinearity={self.nonlinearity!r} is not in nn.RNN; build this layer with one "
                f"of {', '.join(map(repr, TORCH_NONLINEARITIES))} and a real scheme"
            )

    def _from_torch(
        self, w: Tensor, bias_ih: Tensor | None = None, bias_hh: Tensor | None = None
    ) -> dict[str, Tensor]:
        entries = {"recurrent": w}
        if bias_ih is not None and bias_hh is not None:
            entries["bias_parts"] = bias_ih + bias_hh
        return entries

    def _to_torch(self) -> dict[str, Tensor]:
        weights = {"weight_hh": self.recurrent.prepare().matrix()}
        if self.bias_parts is not None:
            weights.update(bias_ih=self.bias_parts, bias_hh=torch.zeros_like(self.bias_parts))
        return weights

    def extra_repr(self) -> str:
        """Return the sizes and the nonlinearity."""
        return f"{self.input_size}, {self.hidden_size}, nonlinearity={self.nonlinearity!r}"
