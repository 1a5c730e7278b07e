"""Layers with orthogonal weights for the tests of this folder."""

import torch
from torch import nn

from unitary_zoo import Parametrization, orthogonal

FAMILIES = ["cayley", "lie_exp", "svd_projection"]  # static, rebased, projected
SHAPES = [(4, 4), (5, 3), (3, 5), (1, 1), (7, 1), (1, 7), (17, 2)]


def size(scheme, wanted):
    """The smallest size from ``wanted`` on at which the scheme exists."""
    accepts = Parametrization.get(scheme).info.accepts
    return next(n for n in range(wanted, 4 * wanted) if accepts(n))


def bound(dtype, n):
    """The tolerance that the schemes of these tests claim, 8 sqrt(n) eps in the 2-norm."""
    return 8 * n**0.5 * torch.finfo(dtype).eps


def linear(rows, columns, scheme="cayley", **options):
    own = {key: options.pop(key) for key in ("dtype", "bias", "device") if key in options}
    return orthogonal(nn.Linear(columns, rows, **own), "weight", scheme, **options)


class Custom(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(*shape))
