"""Starts, on a device and after meta."""

import math

import numpy as np
import pytest
import torch

from tests.base.common import build, every_exact_case, haar, same, state
from tests.oracles import as_numpy, defect
from unitary_zoo import NotRepresentableError, Parametrization, attach


def test_reset_parameters_to_a_matrix_assigns_it():
    p, w = build("expm", 4, "real"), haar(4, "real", seed=5)
    p.reset_parameters(w)
    assert np.abs(as_numpy(p.matrix()) - w.numpy()).max() <= 1e-13
    with pytest.raises(NotRepresentableError):
        p.reset_parameters(2 * w)


def test_reset_parameters_resets_buffers():
    p = build("full_capacity", 4, "complex", rebase_every=4)
    fresh = {key: value for key, value in state(p).items() if key == "steps"}
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    attach(p, optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        p.matrix().real.square().sum().backward()
        optimizer.step()
    p.reset_parameters()
    assert same({key: value for key, value in state(p).items() if key in fresh}, fresh)


@every_exact_case
def test_reset_parameters_after_meta_and_to_empty(name, field):
    p = build(name, 5, field, torch.float32, device="meta")
    assert p.device.type == "meta"
    p.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*p.parameters(), *p.buffers()):  # memory holds anything
            tensor.fill_(math.nan if tensor.is_floating_point() else 1)
    p.reset_parameters()
    assert p.device.type == "cpu"
    for key, value in p.state_dict().items():
        assert torch.isfinite(value).all(), key
    assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)


def test_meta_device_by_context_manager():
    with torch.device("meta"):
        p = Parametrization.create("expm", 4)
    assert p.device.type == "meta"


@pytest.mark.parametrize("name", ["lie_exp", "svd_projection"])
def test_reading_raises_when_the_constructor_started_nothing(name):
    parent = Parametrization.get(name).__mro__[1]  # the family

    class Forgetful(parent):
        info = Parametrization.get(name).info
        _map = staticmethod(lambda a: torch.eye(len(a)) + a)
        _project = staticmethod(lambda x: x)

    p = Forgetful(3)
    for read in (p.matrix, p.prepare, lambda: p(torch.zeros(3))):
        with pytest.raises(TypeError, match=r"Forgetful.*reset_parameters\(\) in the last line"):
            read()
    p.reset_parameters("identity")
    torch.testing.assert_close(p.matrix(), torch.eye(3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", Parametrization.names())
def test_scheme_starts_by_default_in_half_precision(name, dtype):
    scheme = Parametrization.get(name)
    for n in filter(scheme.info.accepts, (1, 2, 7, 16)):
        for seed in (0, 1, 32):  # at 32 an angle of henaff is near pi
            torch.manual_seed(seed)
            p = scheme(n, dtype=dtype)
            assert p.matrix().isfinite().all()
