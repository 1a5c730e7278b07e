"""Ways to make the weight of a layer orthogonal: the schemes of this library, and its peers.

Peers are used as their documentation says, with default options.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import geotorch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.optim import Optimizer

import unitary_zoo
from unitary_zoo import Parametrization

_SIZES = (6, 8, 4, 5, 7)  # small, and not all of them powers of two
_LARGEST = 1024


@dataclass(frozen=True)
class Subject(ABC):
    """One way to make ``module.name`` orthogonal (unitary, if the field is "complex").

    Attributes:
        label: Its name in a table.
        field: "real" or "complex".
    """

    label: str
    field: str = "real"

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, in single precision."""
        return torch.complex64 if self.field == "complex" else torch.float32

    @abstractmethod
    def attach(self, module: nn.Module, name: str = "weight", *, blocks: int = 1) -> nn.Module:
        """Make the weight orthogonal, or each of ``blocks`` of its rows where that is served."""

    def attach_thin(self, module: nn.Module) -> nn.Module:
        """The same for a weight with many more rows than columns."""
        return self.attach(module)

    def hook(self, module: nn.Module, optimizer: Optimizer) -> None:  # noqa: B027 - often nothing
        """What a training loop has to do once, after the optimizer is made."""

    def settle(self, module: nn.Module) -> None:  # noqa: B027 - often nothing
        """What has to be done after an average of parameters."""

    def export(self, module: nn.Module) -> dict[str, Tensor]:
        """The state of the same architecture with plain weights; uses the module up."""
        for name in list(getattr(module, "parametrizations", ())):
            parametrize.remove_parametrizations(module, name)
        return dict(module.state_dict())

    def accepts(self, n: int) -> bool:
        """Whether weights whose longer side is ``n`` are served."""
        return True

    def size(self, *wanted: int) -> int:
        """The first of the sizes wanted that is served, else the smallest above them."""
        above = range(max(wanted), _LARGEST + 1)
        return next(n for n in (*wanted, *above, *range(1, max(wanted))) if self.accepts(n))

    def shape(self, kind: str) -> tuple[int, int]:
        """Rows and columns of a small weight, "square", "tall" or "wide"."""
        n = self.size(*_SIZES)
        k = n if kind == "square" else (n + 1) // 2
        return (k, n) if kind == "wide" else (n, k)

    def tolerance(self, n: int, dtype: torch.dtype) -> float:
        """Bound on the defect of a weight whose longer side is ``n``.

        For a peer it is that of torch's own test of ``orthogonal``.
        """
        return 10 * n * torch.finfo(dtype).eps

    @property
    def exact(self) -> bool:
        """Whether the weight is meant to be exactly orthogonal."""
        return True

    def over(self, field: str) -> Subject:
        """The same over another field."""
        return replace(self, field=field)


@dataclass(frozen=True)
class Ours(Subject):
    """A scheme of this library.

    Attributes:
        scheme: Its registered name.
        thin: The scheme that is taken for thin weights, if not this one.
    """

    scheme: str = "cayley"
    thin: str = ""

    @property
    def cls(self) -> type[Parametrization]:
        """The scheme's class."""
        return Parametrization.get(self.scheme)

    def attach(
        self, module: nn.Module, name: str = "weight", *, blocks: int = 1, **options: Any
    ) -> nn.Module:
        """``unitary_zoo.orthogonal``."""
        return unitary_zoo.orthogonal(module, name, self.scheme, blocks=blocks, **options)

    def attach_thin(self, module: nn.Module) -> nn.Module:
        """``unitary_zoo.orthogonal`` with a scheme that holds no square matrix."""
        return unitary_zoo.orthogonal(module, "weight", self.thin or self.scheme)

    def hook(self, module: nn.Module, optimizer: Optimizer) -> None:
        """``unitary_zoo.attach``."""
        unitary_zoo.attach(module, optimizer)

    def settle(self, module: nn.Module) -> None:
        """``unitary_zoo.retract_``."""
        unitary_zoo.retract_(module)

    def export(self, module: nn.Module) -> dict[str, Tensor]:
        """``unitary_zoo.plain_state_dict``."""
        return unitary_zoo.plain_state_dict(module)

    def accepts(self, n: int) -> bool:
        """As the scheme's info says."""
        return self.cls.info.accepts(n)

    def tolerance(self, n: int, dtype: torch.dtype) -> float:
        """As the scheme's info says."""
        return self.cls.info.tolerance(n, dtype)

    @property
    def exact(self) -> bool:
        """As the scheme's info says."""
        return self.cls.info.exact

    def may_refuse(self, shape: str) -> bool:
        """Whether an error is a right answer to the assignment of an orthogonal matrix.

        A scheme that reaches a part of the group cannot in general complete columns within it.
        """
        info = self.cls.info
        partial = "subset" in info.claims[self.field].group
        return not info.assignable or (partial and shape != "square")


