"""Ways to make the weight of a layer orthogonal: the schemes of this library, and its peers.

Peers are used as their documentation says, with default options.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import geotorch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from unitary_zoo import Parametrization
from unitary_zoo.testing.layers import LayerSubject, SchemeLayers
from unitary_zoo.testing.layers.subject import serves_thin_weights


@dataclass(frozen=True)
class Torch(LayerSubject):
    """``torch.nn.utils.parametrizations.orthogonal`` with one of its maps."""

    map: str = "matrix_exp"

    def make_orthogonal(
        self, module: nn.Module, name: str = "weight", *, blocks: int = 1
    ) -> nn.Module:
        """Make the weight as a whole orthogonal: torch has no option for blocks."""
        return parametrizations.orthogonal(module, name, self.map)

    def make_thin_orthogonal(self, module: nn.Module) -> nn.Module:
        """Use no square base, as torch's documentation advises where memory is short."""
        return parametrizations.orthogonal(module, "weight", self.map, use_trivialization=False)


@dataclass(frozen=True)
class Geotorch(LayerSubject):
    """``geotorch.orthogonal`` with one of its maps."""

    map: str = "expm"

    def make_orthogonal(
        self, module: nn.Module, name: str = "weight", *, blocks: int = 1
    ) -> nn.Module:
        """Make the weight as a whole orthogonal: geotorch has no option for blocks."""
        return geotorch.orthogonal(module, name, triv=self.map)


class PolarFactor(nn.Module):
    """X = U S V^H -> U V^H by torch's singular value decomposition."""

    def forward(self, x: Tensor) -> Tensor:
        """The polar factor of ``x``."""
        u, _, vh = torch.linalg.svd(x, full_matrices=False)
        return u @ vh

    def right_inverse(self, w: Tensor) -> Tensor:
        """``w``: an orthogonal matrix is its own polar factor."""
        return w


@dataclass(frozen=True)
class Handwritten(LayerSubject):
    """The parametrization in four lines that many people write for themselves."""

    def make_orthogonal(
        self, module: nn.Module, name: str = "weight", *, blocks: int = 1
    ) -> nn.Module:
        """Register it by ``torch.nn.utils.parametrize``."""
        parametrize.register_parametrization(module, name, PolarFactor())
        return module


def peers() -> Iterator[LayerSubject]:
    """The libraries in use today, each with all of its maps."""
    for name in ("matrix_exp", "cayley", "householder"):
        yield Torch(f"torch {name}", map=name)
    for name in ("expm", "cayley"):
        yield Geotorch(f"geotorch {name}", map=name)
    yield Handwritten("U Vᴴ of torch's svd")


def every_scheme() -> Iterator[SchemeLayers]:
    """Every registered scheme over each field that it serves."""
    for name in Parametrization.names():
        scheme = Parametrization.get(name)
        for field in scheme.info.fields:
            yield SchemeLayers(f"{name}, {field}", field, scheme=scheme)


def column(name: str) -> SchemeLayers:
    """A scheme over its default field, and for thin weights one that is meant for them, if any."""
    scheme = Parametrization.get(name)
    every = map(Parametrization.get, Parametrization.names())
    thin = next(filter(serves_thin_weights, every), None)
    return SchemeLayers(f"ours, {name}", scheme.info.field, scheme=scheme, thin=thin)
