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
    fit_columns,
)
from unitary_zoo.errors import check_int
from unitary_zoo.schemes._reflectors import (
    ReflectionsMap,
    nearest_columns,
    reflectors_and_phases,
    reflectors_of_columns,
    reflectors_of_rank,
)


def _dimension(n: int, k: int, field: str, in_su: bool) -> int:
    # Real: k (n - k) for the k-plane that W S moves, and the dimension of O(k). Complex:
    # 2 k (n - k) for the plane, k^2 - 1 for the products of k reflections in it, whose determinant
    # is +-1, and n for the phases, at most n^2 in all.
    k = min(k, n)
    if field == "real":
        return n * k - k * (k + 1) // 2
    return min(n * n, 2 * n * k - k * k - 1 + n) - in_su


@Parametrization.register("householder")
class Householder(Static):
    r""":math:`W = H(v_1) \cdots H(v_k) S`, :math:`H(v) = I - 2 v v^H / \|v\|^2`.

    Learnable: ``reflectors`` (n, k), or (n, k, 2) real and imaginary parts, the v as columns. Real:
    S = diag(1, ..., 1, s) with a fixed sign s, the buffer ``sign``, that gives W the determinant
    wanted. Complex: :math:`S = \mathrm{diag}(e^{i\phi})`, with ``phases`` (n) learnable
    as well, for reflections alone have determinant +-1.

    With k = n or n - 1, W is any matrix of the group. With fewer, :math:`W S^{-1}` differs from I
    on k dimensions only; W is applied in O(n k), and for k < n/2 without being formed. ``assign_``
    is then exact for every real matrix of that kind. For another real matrix, each reflection moves
    the column that is farthest from its place to that place; a complex matrix is fitted, starting
    from the present W.
    The length of a v does not matter, so weight decay does not change W. A column of zeros stands
    for the identity (and so changes the sign of the determinant), and its gradient is zero. At real
    W with :math:`W S^{-1} = H(v_1) H(v_1) H(v_2) H(v_2) \cdots`, such as I, the reflectors span k/2
    dimensions, and W moves in no others to first order: "identity" is a poor start.

    For a weight of n x k numbers, :func:`unitary_zoo.orthogonal` takes k reflections: enough for
    all n x k matrices with orthonormal columns, in O(n k^2) and without any n x n matrix, so that
    an embedding of 30000 x 50 is a small weight. Such columns are assigned exactly, at any start
    ("haar" draws no other columns), and the determinant of a real W stays what it was.

    ``reset_parameters("householder")``, the default for k < n - 1, draws the v uniform on the
    sphere, and phases uniform in (-pi, pi).

    Args:
        n: Size of W.
        reflections: k, from 1 to n; None is n, or for a tall or wide weight its shorter side.
        field: "real" (default) or "complex".
        determinant: +1 for SO(n) or SU(n) (the phases then have a fixed sum), -1 for determinant
            -1 (real), None for what k reflections reach.
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        ValueError: ``reflections`` is not in 1..n.
        TypeError: ``reflections`` is not an int.

    Source: Mhammedi, Hellicar, Rahman and Bailey, Efficient orthogonal parametrisation of recurrent
    neural networks using Householder reflections, 2017. There the first i - 1 entries of the i-th
    v are zero, which gives the same set up to limits, and the same dimension, with fewer
    parameters. The compact form is that of Joffrain et al., 2006.
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

    _batched = ("reflectors", "_signs")

    sign: Tensor
    _own_init = "householder"
    _wanted: int = 0  # number of columns that are wanted, if not all

    def __init__(self, n: int, *, reflections: int | None = None, **options: Any) -> None:
        super().__init__(n, **options)
        k = n if reflections is None else reflections
        check_int("householder: reflections", k, 1)
        if k > n:
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

    @classmethod
    def for_columns(cls, n: int, k: int, **options: Any) -> Parametrization:
        """Return an instance with k reflections, of which only the first k columns are wanted."""
        if options.get("reflections") is None:
            options = {**options, "reflections": k}
        p = cls(n, **options)
        p._wanted = k
        return p

    def reaches_columns(self, k: int) -> bool:
        """Whether :meth:`assign_columns_` reproduces any k orthonormal columns."""
        return super().reaches_columns(k) or k <= self.reflections < self.n

    def _narrow(self, k: int) -> None:
        claims = replace(
            self.info.claims[self.field],
            whole=False,
            dimension=partial(_dimension, k=k, field=self.field, in_su=self._is_special_unitary),
            cost="O(n)",
        )
        self.info = replace(
            self.info, claims={self.field: claims}, assignable=False, default_init="householder"
        )

    @property
    def _signs(self) -> Tensor:
        """What the diagonal of S is made of: the sign, or the phases."""
        return self.sign if self.field == "real" else self.phases

    def _diagonal(self, signs: Tensor) -> Tensor:
        """Return the diagonal of S (..., n), from the sign (..., 1) or the phases (..., n)."""
        if self.field == "real":
            return nn.functional.pad(signs, (self.n - 1, 0), value=1.0)
        phases = signs
        if self._is_special_unitary:
            mean = phases.mean(-1, keepdim=True)
            phases = phases - mean + self.reflections * math.pi / self.n
        return torch.polar(torch.ones_like(phases), phases)

    def _prepare(self) -> LinearMap:
        v, signs = self._promoted(self.reflectors), self._promoted(self._signs)
        if 2 * self.reflections < self.n:
            return ReflectionsMap(linalg.from_real_parts(v, self.field), self._diagonal(signs))
        return DenseMap(self._matrix_of(v, signs))

    def _matrix_of(self, *tensors: Tensor) -> Tensor:
        reflectors, signs = tensors
        v = linalg.from_real_parts(reflectors, self.field)
        return linalg.householder(v) * self._diagonal(signs).unsqueeze(-2)

    def _assign(self, w: Tensor) -> None:
        if self.field == "real":
            sign = torch.linalg.det(w).sign() * (-1) ** self.reflections
            w = torch.cat([w[:, :-1], w[:, -1:] * sign], dim=1)
            v = reflectors_of_rank(w, self.reflections)
            self.sign.copy_(sign)
        elif self.reflections < self.n - 1:
            return super()._assign(w)
        else:
            v, phases = reflectors_and_phases(w, self.reflections)
            if self._is_special_unitary:
                phases = linalg.phases_with_sum(phases, self.reflections * math.pi)
            self.phases.copy_(phases)
        self.reflectors.copy_(linalg.view_as_real_parts(v))

    def _assign_columns(self, q: Tensor) -> None:
        k = q.shape[1]
        if self.field == "real":
            q = nearest_columns(q.real if q.is_complex() else q)
            enough = k <= self.reflections
            v = (reflectors_of_columns if enough else reflectors_of_rank)(q, self.reflections)
        elif k > self.reflections:
            return fit_columns(self, nearest_columns(q))
        else:
            q = nearest_columns(q.to(torch.complex128))
            v, phases = reflectors_and_phases(q, self.reflections)
            # The phases of the other columns are free; this sum makes the determinant 1.
            free = (self.reflections * math.pi - phases.sum()) / (self.n - k)
            self.phases.copy_(torch.cat([phases, free.expand(self.n - k)]))
        self.reflectors.copy_(linalg.view_as_real_parts(v))

    def _initialize(self, init: str, generator: torch.Generator | None) -> None:
        k = self._wanted
        if self.info.assignable or not 1 <= k <= self.reflections:
            return super()._initialize(init, generator)
        if init != "haar":
            return self._assign_columns(self._sample(init, generator)[:, :k])
        # The polar factor of Gaussian columns has the Haar measure.
        dtype = torch.complex128 if self.field == "complex" else torch.float64
        drawn = torch.randn(self.n, k, dtype=dtype, **self._random_source(generator))
        self._assign_columns(drawn.to(self.device))

    def _start_own(self, generator: torch.Generator | None) -> None:
        source = self._random_source(generator)
        v = torch.randn(self.reflectors.shape, **source)
        others = tuple(range(v.ndim))[::2]  # all dimensions but that of the columns
        self.reflectors.copy_(v / torch.linalg.vector_norm(v, dim=others, keepdim=True))
        if self.field == "complex":
            uniform = torch.rand(self.n, **source)
            self.phases.copy_((2 * uniform - 1) * math.pi)
        else:
            self.sign.fill_((-1) ** self.reflections * self.initial_determinant)
