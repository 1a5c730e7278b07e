"""UnitaryRNNCell: one recurrent layer's parameters and its step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import nonlinearities
from unitary_zoo.base import LinearMap, Parametrization
from unitary_zoo.scan import recurrent_scan


def build_recurrent(
    scheme: str | type[Parametrization] | Parametrization, n: int, **options: Any
) -> Parametrization:
    """The parametrization named by ``scheme``: a name, a class or one that is ready.

    Raises:
        ValueError: A ready one of another size.
        TypeError: Options beside a ready one, or something that is no scheme.
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


class UnitaryRNNCell(nn.Module):
    r""":math:`h' = \phi(W h + V x + b)` with W unitary.

    Args:
        input_size: m, the length of x.
        hidden_size: n, the length of h.
        scheme: Registered name, class or ready ``Parametrization`` of size n.
        nonlinearity: modrelu (with a learned threshold), relu, leaky_relu, abs, tanh, sigmoid or
            identity; complex schemes take modrelu and identity.
        bias: Whether b is there.
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
    last dimension of length 2, and the attributes above are complex views of them (in half
    precision, which has no complex numbers, float32 copies).
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
        super().__init__()
        if isinstance(input_size, bool) or not isinstance(input_size, int) or input_size < 1:
            raise ValueError(f"input_size={input_size!r}; pass an int of at least 1")
        self.input_size, self.hidden_size, self.nonlinearity = input_size, hidden_size, nonlinearity
        self.recurrent = build_recurrent(
            scheme, hidden_size, device=device, dtype=dtype, **scheme_options
        )
        self.is_complex = self.recurrent.field == "complex"
        activation = nonlinearities.get(nonlinearity)
        activation.check(self.is_complex)
        # A ready scheme brings its own device and dtype, and the rest follows it.
        like = next(self.recurrent.parameters())
        factory: dict[str, Any] = {"device": like.device, "dtype": like.dtype}

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape, *((2,) if self.is_complex else ()), **factory))

        self.weight_ih_parts = parameter(hidden_size, input_size)
        self.bias_parts = parameter(hidden_size) if bias else None
        self.h0_parts = parameter(hidden_size) if learn_h0 else None
        self.threshold = (
            nn.Parameter(torch.empty(hidden_size, **factory)) if activation.has_threshold else None
        )
        self._reset_inputs(None)

    @property
    def weight_ih(self) -> Tensor:
        """V (n, m)."""
        return self._view(self.weight_ih_parts)

    @property
    def bias(self) -> Tensor | None:
        """The bias (n), or None."""
        return None if self.bias_parts is None else self._view(self.bias_parts)

    @property
    def h0(self) -> Tensor | None:
        """The learned initial state (n), or None."""
        return None if self.h0_parts is None else self._view(self.h0_parts)

    def _view(self, x: Tensor) -> Tensor:
        if not self.is_complex:
            return x
        low = x.dtype in (torch.float16, torch.bfloat16)
        return torch.view_as_complex(x.float() if low else x)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start anew: the scheme by its default, V Glorot-uniform, b = 0, small thresholds."""
        self.recurrent.reset_parameters(generator=generator)
        self._reset_inputs(generator)

    @torch.no_grad()
    def _reset_inputs(self, generator: torch.Generator | None) -> None:
        n = self.hidden_size
        # A complex V counts as its 2n real rows, as in Arjovsky's code.
        bound = math.sqrt(6 / (self.input_size + n * (2 if self.is_complex else 1)))
        _uniform_(self.weight_ih_parts, bound, generator)
        if self.bias_parts is not None:
            self.bias_parts.zero_()
        if self.threshold is not None:
            _uniform_(self.threshold, 0.01, generator)
        if self.h0_parts is not None:
            # Each part with variance 1/(2n): a complex state has expected squared norm 1.
            bound = math.sqrt(3 / (2 * n))
            _uniform_(self.h0_parts, bound, generator)

    def initial_state(self, batch: int) -> Tensor:
        """(batch, n): the learned initial state, or zeros."""
        n, h0 = self.hidden_size, self.h0
        if h0 is None:
            anchor = self.weight_ih
            return torch.zeros(batch, n, dtype=anchor.dtype, device=anchor.device)
        return h0.expand(batch, n)

    def scan(
        self,
        x: Tensor,
        h0: Tensor | None = None,
        *,
        recurrent: LinearMap | None = None,
        return_sequence: bool = True,
        checkpoint: int | None = None,
    ) -> Tensor:
        """All states (T, B, n) for inputs (T, B, m), or the last one (B, n); W is built once."""
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

    def forward(
        self, x: Tensor, h: Tensor | None = None, recurrent: LinearMap | None = None
    ) -> Tensor:
        """One step.

        Args:
            x: (B, m) or (m).
            h: (B, n) or (n); None is the initial state.
            recurrent: ``cell.recurrent.prepare()``, to build W once for many steps.

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

    def extra_repr(self) -> str:
        """Sizes and nonlinearity."""
        return f"{self.input_size}, {self.hidden_size}, nonlinearity={self.nonlinearity!r}"


def _uniform_(x: Tensor, bound: float, generator: torch.Generator | None) -> None:
    """Fill with numbers uniform in (-bound, bound), drawn where the generator lives."""
    device = x.device if generator is None else generator.device
    draw = torch.empty(x.shape, dtype=x.dtype, device=device)
    x.copy_(draw.uniform_(-bound, bound, generator=generator))