@dataclass(frozen=True)
class Torch(Subject):
    """``torch.nn.utils.parametrizations.orthogonal`` with one of its maps."""

    map: str = "matrix_exp"

    def attach(self, module: nn.Module, name: str = "weight", *, blocks: int = 1) -> nn.Module:
        """The weight as a whole: it knows no blocks."""
        return parametrizations.orthogonal(module, name, self.map)

    def attach_thin(self, module: nn.Module) -> nn.Module:
        """Without the square base, as its documentation advises where memory is short."""
        return parametrizations.orthogonal(module, "weight", self.map, use_trivialization=False)


@dataclass(frozen=True)
class Geotorch(Subject):
    """``geotorch.orthogonal`` with one of its maps."""

    map: str = "expm"

    def attach(self, module: nn.Module, name: str = "weight", *, blocks: int = 1) -> nn.Module:
        """The weight as a whole: it knows no blocks."""
        return geotorch.orthogonal(module, name, triv=self.map)


class PolarFactor(nn.Module):
    """U V^H of X = U S V^H, as one writes it."""

    def forward(self, x: Tensor) -> Tensor:
        """The polar factor of ``x``."""
        u, _, vh = torch.linalg.svd(x, full_matrices=False)
        return u @ vh

    def right_inverse(self, w: Tensor) -> Tensor:
        """An orthogonal matrix is its own polar factor."""
        return w


@dataclass(frozen=True)
class Handwritten(Subject):
    """A parametrization in four lines that many write for themselves."""

    def attach(self, module: nn.Module, name: str = "weight", *, blocks: int = 1) -> nn.Module:
        """By ``torch.nn.utils.parametrize``."""
        parametrize.register_parametrization(module, name, PolarFactor())
        return module


def peers() -> Iterator[Subject]:
    """The libraries in use today, each with all of its maps."""
    for name in ("matrix_exp", "cayley", "householder"):
        yield Torch(f"torch {name}", map=name)
    for name in ("expm", "cayley"):
        yield Geotorch(f"geotorch {name}", map=name)
    yield Handwritten("U Vᴴ of torch's svd")


def every_scheme() -> Iterator[Ours]:
    """Every registered scheme over each field that it serves."""
    for name in Parametrization.names():
        for field in Parametrization.get(name).info.fields:
            yield Ours(f"{name}, {field}", field, scheme=name)


def is_thin(scheme: str) -> bool:
    """Whether a scheme is there that spares the square matrix where few columns are wanted."""
    if scheme not in Parametrization.names():
        return False
    return "for_columns" in vars(Parametrization.get(scheme))


def defect(w: Tensor) -> float:
    """Spectral norm of W^H W - I, or of W W^H - I for a wide W, in double precision."""
    w = double(w)
    w = w if w.shape[0] >= w.shape[1] else w.mH
    one = torch.eye(w.shape[1], dtype=w.dtype)
    off = w.mH @ w - one
    # The norm of what is not finite raises on some platforms and is a number on others.
    return float(torch.linalg.matrix_norm(off, 2)) if torch.isfinite(off).all() else math.nan


def double(w: Tensor) -> Tensor:
    """Detached, in double precision."""
    return w.detach().to(torch.complex128 if w.is_complex() else torch.float64)
