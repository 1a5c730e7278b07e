r"""W = D F_L ... F_1: layers of 2 x 2 rotations of neighbours, as many as wanted."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unitary_zoo.base import (
    SPECIAL_ORTHOGONAL,
    UNITARY,
    Parametrization,
    SchemeInfo,
    Tolerance,
)
from unitary_zoo.errors import is_int
from unitary_zoo.schemes._brick_wall import angle_count, brick_wall
from unitary_zoo.schemes._rotations import PairProduct


def _real_dimension(n: int, capacity: int = 2) -> int:
    return min(angle_count(n, capacity), n * (n - 1) // 2)


def _complex_dimension(n: int, capacity: int = 2) -> int:
    return min(2 * angle_count(n, capacity) + n, n * n)


@Parametrization.register("eunn")
class EUNN(PairProduct):
    r""":math:`W = D F_L \cdots F_1` with L = ``capacity``, :math:`D = \mathrm{diag}(e^{i\omega})`.

    :math:`F_1, F_3, \dots` have blocks :math:`\begin{pmatrix} \cos\theta & -e^{i\phi} \sin\theta
    \\ \sin\theta & e^{i\phi} \cos\theta \end{pmatrix}` on the units (0, 1), (2, 3), ..., and
    :math:`F_2, F_4, \dots` on (1, 2), (3, 4), ...; a unit without a partner is left alone. Real:
    without phi and omega. O(L n). L = n reaches all of U(n) or SO(n), and only then can W be
    assigned; for fewer layers ``assign_(w, nearest=True)`` fits the angles.

    Learnable: ``theta`` and ``phi``, one number for each block, layer after layer, and ``omega``
    (n). ``reset_parameters("eunn")``, the default, draws all uniform in (-pi, pi), as the
    authors' code does.

    Args:
        n: Size of W.
        capacity: L, the number of layers, at least 1.
        field: "complex" (default) or "real".
        generator: Source of randomness for the parameters.
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        ValueError: capacity is not a positive int.

    Source: Jing, Shen, Dubcek, Peurifoy, Skirlo, LeCun, Tegmark and Soljacic, Tunable efficient
    unitary neural networks (EUNN), 2017, the tunable form. Assignment: Clements, Humphreys,
    Metcalf, Kolthammer and Walmsley, Optimal design for universal multiport interferometers, 2016.
    """

    info = SchemeInfo(
        name="eunn",
        title="W = D F_L ... F_1, rotations of neighbours",
        reference="""@inproceedings{jing2017tunable,
  title     = {Tunable Efficient Unitary Neural Networks ({EUNN}) and their Application to
               {RNN}s},
  author    = {Jing, Li and Shen, Yichen and Dubcek, Tena and Peurifoy, John and Skirlo, Scott
               and LeCun, Yann and Tegmark, Max and Solja{\\v{c}}i{\\'c}, Marin},
  booktitle = {International Conference on Machine Learning},
  year      = {2017}
}""",
        family="static",
        claims={
            "complex": replace(UNITARY, dimension=_complex_dimension, cost="O(n)", whole=False),
            "real": replace(
                SPECIAL_ORTHOGONAL, dimension=_real_dimension, cost="O(n)", whole=False
            ),
        },
        field="complex",
        tolerance=Tolerance(
            24.0,
            "D and each of the layers has blocks of defect 2 eps or less, and rounds columns of "
            "length 1 by 3 eps, twice in W^H W: 8 (L + 1) sqrt(n) eps, if no error cancels",
        ),
        assignable=False,
        default_init="eunn",
    )

    _own_init = "eunn"

    def __init__(
        self,
        n: int,
        *,
        capacity: int = 2,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        if not is_int(capacity) or capacity < 1:
            raise ValueError(
                f"eunn: capacity={capacity!r}; pass the number of layers, an int of at least 1 "
                f"(n={n} layers reach the whole group)"
            )
        super().__init__(n, **options)
        self.capacity = capacity
        self._claim()
        self._create_angles()
        self.reset_parameters(generator=generator)

    def _claim(self) -> None:
        """State in the info what this number of layers reaches."""
        whole = angle_count(self.n, self.capacity) >= self.n * (self.n - 1) // 2
        if whole:
            claims = {"complex": UNITARY, "real": SPECIAL_ORTHOGONAL}[self.field]
        else:
            dimension = {"complex": _complex_dimension, "real": _real_dimension}[self.field]
            claims = replace(
                self.info.claims[self.field], dimension=partial(dimension, capacity=self.capacity)
            )
        self.info = replace(
            self.info,
            claims={**self.info.claims, self.field: claims},
            assignable=whole,
            tolerance=replace(self.info.tolerance, factor=8.0 * (self.capacity + 1)),
        )

    def _layouts(self) -> list[tuple[int, int]]:
        return [(1, k % 2) for k in range(self.capacity)]

    def _assign(self, w: Tensor) -> None:
        if not self.info.assignable:
            return super()._assign(w)  # which fits the angles
        self._set(*brick_wall(w, self.capacity))
