r"""W = B exp(L - L^T): geotorch.SO as it is, behind our interface."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from unitary_zoo import linalg
from unitary_zoo.base import (
    SPECIAL_ORTHOGONAL,
    DenseMap,
    LinearMap,
    Parametrization,
    SchemeInfo,
    Static,
    Tolerance,
)


@Parametrization.register("geotorch_so")
class GeotorchSO(Static):
    r""":math:`W = B f(L - L^T)` by ``geotorch.SO``, real; an adapter for comparison.

    L is the strict lower triangle of X; f is :math:`\exp` or the Cayley map
    :math:`(I - A/2)^{-1} (I + A/2)`. B, in SO(n), is the matrix assigned last and does not learn
    (geotorch moves it by hand, with ``update_base``: that is ``p.assign_(p.matrix())``).

    Learnable: ``original`` (n, n): X as geotorch stores it, entries without effect included.

    geotorch computes W and this library does the rest: draws, assignment, copies, half precision.
    Its ``uniform`` start is init="haar" and its ``torus`` is init="torus".

    Args:
        n: Size of W.
        triv: f, "expm" (default) or "cayley".
        device: Device.
        dtype: Dtype of the parameters.

    Raises:
        ImportError: geotorch is not installed.
        ValueError: Unknown f.

    Source: Lezcano-Casado, Trivializations for gradient-based optimization on manifolds, 2019.
    """

    info = SchemeInfo(
        name="geotorch_so",
        title="W = B exp(L - L^T) by geotorch.SO",
        reference="""@inproceedings{lezcano2019trivializations,
  title     = {Trivializations for Gradient-Based Optimization on Manifolds},
  author    = {Lezcano-Casado, Mario},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019}
}""",
        family="static",
        claims={"real": SPECIAL_ORTHOGONAL},
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

    base: Tensor
    _unitary_buffers = ("base",)

    def __init__(self, n: int, *, triv: str = "expm", **options: Any) -> None:
        if triv not in ("expm", "cayley"):
            raise ValueError(f"geotorch_so: triv={triv!r}; choose one of ['expm', 'cayley']")
        super().__init__(n, **options)
        self.original = nn.Parameter(torch.zeros(n, n, **self._factory))
        self.register_buffer("base", self._identity_parts(self._promoted(self.original).dtype))
        # In a tuple, so that geotorch's own base, of size 1, is no part of the state.
        self._manifold = (_manifold(triv),)
        self.reset_parameters()

    def _prepare(self) -> LinearMap:
        state, x = {"base": linalg.reunitarized(self.base)}, self._promoted(self.original)
        return DenseMap(functional_call(self._manifold[0], state, (x,)))

    def _assign(self, w: Tensor) -> None:
        self.base.copy_(w)
        self.original.zero_()


def _manifold(triv: str) -> nn.Module:
    try:
        import geotorch
    except ImportError as error:
        raise ImportError(
            "geotorch_so needs the package geotorch, which is not installed; run pip install "
            "geotorch, or take the scheme torch_orthogonal or expm"
        ) from error
    # It draws a base that is not used, which it cannot do on the meta device.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        manifold: nn.Module = geotorch.SO((1, 1), triv)
    return manifold
