"""LayerSubject, the argument of every check: a way to make the weight of a layer orthogonal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from unitary_zoo.base import Determinant, Parametrization
from unitary_zoo.optim import attach, retract_
from unitary_zoo.weights import orthogonal, plain_state_dict

SQUARE, TALL, WIDE = "square", "tall", "wide"
SHAPES = (SQUARE, TALL, WIDE)

_SIZES = (6, 8, 4, 5, 7)  # small, and not all of them powers of two
_LARGEST = 1024


@dataclass(frozen=True)
class LayerSubject(ABC):
    """A way to make ``module.name`` orthogonal (unitary, if the field is "complex").

    Attributes:
        label: Its name in a table.
        field: "real" or "complex".
    """

    label: str
    field: str = "real"

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, in single precision."""
        return torch.complex64 if self.field == "complex" else torch.float32

    @abstractmethod
    def make_orthogonal(
        self, module: nn.Module, name: str = "weight", *, blocks: int = 1
    ) -> nn.Module:
        """Make the weight orthogonal, or each of ``blocks`` parts of its rows if it can."""

    def make_thin_orthogonal(self, module: nn.Module) -> nn.Module:
        """Make a weight with many more rows than columns orthogonal."""
        return self.make_orthogonal(module)

    def attach(self, module: nn.Module, optimizer: Optimizer) -> None:  # noqa: B027 - often nothing
        """Do what a training loop has to do once, after the optimizer is made."""

    def retract(self, module: nn.Module) -> None:  # noqa: B027 - often nothing
        """Do what has to follow an average of parameters."""

    def export(self, module: nn.Module) -> dict[str, Tensor]:
        """The state of the same architecture with plain weights; may change ``module``."""
        for name in list(getattr(module, "parametrizations", ())):
            parametrize.remove_parametrizations(module, name)
        return dict(module.state_dict())

    def accepts(self, n: int) -> bool:
        """Whether weights whose longer side is ``n`` are served."""
        return True

    def size(self, *wanted: int) -> int:
        """The first size of ``wanted`` that is served; else the next above, or the smallest."""
        above = range(max(wanted), _LARGEST + 1)
        return next(n for n in (*wanted, *above, *range(1, max(wanted))) if self.accepts(n))

    def shape(self, kind: str) -> tuple[int, int]:
        """Rows and columns of a small weight, "square", "tall" or "wide"."""
        n = self.size(*_SIZES)
        k = n if kind == SQUARE else (n + 1) // 2
        return (k, n) if kind == WIDE else (n, k)

    def tolerance(self, n: int, dtype: torch.dtype) -> float:
        """Bound on the defect of a weight whose longer side is ``n``.

        The default is the tolerance of torch's own test of ``orthogonal``.
        """
        return 10 * n * torch.finfo(dtype).eps

    @property
    def exact(self) -> bool:
        """Whether the weight is meant to be exactly orthogonal."""
        return True

    @property
    def keeps_determinant(self) -> bool:
        """Whether training keeps the sign of the determinant of a real square weight."""
        return True

    def may_refuse(self, shape: str) -> bool:
        """Whether an error is a right answer to the assignment of an orthogonal matrix."""
        return False

    def with_field(self, field: str) -> LayerSubject:
        """The same subject over another field."""
        return replace(self, field=field)


@dataclass(frozen=True)
class SchemeLayers(LayerSubject):
    """Layers whose weight has a scheme of this library or of a third party.

    Attributes:
        scheme: The class.
        options: Options of the scheme.
        thin: The scheme to take for thin weights, if not ``scheme``.
    """

    scheme: type[Parametrization] = dataclass_field(kw_only=True)
    options: dict[str, Any] = dataclass_field(default_factory=dict)
    thin: type[Parametrization] | None = None

    def make_orthogonal(
        self, module: nn.Module, name: str = "weight", *, blocks: int = 1, **options: Any
    ) -> nn.Module:
        """Call ``unitary_zoo.orthogonal``."""
        options = {**self.options, **options}
        return orthogonal(module, name, self.scheme, blocks=blocks, **options)

    def make_thin_orthogonal(self, module: nn.Module) -> nn.Module:
        """Call ``unitary_zoo.orthogonal`` with the scheme for thin weights."""
        if self.thin is None:
            return self.make_orthogonal(module)
        return orthogonal(module, "weight", self.thin)

    def attach(self, module: nn.Module, optimizer: Optimizer) -> None:
        """Call ``unitary_zoo.attach``."""
        attach(module, optimizer)

    def retract(self, module: nn.Module) -> None:
        """Call ``unitary_zoo.retract_``."""
        retract_(module)

    def export(self, module: nn.Module) -> dict[str, Tensor]:
        """Call ``unitary_zoo.plain_state_dict``."""
        return plain_state_dict(module)

    def accepts(self, n: int) -> bool:
        """Whether the scheme exists at size ``n``."""
        return self.scheme.info.accepts(n)

    def tolerance(self, n: int, dtype: torch.dtype) -> float:
        """The tolerance that the scheme claims."""
        return self.scheme.info.tolerance(n, dtype)

    @property
    def exact(self) -> bool:
        """Whether the scheme claims to be unitary by construction."""
        return self.scheme.info.exact

    @property
    def keeps_determinant(self) -> bool:
        """Whether the scheme claims that a step keeps the determinant."""
        return self.scheme.info.determinant is not Determinant.EITHER

    def may_refuse(self, shape: str) -> bool:
        """Whether an error is a right answer to the assignment of an orthogonal matrix.

        A scheme that reaches a part of the group cannot in general complete columns within it.
        """
        info = self.scheme.info
        partial = not info.claims[self.field].whole
        return not info.assignable or (partial and shape != SQUARE)

    @property
    def serves_thin_weights(self) -> bool:
        """Whether the scheme for thin weights needs no square matrix."""
        return serves_thin_weights(self.thin or self.scheme)

    def serves_determinant(self, determinant: int) -> bool:
        """Whether the scheme claims that this determinant can be chosen."""
        return self.scheme.info.claims[self.field].serves(determinant)

    def make_orthogonal_with_determinant(self, module: nn.Module, determinant: int) -> nn.Module:
        """Make the weight orthogonal with the determinant +1 or -1."""
        return self.make_orthogonal(module, determinant=determinant)


def serves_thin_weights(scheme: type[Parametrization]) -> bool:
    """Whether a scheme spares the square matrix where few of its columns are wanted."""
    return scheme.for_columns.__func__ is not Parametrization.for_columns.__func__  # type: ignore[attr-defined]
