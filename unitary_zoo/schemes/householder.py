r"""W = H(v_1) ... H(v_k) S: a product of reflections."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.base import (
    ORTHOGONAL,
    UNITARY_OR_SPECIAL,
    DenseMap,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)


def _dimension(n: int, k: int, field: str, special: bool) -> int:
    # Real: the k-plane that W S moves, k (n - k), and O(k) in it. Complex: the plane has twice as
    # many, the products of k reflections in it are of determinant +-1 and else, for k > 1, of any
    # kind, and n phases come in, as far as there is room in U(n).
    k = min(k, n)
    if field == "real":
        return n * k - k * (k + 1) // 2
    return min(n * n, 2 * n * k - k * k - 1 + n) - special


class ReflectionsMap(LinearMap):
    """:math:`(I - U Y) D` by two products with k vectors, D diagonal; W is never formed."""

    def __init__(self, v: Tensor, d: Tensor) -> None:
        self._u, self._y = linalg.compact_reflections(v)
        self._d = d
        self.n, self.dtype, self.device = len(d), v.dtype, v.device

    @property
    def multiplications(self) -> float:
        """Two products of n k, and a diagonal of n."""
        n, k = self._u.shape
        return (2 * n * k + n) * (4 if self.dtype.is_complex else 1)

    def _apply(self, h: Tensor) -> Tensor:
        h = h * self._d
        return h - (h @ self._y.mT) @ self._u.mT

    def _adjoint(self, h: Tensor) -> Tensor:
        return (h - (h @ self._u.conj()) @ self._y.conj()) * self._d.conj()


@Parametrization.register("householder")
class Householder(Static):
    r""":math:`W = H(v_1) \cdots H(v_k) S`, :math:`H(v) = I - 2 v v^H / \|v\|^2`.

    Learnable: ``reflectors`` (n, k), or (n, k, 2) real and imaginary parts, the v as columns. Real:
    S is 1 but for a fixed sign on the last coordinate, the buffer ``sign``, that gives W the
    determinant wanted. Complex: :math:`S = \mathrm{diag}(e^{i\phi})`, with ``phases`` (n) learnable
    as well, for reflections alone have determinant +-1.

    With k = n, or n - 1, W is any matrix of the group. With fewer, :math:`W S^{-1}` differs from
    I on k dimensions only; W is applied in O(n k), and for k < n/2 without being formed.
    ``assign_`` is then exact for every real matrix of that kind, and gives others k reflections
    that each take the column farthest from its place there; complex ones are fitted from where W
    is. The length of a v does not matter, so weight decay moves nothing. A column of zeros stands
    for the identity (and so turns the determinant round), and its gradient is zero. At real W with
    :math:`W S^{-1} = H(v_1) H(v_1) H(v_2) H(v_2) \cdots`, such as I, the reflectors span k/2
    dimensions, and W moves in no others to first order: "identity" is a poor start.

    ``reset_parameters("householder")``, the default for k < n - 1, draws the v uniform on the
    sphere, and phases uniform in (-pi, pi).

    Args:
        n: Size of W.
        reflections: k, from 1 to n; None is n.
        field: "real" (default) or "complex".
        special: True for SO(n) or SU(n) (the phases then have a fixed sum), False for determinant
            -1 (real), None for what k reflections reach.
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        ValueError: ``reflections`` is not in 1..n.
        TypeError: ``reflections`` is no int.

    Source: Mhammedi, Hellicar, Rahman and Bailey, Efficient orthogonal parametrisation of recurrent
    neural networks using Householder reflections, 2017. There the i-th v is zero in its first
    i - 1 places. That leaves the same set but for limits, and the same dimension, and takes
    away what the full v here have beyond it and their lengths. The compact form is that of
    Joffrain et al., 2006.
    """

    info = SchemeInfo(
        name="householder",
        title="W = H(v_1) ... H(v_k) S, H(v) = I - 2 v v^H / |v|^2",
        reference="""@inproceedings{mhammedi2017efficient,
  title     = {Efficient Orthogonal Parametrisation of Recurrent Neural Networks Using
               {Householder} Reflections},
  author    = {Mhammedi, Zakaria and Hellicar, Andrew and Rahman, Ashfaqur and Bailey, James},
  booktitle = {International Conference on Machine Learning},
  year      = {2017}
}""",
        family="static",
        claims={"real": ORTHOGONAL, "complex": UNITARY_OR_SPECIAL},
        field="real",
        tolerance=Tolerance(
            16.0, "rounding errors of a product of n reflections add up like sqrt(n) eps"
        ),
    )

    sign: Tensor

    def __init__(self, n: int, *, reflections: int | None = None, **options: Any) -> None:
        super().__init__(n, **options)
        k = n if reflections is None else reflections
        if isinstance(k, bool) or not isinstance(k, int):
            raise TypeError(f"householder: reflections={k!r}; pass an int from 1 to {n}, or None")
        if not 1 <= k <= n:
            raise ValueError(
                f"householder: reflections={k}; pass a number from 1 to n={n}: n of them reach "
                "the whole group already"
            )
        self.reflections = k
        if k < n - 1:
            self._narrow(k)
        shape = (n, k, 2) if self.field == "complex" else (n, k)
        self.reflectors = nn.Parameter(torch.zeros(shape, **self._factory))
        if self.field == "complex":
            self.phases = nn.Parameter(torch.zeros(n, **self._factory))
        else:
            self.register_buffer("sign", torch.ones(1, **self._factory))
        self.reset_parameters()

    def _narrow(self, k: int) -> None:
        claims = replace(
            self.info.claims[self.field],
            group=f"subset of {self.info.group}",
            dimension=partial(_dimension, k=k, field=self.field, special=self._in_su),
            cost="O(n)",
        )
        self.info = replace(
            self.info, claims={self.field: claims}, assignable=False, default_init="householder"
        )

    def _diagonal(self) -> Tensor:
        """S, shape (n,)."""
        if self.field == "real":
            sign = self._full(self.sign)
            return torch.cat([sign.new_ones(self.n - 1), sign])
        phases = self._full(self.phases)
        if self._in_su:
            phases = phases - phases.mean() + self.reflections * math.pi / self.n
        return torch.polar(torch.ones_like(phases), phases)

    def _prepare(self) -> LinearMap:
        v, d = linalg.from_parts(self._full(self.reflectors), self.field), self._diagonal()
        if 2 * self.reflections < self.n:
            return ReflectionsMap(v, d)
        return DenseMap(linalg.householder(v) * d)

    def _assign(self, w: Tensor) -> None:
        if self.field == "real":
            sign = torch.linalg.det(w).sign() * (-1) ** self.reflections
            v = _reflectors(torch.cat([w[:, :-1], w[:, -1:] * sign], dim=1), self.reflections)
            self.sign.copy_(sign)
        elif self.reflections < self.n - 1:
            return super()._assign(w)
        else:
            v, phases = _reflectors_and_phases(w, self.reflections)
            if self._in_su:
                excess = phases.sum() - self.reflections * math.pi
                turns = round(float(excess) / (2 * math.pi))
                order = phases.argsort(descending=turns > 0)[: abs(turns)]
                phases[order] -= math.copysign(2 * math.pi, turns)
            self.phases.copy_(phases)
        self.reflectors.copy_(linalg.parts(v))

    def _initialize(self, init: str, generator: torch.Generator | None) -> None:
        if init != "householder":
            return super()._initialize(init, generator)
        device = generator.device if generator is not None else self.device
        v = torch.randn(self.reflectors.shape, device=device, generator=generator)
        others = tuple(range(v.ndim))[::2]  # but for the one that counts the columns
        self.reflectors.copy_(v / torch.linalg.vector_norm(v, dim=others, keepdim=True))
        if self.field == "complex":
            uniform = torch.rand(self.n, device=device, generator=generator)
            self.phases.copy_((2 * uniform - 1) * math.pi)
        else:
            self.sign.fill_((-1) ** self.reflections * self.determinant)


def _reflectors(q: Tensor, k: int) -> Tensor:
    """Unit columns (n, k) whose reflections have the product ``q``, real, if k of them can.

    H(q e_j - e_j) takes column j to its place and keeps those that are there: the rank of q - I
    goes down by one each time, so that rank(q - I) of them suffice.
    """
    n = len(q)
    columns: list[Tensor] = []
    while len(columns) < k:
        gaps = q - linalg.identity_like(q)
        far, j = gaps.square().sum(0).max(0)
        if far.sqrt() <= 8 * n * linalg.eps(q.dtype):
            break
        v = gaps[:, j] / far.sqrt()
        q = q - 2 * torch.outer(v, v @ q)
        columns.append(v)
    # What is left is I, of determinant 1, and so an even number: pairs that undo each other.
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randn((k - len(columns)) // 2, n, dtype=q.dtype, generator=generator).to(q)
    columns += [v / v.norm() for v in pairs.repeat_interleave(2, 0)]
    return torch.stack(columns, dim=1)


def _reflectors_and_phases(w: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Unit columns (n, k), k >= n - 1, and phases (n) of the complex w, by its QR decomposition."""
    n = len(w)
    v = torch.eye(n, dtype=w.dtype, device=w.device)  # the last one, if used, reflects e_n
    for j in range(n - 1):
        x = w[:, j].clone()
        x[:j] = 0
        # The product of x^H and its image has to be real; this sign adds and does not cancel.
        x[j] += torch.where(x[j] == 0, 1.0, torch.sgn(x[j]))
        v[:, j] = x / x.norm()
        w = w - 2 * torch.outer(v[:, j], v[:, j].conj() @ w)
    phases = w.diagonal().angle().clone()
    if k == n:
        phases[-1] += math.pi
    return v[:, :k], phases
