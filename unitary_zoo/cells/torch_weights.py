"""TorchWeights: a cell that exchanges its weights with torch's cell of the same kind."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo._torch import LoadingHook
from unitary_zoo.base import Parametrization

K = TypeVar("K", bound=nn.Module)

Scheme = str | type[Parametrization] | Parametrization
"""A registered name, a class, or a ready parametrization."""

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""Names of the weights of torch's cells; its layers add the number of layer and direction."""


@dataclass(frozen=True)
class Conversion:
    """The state of a cell that has given weights of torch, as near as its schemes can be.

    Attributes:
        state: The ``state_dict`` of the cell.
        scheme: Name of the scheme.
        residual: The largest spectral norm of a recurrent matrix minus its original.
        is_exact: Whether all these differences are rounding.
    """

    state: dict[str, Tensor]
    scheme: str
    residual: float
    is_exact: bool

    def warn(self, where: str, stacklevel: int) -> None:
        """Warn of a difference beyond rounding."""
        if not self.is_exact:
            warnings.warn(
                f"{where}: {self.scheme} has no such matrix; the nearest one it found was taken, "
                f"{self.residual:.3g} away in the spectral norm, so the outputs differ until the "
                "layer is trained further",
                stacklevel=stacklevel + 1,
            )


class TorchWeights(LoadingHook, ABC):
    """The part of a cell that reads and writes the weights of torch's cell of the same kind."""

    hidden_size: int
    weight_ih_parts: nn.Parameter
    bias_parts: nn.Parameter | None
    h0_parts: nn.Parameter | None

    def load_torch(self, source: nn.Module | Mapping[str, Tensor]) -> float:
        r"""Take the weights of torch's cell, and for its recurrent matrices the nearest there are.

        The sum of two biases that torch adds is taken, and learned initial states become 0, as
        torch's are. ``load_state_dict`` takes the state of torch's cell in the same way.

        Args:
            source: An ``nn.RNNCell`` or ``nn.GRUCell``, or its ``state_dict()``.

        Returns:
            The largest residual :math:`\|W - W_{hh}\|_2` of a recurrent matrix. A warning says it
            if it is more than rounding.

        Raises:
            ValueError: This cell has a function that torch's has not, such as modReLU; or names,
                shapes or entries do not fit. Nothing has changed then.
            TypeError: ``source`` is of another kind.
        """
        if isinstance(source, nn.Module):
            check_kind(source, self._torch_kind())
            theirs, own = (getattr(cell, "nonlinearity", None) for cell in (source, self))
            if theirs != own:
                raise ValueError(
                    f"torch's cell has nonlinearity={theirs!r}, and this one has {own!r}; build it "
                    "with that of the other, or use from_torch"
                )
            source = weights_of(source, NAMES)
        found = self.convert(source)
        self.load_state_dict(found.state)
        found.warn("weight_hh", 2)
        return found.residual

    @torch.no_grad()
    def convert(self, weights: Mapping[str, Tensor]) -> Conversion:
        """Return the state that has torch's ``weights``; the cell stays as it is.

        Raises:
            ValueError: As :meth:`load_torch`.
        """
        self._check_has_torch_function()
        self._check_torch_weights(weights)
        w, *biases = (weights[name] for name in NAMES[1:] if name in weights)
        entries = {"weight_ih_parts": weights["weight_ih"], **self._from_torch(w, *biases)}
        if self.h0_parts is not None:
            entries["h0_parts"] = torch.zeros_like(self.h0_parts)
        modules = dict(self.named_modules())
        state: dict[str, Tensor] = {}
        name, residual, is_exact = "", 0.0, True
        for path, value in entries.items():
            if path not in modules:
                state[path] = value.detach().to(self.weight_ih_parts)
                continue
            scheme = copy.deepcopy(modules[path])
            assert isinstance(scheme, Parametrization)
            off, name = scheme.assign_(value.detach(), nearest=True), scheme.info.name
            eps = max(linalg.eps(scheme.dtype), linalg.eps(value.dtype))
            # The limit at which assign_ tells rounding from what a scheme cannot represent.
            is_exact = is_exact and off <= min(0.1, 100 * scheme.n * eps)
            residual = max(residual, off)
            state.update(scheme.state_dict(prefix=f"{path}."))
        return Conversion(state, name, residual, is_exact)

    @torch.no_grad()
    def torch_weights(self) -> dict[str, Tensor]:
        """Copies of the weights by the names of torch's cell.

        Raises:
            ValueError: Torch's cell has not the function of this one, or its initial state.
        """
        self._check_has_torch_function()
        if self.h0_parts is not None and bool(self.h0_parts.any()):
            raise ValueError(
                "the initial state is learned, and torch's layers have none of their own; pass it "
                "with each call, or set h0_parts to 0 first"
            )
        found = {"weight_ih": self.weight_ih_parts, **self._to_torch()}
        return {name: w.detach().to(self.weight_ih_parts, copy=True) for name, w in found.items()}

    def _after_loading(self, state: Mapping[str, Any], prefix: str, errors: list[str]) -> None:
        """Leave what was read as it is."""

    def _before_loading(
        self, state: MutableMapping[str, Any], prefix: str, errors: list[str]
    ) -> None:
        names = [name for name in NAMES if prefix + name in state]
        if not names:
            return
        weights = {name: state.pop(prefix + name) for name in names}
        try:
            found = self.convert(weights)
        except ValueError as error:
            errors.append(f"weights of torch at {prefix or 'the top'!r}: {error}")
        else:
            state.update({prefix + name: value for name, value in found.state.items()})
            found.warn(f"{prefix}weight_hh", 3)

    def _check_torch_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Raise ValueError unless names and shapes are those of torch's cell of these sizes."""
        rows, columns = self.weight_ih_parts.shape
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, columns),
            "weight_hh": (rows, self.hidden_size),
        }
        if self.bias_parts is not None:
            shapes.update(bias_ih=(rows,), bias_hh=(rows,))
        if weights.keys() != shapes.keys():
            biases = {"bias_ih", "bias_hh"}
            remedy = "pass exactly these"
            if weights.keys() ^ shapes.keys() == biases:
                remedy = f"build it with bias={biases <= weights.keys()}"
            raise ValueError(
                f"the weights are {', '.join(sorted(weights))}, and this cell takes "
                f"{', '.join(sorted(shapes))}; {remedy}"
            )
        for name, shape in shapes.items():
            if weights[name].shape != shape:
                raise ValueError(
                    f"{name} has shape {tuple(weights[name].shape)}, and this cell takes {shape}; "
                    "build it with the sizes of the other"
                )
        if any(tensor.is_meta for tensor in (self.weight_ih_parts, *weights.values())):
            raise ValueError(
                "tensors on the meta device have no values to convert; allocate the layer by "
                "to_empty(device=...) and load real weights"
            )

    @abstractmethod
    def _torch_kind(self) -> type[nn.Module]:
        """Return the class of torch's cell."""

    @abstractmethod
    def _check_has_torch_function(self) -> None:
        """Raise ValueError, with the remedy, if torch's cell cannot compute what this one does."""

    @abstractmethod
    def _from_torch(
        self, w: Tensor, bias_ih: Tensor | None = None, bias_hh: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return matrices by the path of their scheme, and other entries of the state."""

    @abstractmethod
    def _to_torch(self) -> dict[str, Tensor]:
        """Return torch's weights except ``weight_ih``."""


def weights_of(module: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """The weights of a layer or cell of torch that has them, also those that are computed."""
    found = {name: getattr(module, name, None) for name in names}
    return {name: w for name, w in found.items() if isinstance(w, Tensor)}


def options_of(w: Tensor, scheme: Scheme | None) -> dict[str, Any]:
    """Options for a layer or cell on the device and of the dtype of ``w``, with a scheme if given.

    A ready scheme has a device and a dtype already.
    """
    options: dict[str, Any] = {} if scheme is None else {"scheme": scheme}
    if not isinstance(scheme, Parametrization):
        options.update(device=w.device, dtype=w.dtype)
    return options


def check_kind(source: object, kind: type[K]) -> K:
    """Return ``source``, or raise TypeError unless it is a ``kind``."""
    if not isinstance(source, kind):
        raise TypeError(f"a {type(source).__name__} was passed; pass an nn.{kind.__name__}")
    return source
