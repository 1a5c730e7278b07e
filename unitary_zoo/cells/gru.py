"""UnitaryGRUCell: the parameters and the step of a gated recurrent layer."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from unitary_zoo.base import Parametrization, matrices
from unitary_zoo.cells._base import RecurrentCell, build_recurrent, empty_parameter, uniform_
from unitary_zoo.cells.torch_weights import Scheme, check_kind, options_of
from unitary_zoo.scan import gated_scan

GATES = ("all", "candidate")


class UnitaryGRUCell(RecurrentCell):
    r""":math:`h' = (1 - z) \odot c + z \odot h`: ``nn.GRUCell`` with unitary recurrent matrices.

    :math:`r = \sigma(V_r x + b_r + W_r h)`, :math:`z = \sigma(V_z x + b_z + W_z h)` and the
    candidate :math:`c = \tanh(V_n x + b_n + r \odot (W_n h + b_{hn}))`; the W are orthogonal.

    The source names the uGRU but gives no equations. These are the equations of ``torch.nn.GRU``,
    and ``gates`` chooses which of the matrices are unitary. The ``bias_hh`` of torch's gates r and
    z are left out, since they only add to another bias.

    Args:
        input_size: m, the length of x.
        hidden_size: n, the length of h.
        scheme: Registered name, class or, with ``gates="candidate"``, ready ``Parametrization`` of
            size n. It must be real, since the sigmoid of a complex number is no gate.
        bias: Whether the cell has b and b_hn.
        device: Device.
        dtype: Dtype of all parameters.
        gates: Which matrices the scheme parametrizes: "all" (W_r, W_z and W_n, each by itself) or
            "candidate" (W_n alone).
        learn_h0: Whether the initial state is learned; else it is zero.
        scheme_options: Passed to the scheme of every matrix.

    Attributes:
        recurrent: The Parametrizations by name: "r", "z" and "n", or "n" alone.
        weight_rz: W_r and W_z (2n, n) if they are free, else None. They start uniform within
            1/sqrt(n), as in torch.
        weight_ih: V_r, V_z and V_n (3n, m).
        bias: b_r, b_z and b_n (3n), or None.
        bias_hn: b_hn (n) or None.
        h0: The learned initial state (n) or None.

    Raises:
        ValueError: A complex scheme, a ready one for three matrices, or another ``gates``.

    Source: Lin and Wang, CS224N report, 2019.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        scheme: Scheme = "expm",
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        gates: str = "all",
        learn_h0: bool = False,
        **scheme_options: Any,
    ) -> None:
        if gates not in GATES:
            raise ValueError(f"gates={gates!r}; choose one of {GATES}")
        names = "rzn" if gates == "all" else "n"
        if isinstance(scheme, Parametrization) and len(names) > 1:
            raise ValueError(
                f"one ready {scheme.info.name!r} cannot serve the {len(names)} recurrent matrices; "
                "pass the scheme by name, or gates='candidate'"
            )
        recurrent = {
            name: build_recurrent(scheme, hidden_size, device=device, dtype=dtype, **scheme_options)
            for name in names
        }
        candidate = recurrent["n"]
        _check_real(candidate)
        super().__init__(input_size, hidden_size, candidate, blocks=3, bias=bias, learn_h0=learn_h0)
        n = hidden_size
        self.gates, self.recurrent = gates, nn.ModuleDict(recurrent)
        self.weight_rz = None if gates == "all" else empty_parameter(candidate, 2 * n, n)
        self.bias_hn = empty_parameter(candidate, n) if bias else None
        self._reset_inputs(None)

    def _schemes(self) -> tuple[Parametrization, ...]:
        return cast(tuple[Parametrization, ...], tuple(self.recurrent.values()))

    def _reset_own(self, generator: torch.Generator | None) -> None:
        if self.weight_rz is not None:
            uniform_(self.weight_rz, 1 / math.sqrt(self.hidden_size), generator)
        if self.bias_hn is not None:
            self.bias_hn.zero_()

    @property
    def weight_hh(self) -> Tensor:
        """W_r, W_z and W_n, one below the other (3n, n), in float32 or better.

        They are built at each read. The layout is that of ``weight_hh_l0`` of ``nn.GRU``.
        """
        unitary = matrices(self._schemes()).flatten(0, 1)
        return unitary if self.weight_rz is None else torch.cat([self.weight_rz, unitary])

    def _scan(
        self,
        x: Tensor,
        h0: Tensor,
        recurrent: Tensor | None,
        **options: Any,
    ) -> Tensor:
        return gated_scan(
            x,
            self.weight_hh if recurrent is None else recurrent,
            h0,
            self.weight_ih,
            bias=self.bias,
            bias_hn=self.bias_hn,
            **options,
        )

    @classmethod
    def from_torch(
        cls, cell: nn.GRUCell, scheme: Scheme | None = None, **options: Any
    ) -> UnitaryGRUCell:
        """Return a cell with the weights of ``cell``, as near as the scheme can be.

        Args:
            cell: Gives sizes, device and dtype.
            scheme: As in the constructor.
            options: Other options of the constructor, such as ``gates``.

        Raises:
            TypeError, ValueError: As :meth:`load_torch`, which warns of what the scheme changes.
        """
        check_kind(cell, nn.GRUCell)
        found = cls(
            cell.input_size, cell.hidden_size, bias=bool(cell.bias),
            **options_of(cell.weight_ih, scheme), **options,
        )  # fmt: skip
        found.load_torch(cell)
        return found.train(cell.training)

    def to_torch(self) -> nn.GRUCell:
        """Return an ``nn.GRUCell`` with copies of the weights.

        Raises:
            ValueError: The initial state is learned.
        """
        weights, v = self.torch_weights(), self.weight_ih_parts
        # Built on the meta device, since it would draw weights elsewhere.
        cell = nn.GRUCell(
            self.input_size, self.hidden_size, bias=self.bias_parts is not None,
            device="meta", dtype=v.dtype,
        ).to_empty(device=v.device)  # fmt: skip
        cell.load_state_dict(weights)
        return cell.train(self.training)

    def _torch_kind(self) -> type[nn.Module]:
        return nn.GRUCell

    def _check_has_torch_function(self) -> None:
        """Pass: the equations are those of torch."""

    def _from_torch(
        self, w: Tensor, bias_ih: Tensor | None = None, bias_hh: Tensor | None = None
    ) -> dict[str, Tensor]:
        n = self.hidden_size
        entries = {
            f"recurrent.{name}": block
            for name, block in zip("rzn", w.split(n), strict=True)
            if name in self.recurrent
        }
        if self.weight_rz is not None:
            entries["weight_rz"] = w[: 2 * n]
        if bias_ih is not None and bias_hh is not None:
            # The reset gate scales b_hn, so only that of r and z can be added to another bias.
            entries["bias_parts"] = torch.cat([(bias_ih + bias_hh)[: 2 * n], bias_ih[2 * n :]])
            entries["bias_hn"] = bias_hh[2 * n :]
        return entries

    def _to_torch(self) -> dict[str, Tensor]:
        weights = {"weight_hh": self.weight_hh}
        if self.bias_parts is not None and self.bias_hn is not None:
            free = self.bias_hn.new_zeros(2 * self.hidden_size)
            weights.update(bias_ih=self.bias_parts, bias_hh=torch.cat([free, self.bias_hn]))
        return weights

    def extra_repr(self) -> str:
        """Return the sizes, and which matrices are unitary."""
        return f"{self.input_size}, {self.hidden_size}, gates={self.gates!r}"


def _check_real(scheme: Parametrization) -> None:
    """Raise ValueError, with the remedy, if the scheme is complex."""
    if scheme.field == "real":
        return
    real = ", ".join(Parametrization.names(fields="real"))
    serves = "real" in type(scheme).info.fields
    remedy = "build it with field='real'" if serves else f"choose one of {real}"
    raise ValueError(
        f"scheme {scheme.info.name!r} has field='complex', and gates compare real numbers; {remedy}"
    )
