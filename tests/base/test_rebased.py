"""The family that moves its coordinates into a base."""

import math

import numpy as np
import pytest
import torch

from tests.base.common import build
from tests.oracles import as_numpy, defect
from unitary_zoo import Parametrization, attach
from unitary_zoo.linalg import frobenius_gap


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "2", -math.inf, math.nan])
def test_rebase_every_must_be_a_positive_int(every):
    with pytest.raises(ValueError, match=r"rebase_every=.*at least 1"):
        Parametrization.create("lie_exp", 4, rebase_every=every)


@pytest.mark.parametrize("name", ["lie_exp", "full_capacity"])
def test_step_moves_the_coordinates_into_the_base_at_every_kth(name):
    field = Parametrization.get(name).info.field
    p = build(name, 4, field, rebase_every=3)
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    attach(p, optimizer)
    target = torch.randn(4, 4, dtype=p.dtype)
    for count in range(1, 8):
        base = p.base.clone()
        optimizer.zero_grad()
        (p.matrix() * target).real.sum().backward()
        optimizer.step()
        assert int(p.steps) == count
        assert bool(p.theta.any()) == (count % 3 != 0)
        assert torch.equal(p.base, base) == (count % 3 != 0)
        assert defect(p.matrix()) <= p.info.tolerance(4, p.dtype)


def test_state_dict_holds_the_count_of_steps():
    p, q = (build("lie_exp", 4, "real", rebase_every=3) for _ in range(2))
    p.step_()
    p.step_()
    q.load_state_dict(p.state_dict())
    with torch.no_grad():
        q.theta.add_(0.1)
    w = q.matrix().detach()
    q.step_()  # the third
    assert not q.theta.any()
    assert np.abs(as_numpy(q.matrix()) - as_numpy(w)).max() <= 1e-14


def test_matrix_stays_unitary_without_attach():
    p = build("lie_exp", 5, "real", torch.float32)
    optimizer = torch.optim.SGD(p.parameters(), lr=1.0)
    for _ in range(20):
        optimizer.zero_grad()
        (p.matrix() * torch.arange(25.0).view(5, 5)).sum().backward()
        optimizer.step()
    assert p.theta.abs().max() > math.pi  # far from the base
    assert defect(p.matrix()) <= p.info.tolerance(5, p.dtype)


def test_step_leaves_no_systematic_growth_in_the_base():
    n = 128
    p = build("lie_exp", n, "real", torch.float32)
    for _ in range(100):
        with torch.no_grad():
            p.theta.normal_(std=1e-4)
        p.step_()
    # Rounding the entries of W by half a unit changes ||W||_F^2 by sqrt(n) eps if the errors of a
    # column add up, and columns add like sqrt(n). In float32 throughout, all of them grow.
    assert (
        float(frobenius_gap(p.base.detach())) <= 1.5 * math.sqrt(n) * torch.finfo(torch.float32).eps
    )
