"""The schemes, as cases of a test, and instances of them."""

import pytest
import torch

from tests import oracles
from unitary_zoo import Parametrization

CASES = [
    (name, field)
    for name in Parametrization.names()
    for field in Parametrization.get(name).info.fields
    if Parametrization.get(name).__module__.startswith("unitary_zoo.")
]
EXACT = [(name, field) for name, field in CASES if Parametrization.get(name).info.exact]
WHOLE_GROUP = [
    (name, field)
    for name, field in EXACT
    if Parametrization.get(name).info.assignable
    and Parametrization.get(name).info.claims[field].whole
]
every_case = pytest.mark.parametrize(("name", "field"), CASES)
every_exact_case = pytest.mark.parametrize(("name", "field"), EXACT)
every_whole_group = pytest.mark.parametrize(("name", "field"), WHOLE_GROUP)


def build(name, n, field, dtype=torch.float64, seed=0, **options):
    """A scheme of size ``n``, or of the next size that it accepts."""
    torch.manual_seed(seed)
    info = Parametrization.get(name).info
    n = next(k for k in range(n, 4 * n + 1) if info.accepts(k))
    return Parametrization.create(name, n, field=field, dtype=dtype, **options)


def moved(name, n, field, dtype=torch.float64, **options):
    """A scheme whose parameters were moved away from the start, and then ``step_``."""
    p = build(name, n, field, dtype, **options)
    with torch.no_grad():
        for q in p.parameters():
            q.add_(0.1 * torch.randn_like(q))
    p.step_()
    return p


def state(p):
    """A copy of the state of ``p``."""
    return {key: value.clone() for key, value in p.state_dict().items()}


def same(a, b):
    """Whether two states are equal to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def dirty(n=5, dtype=torch.float32, **options):
    """A projected scheme whose weight was changed without a step."""
    p = build("svd_projection", n, options.pop("field", "real"), dtype, **options)
    with torch.no_grad():
        p.weight.mul_(1.5)
    return p


def haar(n, field, seed=0, determinant=1):
    """A random matrix of the field, if real with this determinant."""
    dtype = torch.complex128 if field == "complex" else torch.float64
    sign = determinant if field == "real" else None
    return oracles.haar(n, dtype=dtype, seed=seed, determinant=sign)
