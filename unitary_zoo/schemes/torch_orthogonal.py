r"""W = B exp(X - X^H): torch.nn.utils.parametrizations.orthogonal behind our interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from unitary_zoo import linalg
from unitary_zoo.base import (
    ORTHOGONAL,
    SPECIAL_ORTHOGONAL,
    UNITARY,
    DenseMap,
    FieldClaims,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)

_MAPS = ("matrix_exp", "cayley", "householder")
_COMPONENT = replace(ORTHOGONAL, determinants=())
_ZEROED = (
    "the signs of the columns are entries of the parameter, cut to integers: one that leaves +-1, "
    "as by weight decay, makes its column 0"
)
_HOUSEHOLDER_FAILURES = dict.fromkeys(("unitary", "training", "weight_decay", "dimension"), _ZEROED)


@Parametrization.register("torch_orthogonal")
class TorchOrthogonal(Static):
    r""":math:`W = B f(X)` with f computed by torch; an adapter for comparison.

    With L the lower triangle of X and :math:`A = L - L^H`, f(X) is :math:`\exp(A)`
    ("matrix_exp"), :math:`(I - A/2)^{-1} (I + A/2)` ("cayley"), or the product of n reflections
    whose vectors have ones on the diagonal and the entries of X below it, times the diagonal of X
    cut to integers ("householder"). B is the matrix assigned last and does not learn; with
    ``use_trivialization=False`` it is I.

    Learnable: ``original`` (n, n), or (n, n, 2) real and imaginary parts: X as torch stores it,
    entries without effect included.

    torch's faults are kept: ``torch.matrix_exp`` of a single matrix is off by 2e-5 in float32;
    weight decay under "householder" makes columns of W zero, which happens to torch's own layer
    by default where it is not square. This library adds three things: parameters in half precision
    are computed with in float32, a complex X is kept as real parts, and ``assign_`` works without
    B, where torch refuses.

    Args:
        n: Size of W.
        orthogonal_map: "matrix_exp" (default), "cayley" or "householder", which is real only.
        use_trivialization: Whether there is a B.
        field: "real" (default) or "complex".
        device: Device.
        dtype: Real dtype of the parameters.

    Raises:
        ValueError: Unknown map, or "householder" with field="complex".

    Source: Lezcano-Casado, Trivializations for gradient-based optimization on manifolds, 2019.
    """

    info = SchemeInfo(
        name="torch_orthogonal",
        title="W = B exp(X - X^H) by torch.nn.utils.parametrizations.orthogonal",
        reference="""@inproceedings{lezcano2019trivializations,
  title     = {Trivializations for Gradient-Based Optimization on Manifolds},
  author    = {Lezcano-Casado, Mario},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019}
}""",
        family="static",
        claims={"real": _COMPONENT, "complex": UNITARY},
        field="real",
        tolerance=Tolerance(
            8000.0,
            "torch.matrix_exp squares up to log2 of the norm of A times, and each doubles the "
            "defect: measured 8 eps of the norm, here for norms up to 1000 sqrt(n); of a single "
            "matrix it also stops its series early, for the worst one (2 x 2) at 2.84e-5 in "
            "float32 and 1.46e-11 in float64",
            truncation={torch.float32: 4e-5, torch.float64: 2e-11},
        ),
    )

    base: Tensor | None
    _unitary_buffers = ("base",)

    def __init__(
        self,
        n: int,
        *,
        orthogonal_map: str = "matrix_exp",
        use_trivialization: bool = True,
        **options: Any,
    ) -> None:
        if orthogonal_map not in _MAPS:
            raise ValueError(
                f"torch_orthogonal: orthogonal_map={orthogonal_map!r}; choose one of {list(_MAPS)}"
            )
        self.orthogonal_map, self.use_trivialization = orthogonal_map, use_trivialization
        self.info = _info(self.info, orthogonal_map, use_trivialization)
        if orthogonal_map == "householder" and options.get("field") == "complex":
            raise ValueError(
                "torch_orthogonal: orthogonal_map='householder' with field='complex'; torch has "
                "it for real matrices only, so take 'matrix_exp' or 'cayley'"
            )
        super().__init__(n, **options)
        shape = (n, n, 2) if self.field == "complex" else (n, n)
        self.original = nn.Parameter(torch.zeros(shape, **self._factory))
        self.register_buffer("base", None)
        if use_trivialization:
            self.base = self._identity_parts(self._promoted(self.original).dtype)
        # The module has neither parameters nor B, so any shape will do. Torch's module with B would
        # keep B complex and round it with the parameters.
        example = torch.zeros(1, 1, dtype=torch.complex64 if self.field == "complex" else None)
        self.map = _parametrized(example, orthogonal_map)[0]
        self.reset_parameters()

    def _prepare(self) -> LinearMap:
        w = self.map(linalg.from_real_parts(self._promoted(self.original), self.field))
        if self.base is not None:
            w = linalg.reunitarized(linalg.from_real_parts(self.base, self.field)) @ w
        return DenseMap(w)

    def _assign(self, w: Tensor) -> None:
        if self.base is not None:
            self.base.copy_(linalg.view_as_real_parts(w))
            x = -linalg.identity_like(w)  # as torch does: f is I there for all three maps
        elif self.orthogonal_map == "householder":
            x = _parametrized(w, self.orthogonal_map)[1]
        else:
            x = self._logarithm(w).tril()
            x.diagonal().div_(2)  # X - X^H has the diagonal twice
        self.original.copy_(linalg.view_as_real_parts(x))

    def _logarithm(self, w: Tensor) -> Tensor:
        """Return the skew A with f(A) = W."""
        if self.orthogonal_map == "matrix_exp":
            return linalg.log_unitary(w)
        w = linalg.away_from_minus_one(w, linalg.eps(self.original.dtype) ** 0.5)
        return -2 * linalg.inverse_cayley(w)


def _info(info: SchemeInfo, orthogonal_map: str, use_trivialization: bool) -> SchemeInfo:
    """Return the claims under these options."""
    claims: Mapping[str, FieldClaims] = info.claims
    if orthogonal_map == "householder":
        claims, failures = {"real": _COMPONENT}, _HOUSEHOLDER_FAILURES
        return replace(info, claims=claims, expected_failures=failures)
    if not use_trivialization:
        claims = {"real": SPECIAL_ORTHOGONAL, "complex": UNITARY}
    return replace(info, claims=claims)


def _parametrized(w: Tensor, orthogonal_map: str) -> tuple[nn.Module, Tensor]:
    """Return torch's module for f, and the X that it stores for ``w``."""
    host = nn.Module()
    host.weight = nn.Parameter(w)
    orthogonal(host, "weight", orthogonal_map, use_trivialization=False)
    parametrizations = cast(Any, host).parametrizations.weight
    return parametrizations[0], parametrizations.original.detach()
