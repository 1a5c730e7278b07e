"""RecurrentCell: the parameters and the step that all cells have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg, nonlinearities
from unitary_zoo.base import Parametrization
from unitary_zoo.cells.calls import check_dtype, check_state, input_and_state
from unitary_zoo.cells.torch_weights import Scheme, TorchWeights
from unitary_zoo.errors import check_int


def build_recurrent(scheme: Scheme, n: int, **options: Any) -> Parametrization:
    """Return the parametrization that ``scheme`` names, or ``scheme`` itself if it is one.

    Raises:
        ValueError: The parametrization given has another size.
        TypeError: There are options beside a ready parametrization, or ``scheme`` is no scheme.
    """
    if isinstance(scheme, Parametrization):
        given = {key: value for key, value in options.items() if value is not None}
        if given:
            raise TypeError(
                f"options {sorted(given)} given beside a ready {scheme.info.name!r}; set them "
                "when that is built, or pass the scheme by name"
            )
        if scheme.n != n:
            raise ValueError(f"scheme has n={scheme.n}, but hidden_size={n}; pass one of size {n}")
        return scheme
    if isinstance(scheme, str):
        if scheme in nonlinearities.NONLINEARITIES.names():
            raise ValueError(
                f"scheme={scheme!r} is a nonlinearity; pass nonlinearity={scheme!r}, and what "
                "follows it in torch, by keyword"
            )
        return Parametrization.create(scheme, n, **options)
    if isinstance(scheme, type) and issubclass(scheme, Parametrization):
        return scheme(n, **options)
    raise TypeError(f"scheme={scheme!r}; pass a registered name, a class or a Parametrization")


def empty_parameter(like: Parametrization, *shape: int) -> nn.Parameter:
    """Return a parameter on the device and of the dtype of the scheme."""
    given = next(like.parameters())
    return nn.Parameter(torch.empty(*shape, device=given.device, dtype=given.dtype))


def uniform_(x: Tensor, bound: float, generator: torch.Generator | None) -> None:
    """Fill with uniform numbers in (-bound, bound), drawn on the device of the generator."""
    device = x.device if generator is None else generator.device
    draw = torch.empty(x.shape, dtype=x.dtype, device=device)
    x.copy_(draw.uniform_(-bound, bound, generator=generator))


class RecurrentCell(TorchWeights, ABC):
    """Base of the cells: input weights, a bias, an initial state and the step.

    The inputs enter one sum of n numbers, or one for each of several ``blocks``.

    Attributes:
        weight_ih: V (blocks * n, m), complex for a complex scheme.
        bias: b (blocks * n) or None.
        h0: The learned initial state (n) or None.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        like: Parametrization,
        *,
        blocks: int,
        bias: bool,
        learn_h0: bool,
    ) -> None:
        super().__init__()
        check_int("input_size", input_size, 1)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.is_complex = like.field == "complex"
        parts = (2,) if self.is_complex else ()
        rows = blocks * hidden_size
        self.weight_ih_parts = empty_parameter(like, rows, input_size, *parts)
        self.bias_parts = empty_parameter(like, rows, *parts) if bias else None
        self.h0_parts = empty_parameter(like, hidden_size, *parts) if learn_h0 else None

    @property
    def weight_ih(self) -> Tensor:
        """The input weights V (blocks * n, m)."""
        return self._view(self.weight_ih_parts)

    @property
    def bias(self) -> Tensor | None:
        """The bias (blocks * n), or None."""
        return None if self.bias_parts is None else self._view(self.bias_parts)

    @property
    def h0(self) -> Tensor | None:
        """The learned initial state (n), or None."""
        return None if self.h0_parts is None else self._view(self.h0_parts)

    def _view(self, x: Tensor) -> Tensor:
        if not self.is_complex:
            return x
        low = linalg.is_low_precision(x.dtype)
        return torch.view_as_complex(x.float() if low else x)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Reset the schemes to their default start, V to Glorot-uniform blocks, and biases to 0."""
        for scheme in self._schemes():
            scheme.reset_parameters(generator=generator)
        self._reset_inputs(generator)

    @torch.no_grad()
    def _reset_inputs(self, generator: torch.Generator | None) -> None:
        n = self.hidden_size
        # A complex V counts as 2n real rows, as in Arjovsky's code.
        bound = math.sqrt(6 / (self.input_size + n * (2 if self.is_complex else 1)))
        uniform_(self.weight_ih_parts, bound, generator)
        if self.bias_parts is not None:
            self.bias_parts.zero_()
        self._reset_own(generator)
        if self.h0_parts is not None:
            # Each part with variance 1/(2n): a complex state has expected squared norm 1.
            bound = math.sqrt(3 / (2 * n))
            uniform_(self.h0_parts, bound, generator)

    @abstractmethod
    def _schemes(self) -> tuple[Parametrization, ...]:
        """Return the parametrizations of the recurrent matrices."""

    @abstractmethod
    def _reset_own(self, generator: torch.Generator | None) -> None:
        """Reset the parameters that only this kind of cell has; called without gradients."""

    def initial_state(self, batch: int) -> Tensor:
        """Return the learned initial state, or zeros, as (batch, n)."""
        n, h0 = self.hidden_size, self.h0
        if h0 is None:
            v = self.weight_ih
            return torch.zeros(batch, n, dtype=v.dtype, device=v.device)
        return h0.expand(batch, n)

    def scan(
        self,
        x: Tensor,
        h0: Tensor | None = None,
        *,
        recurrent: Any = None,
        return_sequence: bool = True,
        checkpoint: int | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return all states (T, B, n) for inputs (T, B, m), or the last (B, n); builds W once.

        ``lengths`` (B) are the steps of each sequence, see ``recurrent_scan``.
        """
        dtypes = self._dtypes()
        check_dtype("input", x, dtypes)
        if h0 is None:
            h0 = self.initial_state(x.shape[1] if x.dim() == 3 else 1)
        else:
            check_dtype("initial state", h0, dtypes)
        return self._scan(
            x,
            h0,
            recurrent,
            return_sequence=return_sequence,
            checkpoint=checkpoint,
            lengths=lengths,
        )

    @abstractmethod
    def _scan(
        self,
        x: Tensor,
        h0: Tensor,
        recurrent: Any,
        **options: Any,
    ) -> Tensor:
        """Return what :meth:`scan` returns, with its other options; the dtypes are checked."""

    def _dtypes(self) -> tuple[torch.dtype, ...]:
        """The dtypes of inputs and states, that of the weights first."""
        own = self.weight_ih_parts.dtype
        if not self.is_complex:
            return (own,)
        # In half precision the states have the parts in float32.
        v = self.weight_ih
        return own, v.real.dtype, v.dtype

    def forward(
        self,
        input: Tensor | None = None,
        hx: Tensor | None = None,
        recurrent: Any = None,
        *,
        x: Tensor | None = None,
        h: Tensor | None = None,
    ) -> Tensor:
        """Compute the next state.

        Args:
            input: (B, m) or (m).
            hx: (B, n) or (n); None is the initial state.
            recurrent: ``cell.recurrent.prepare()``, or ``cell.weight_hh`` of a gated cell: W, built
                once for many steps.
            x: Another name of ``input``.
            h: Another name of ``hx``.

        Returns:
            (B, n) or (n).
        """
        x, h = input_and_state({"input": input, "x": x}, {"hx": hx, "h": h})
        if x.dim() not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; pass (B, {self.input_size}) or ({self.input_size},)"
            )
        batched = x.dim() == 2
        check_state("h", h, (*x.shape[:-1], self.hidden_size))
        if not batched:
            x, h = x.unsqueeze(0), None if h is None else h.unsqueeze(0)
        h = self.scan(x.unsqueeze(0), h, recurrent=recurrent, return_sequence=False)
        return h if batched else h.squeeze(0)

    @property
    def output_size(self) -> int:
        """The number of real features of a state: n, or 2n if complex."""
        return self.hidden_size * (2 if self.is_complex else 1)
