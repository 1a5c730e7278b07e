r"""W = W_0 (x) ... (x) W_{F-1}: a Kronecker product of small unitary matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.base import (
    SPECIAL_ORTHOGONAL,
    UNITARY,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)
from unitary_zoo.initializers import haar
from unitary_zoo.schemes._kronecker import WIDTH, KroneckerMap, nearest_product, prime_factors


def _dimension(n: int, field: str, factors: tuple[int, ...] | None = None) -> int:
    sizes = factors or prime_factors(n)
    parameters = sum(linalg.skew_dimension(p, field) for p in sizes)
    # A phase can go from one factor to another.
    return parameters - (len(sizes) - 1) * (field == "complex")


@Parametrization.register("kronecker")
class Kronecker(Static):
    r""":math:`W = W_0 \otimes \cdots \otimes W_{F-1}`, :math:`W_f = \exp(A_f)`, :math:`A_f` skew.

    The product of the sizes P_0, ..., P_{F-1} is n. One application costs n (P_0 + ... + P_{F-1}):
    O(n log n) for small factors, but O(n^2) for a prime n, where W is one dense factor. The paper
    keeps its factors near unitary by a penalty; here they are unitary.

    Learnable: ``theta``, the coordinates of the A_f one after the other, see
    :func:`unitary_zoo.linalg.skew_from_coordinates`. ``reset_parameters("kronecker")``, the
    default, draws each factor from the Haar measure. ``assign_`` takes any W of this form
    exactly. For another W, with ``nearest=True``, it splits off one factor after the other: the
    leading singular vectors of the rearranged W, made unitary.

    Args:
        n: Size of W.
        factors: The P_f, each at least 2 and together n; None for the primes of n, the smallest
            first.
        field: "complex" (default) or "real".
        generator: Source of randomness for the parameters.
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        ValueError: The product of factors is not n.

    Source: Jose, Cisse and Fleuret, Kronecker recurrent units, 2018. Assignment: Van Loan and
    Pitsianis, Approximation with Kronecker products, 1993.
    """

    info = SchemeInfo(
        name="kronecker",
        title="W = W_0 (x) ... (x) W_{F-1}, small unitary factors",
        reference="""@inproceedings{jose2018kronecker,
  title     = {Kronecker Recurrent Units},
  author    = {Jose, Cijo and Ciss{\\'e}, Moustapha and Fleuret, Fran{\\c{c}}ois},
  booktitle = {International Conference on Machine Learning},
  year      = {2018}
}""",
        family="static",
        claims={
            "complex": replace(
                UNITARY,
                dimension=partial(_dimension, field="complex"),
                cost="O(n log n)",
                whole=False,
            ),
            "real": replace(
                SPECIAL_ORTHOGONAL,
                dimension=partial(_dimension, field="real"),
                cost="O(n log n)",
                whole=False,
            ),
        },
        field="complex",
        tolerance=Tolerance(
            24.0,
            "each exponential has a defect of 8 sqrt(P) eps, and of factors that are at least 2 "
            "the sum of the sqrt(P) is below 2.2 sqrt(n); products round by less",
        ),
        default_init="kronecker",
    )

    _own_init = "kronecker"

    def __init__(
        self,
        n: int,
        *,
        factors: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(n, **options)
        sizes = prime_factors(n) if factors is None else tuple(factors)
        if math.prod(sizes) != n or (n > 1 and min(sizes, default=0) < 2):
            raise ValueError(
                f"kronecker: factors={factors!r}; pass integers of at least 2 whose product is "
                f"n={n}, such as {prime_factors(n)}"
            )
        self.factors = sizes
        claims = replace(
            self.info.claims[self.field],
            dimension=partial(
                _dimension, field=self.field, factors=None if factors is None else sizes
            ),
            cost="O(n log n)" if max(sizes) <= WIDTH else "O(n^2)",
        )
        self.info = replace(self.info, claims={**self.info.claims, self.field: claims})
        self.theta = nn.Parameter(torch.zeros(sum(self._sizes()), **self._factory))
        self.reset_parameters(generator=generator)

    def _sizes(self) -> list[int]:
        return [linalg.skew_dimension(p, self.field) for p in self.factors]

    def _prepare(self) -> LinearMap:
        coordinates = self._promoted(self.theta).split(self._sizes())
        found: dict[int, list[Tensor]] = {}
        for p in set(self.factors):  # one exponential for all factors of a size
            of_size = [x for x, q in zip(coordinates, self.factors, strict=True) if q == p]
            a = linalg.skew_from_coordinates(torch.stack(of_size), p, self.field)
            found[p] = list(linalg.expm_skew(a).unbind())
        return KroneckerMap([found[p].pop(0) for p in self.factors])

    def _set(self, factors: Sequence[Tensor]) -> None:
        coordinates = [linalg.skew_to_coordinates(linalg.log_unitary(w)) for w in factors]
        self.theta.copy_(torch.cat(coordinates))

    def _assign(self, w: Tensor) -> None:
        found = []
        for p in self.factors[:-1]:
            left, w = nearest_product(w, p)
            found.append(left)
        if self.field == "real":
            w = linalg.polar_with_determinant(w, 1)
        self._set([*found, w])

    def _start_own(self, generator: torch.Generator | None) -> None:
        source = {"dtype": torch.float64, **self._random_source(generator)}
        drawn = [haar(p, self.field, determinant=1, **source) for p in self.factors]
        self._set([w.to(self.device) for w in drawn])
