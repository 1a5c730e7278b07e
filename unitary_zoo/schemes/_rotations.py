"""Products of layers of 2 x 2 rotations, which eunn, eunn_fft and butterfly share."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from unitary_zoo.base import FactoredMap, LinearMap, Pairs, Permutation, Static
from unitary_zoo.base.factors import Factor

# ---------------------------------------------------------------------------------- one layer


def pair_count(n: int, stride: int, start: int = 0) -> int:
    """Return the number of pairs among ``n`` units, see :class:`Pairs`."""
    groups, rest = divmod(max(n - start, 0), 2 * stride)
    return groups * stride + max(rest - stride, 0)


def pair_indices(
    n: int, stride: int, start: int = 0, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Return first and second units of the pairs, in the order in which angles are stored."""
    i = torch.arange(start, max(n - stride, start), device=device)
    first = i[(i - start) // stride % 2 == 0]
    return first, first + stride


def _spread_pairs(
    first: Tensor, second: Tensor, lone: float, n: int, layout: tuple[int, int]
) -> Tensor:
    """Return one number per unit from those of the pairs; ``lone`` for units without a pair."""
    stride, start = layout
    groups, rest = divmod(max(n - start, 0), 2 * stride)
    whole, extra, lead = groups * stride, max(rest - stride, 0), first.shape[:-1]

    def alone(count: int) -> Tensor:
        return first.new_full((*lead, count), lone)

    halves = [x[..., :whole].reshape(*lead, groups, 1, stride) for x in (first, second)]
    body = torch.cat(halves, dim=-2).reshape(*lead, 2 * whole)
    tail = [first[..., whole:], alone(min(rest, stride) - extra), second[..., whole:]]
    return torch.cat([alone(min(start, n)), body, *tail], dim=-1)


def rotation_layer(
    theta: Tensor, phi: Tensor | None, n: int, stride: int, start: int = 0
) -> Tensor:
    r""":math:`R(\theta)\, \mathrm{diag}(1, e^{i\phi})` for each pair, R the rotation by theta.

    The block :math:`\begin{pmatrix} \cos\theta & -e^{i\phi}\sin\theta \\ \sin\theta &
    e^{i\phi} \cos\theta \end{pmatrix}`.

    Args:
        theta: Shape (..., :func:`pair_count`), one row for each layer.
        phi: Of the same shape; None for real rotations.
        n: Number of units.
        stride: Distance of the units of a pair.
        start: First unit that is in a pair.

    Returns:
        Shape (..., 2n), the numbers of :class:`Pairs`.
    """
    cos, sin, layout = theta.cos(), theta.sin(), (stride, start)
    if phi is None:
        diagonal = _spread_pairs(cos, cos, 1.0, n, layout)
        return torch.cat([diagonal, _spread_pairs(-sin, sin, 0.0, n, layout)], dim=-1)
    turn, zero = torch.polar(torch.ones_like(phi), phi), torch.zeros_like(sin)
    diagonal = _spread_pairs(torch.complex(cos, zero), turn * cos, 1.0, n, layout)
    off = _spread_pairs(turn * -sin, torch.complex(sin, zero), 0.0, n, layout)
    return torch.cat([diagonal, off], dim=-1)


# -------------------------------------------------------------------------------- the product


class PairProduct(Static):
    r""":math:`W = D F_L \cdots F_1` with :math:`D = \mathrm{diag}(e^{i\omega})`, 1 if real.

    Learnable: ``theta`` and ``phi``, one number for each block, layer after layer, and ``omega``
    (n); real: ``theta`` alone. The default start draws all uniform in (-pi, pi). The constructor
    of a scheme calls ``_create_angles`` once its layouts are known.

    Args:
        n: Size of W.
        options: ``field``, ``device`` and ``dtype``.
    """

    def _create_angles(self) -> None:
        """Create the parameters, for the layers that :meth:`_layouts` lists."""
        angles = sum(self._sizes())
        self.theta = nn.Parameter(torch.zeros(angles, **self._factory))
        if self.field == "complex":
            self.phi = nn.Parameter(torch.zeros(angles, **self._factory))
            self.omega = nn.Parameter(torch.zeros(self.n, **self._factory))

    @abstractmethod
    def _layouts(self) -> list[tuple[int, int]]:
        """Return stride and first unit of the pairs of F_1, F_2, ..., see :class:`Pairs`."""

    def _sizes(self) -> list[int]:
        return [pair_count(self.n, *layout) for layout in self._layouts()]

    def _reversal(self) -> Tensor | None:
        """Return a permutation of the output that is its own inverse, if there is one."""
        return None

    def _prepare(self) -> LinearMap:
        layouts, sizes = self._layouts(), self._sizes()
        theta = self._promoted(self.theta).split(sizes)
        phi = self._promoted(self.phi).split(sizes) if self.field == "complex" else None
        found: dict[int, Tensor] = {}
        for layout in dict.fromkeys(layouts):
            # All layers of one layout at once: hundreds of layers of neighbours have two layouts.
            at = [k for k, other in enumerate(layouts) if other == layout]
            turn = None if phi is None else torch.stack([phi[k] for k in at])
            stack = rotation_layer(torch.stack([theta[k] for k in at]), turn, self.n, *layout)
            found |= zip(at, stack.unbind(), strict=True)
        numbers = [found[k] for k in range(len(layouts))]
        if phi is not None:
            omega = self._promoted(self.omega)
            d = torch.polar(torch.ones_like(omega), omega)  # multiplied into the last layer
            numbers[-1] = d.repeat(2) * numbers[-1]
        factors: list[Factor] = [Pairs(*layout) for layout in layouts]
        reversal = self._reversal()
        if reversal is not None:
            factors.append(Permutation(reversal))
        return FactoredMap(self.n, factors, torch.cat(numbers))

    def _set(self, theta: Tensor, phi: Tensor, omega: Tensor) -> None:
        """Set the angles; for a real W the phases are zero and not kept."""
        self.theta.copy_(theta)
        if self.field == "complex":
            self.phi.copy_(phi)
            self.omega.copy_(omega)

    def _start_own(self, generator: torch.Generator | None) -> None:
        for q in self.parameters():
            x = torch.rand(q.shape, **self._random_source(generator))
            q.copy_((2 * x - 1) * math.pi)
