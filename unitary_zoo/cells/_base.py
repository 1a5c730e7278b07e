"""RecurrentCell: the parameters and the step that all cells have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.base import Parametrization
from unitary_zoo.errors import is_int


def build_recurrent(
    scheme: str | type[Parametrization] | Parametrization, n: int, **options: Any
) -> Parametrization:
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


class RecurrentCell(nn.Module, ABC):
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
        if not is_int(input_size) or input_size < 1:
            raise ValueError(f"input_size={input_size!r}; pass an int of at least 1")
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

    @abstractmethod
    def scan(
        self,
        x: Tensor,
        h0: Tensor | None = None,
        *,
        recurrent: Any = None,
        return_sequence: bool = True,
        checkpoint: int | None = None,
    ) -> Tensor:
        """Return all states (T, B, n) for inputs (T, B, m), or the last (B, n); builds W once."""

    def forward(self, x: Tensor, h: Tensor | None = None, recurrent: Any = None) -> Tensor:
        """Compute the next state.

        Args:
            x: (B, m) or (m).
            h: (B, n) or (n); None is the initial state.
            recurrent: ``cell.recurrent.prepare()``, or ``cell.weight_hh`` of a gated cell: W, built
                once for many steps.

        Returns:
            (B, n) or (n).
        """
        if x.dim() not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; pass (B, {self.input_size}) or ({self.input_size},)"
            )
        batched = x.dim() == 2
        if not batched:
            x, h = x.unsqueeze(0), None if h is None else h.unsqueeze(0)
        h = self.scan(x.unsqueeze(0), h, recurrent=recurrent, return_sequence=False)
        return h if batched else h.squeeze(0)

    @property
    def output_size(self) -> int:
        """The number of real features of a state: n, or 2n if complex."""
        return self.hidden_size * (2 if self.is_complex else 1)
