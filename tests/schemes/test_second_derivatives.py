"""No scheme refuses second derivatives; the conformance check says that they are right."""

import pytest
import torch

from tests.oracles import named_learned
from unitary_zoo import Parametrization
from unitary_zoo.base import Projected
from unitary_zoo.testing.checks.second_derivatives import MODES, Functional


# torch's own forward mode compiles its formulas by what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", Parametrization.names())
def test_scheme_has_second_derivatives_in_every_mode(name, mode):
    p = Parametrization.create(name, 4, dtype=torch.float64)
    if isinstance(p, Projected):
        p.begin_step_()
    point = {k: q.detach() for k, q in named_learned(p)}
    direction = {k: torch.ones_like(q) for k, q in point.items()}
    found = MODES[mode](Functional(p), point, direction)
    assert all(bool(q.isfinite().all()) for q in found.values())
    assert any(bool(q.any()) for q in found.values())
