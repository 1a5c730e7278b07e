"""The library on a CUDA device equals itself on the CPU: schemes."""

import copy

import pytest
import torch

from tests.cuda.helpers import (
    DTYPES,
    SCHEMES,
    B,
    M,
    OnlyOnTheDevice,
    assert_near,
    build,
    copy_on,
    functional,
    gradients,
    size_for,
)
from unitary_zoo import (
    Parametrization,
    UnitaryRNNCell,
)
from unitary_zoo.linalg import unitarity_defect
from unitary_zoo.testing.subject import normal


@SCHEMES
@pytest.mark.parametrize("dtype", DTYPES)
def test_scheme_matrix_and_gradient_equal_the_cpu(name, field, dtype, device):
    n = size_for(name)
    here = build(name, field, dtype)
    there = copy_on(here, device)
    # Products of a few matrices of order n; the maps have conditions of order 10.
    terms = 10 * n
    assert there.device.type == device
    with OnlyOnTheDevice(device) as watch:
        w = there.matrix()
    assert watch.operations > 0
    assert_near(w, here.matrix(), terms, device)
    wanted = gradients(functional(here.matrix()), here)
    for key, grad in gradients(functional(w), there).items():
        # A coordinate moves up to n entries, weighed with numbers below 4.
        assert_near(grad, wanted[key], 4 * n * terms, device)


@SCHEMES
def test_scheme_applications_equal_the_cpu(name, field, device):
    n = size_for(name)
    here = build(name, field, torch.float64)
    there = copy_on(here, device)
    h = normal(2, B, n, dtype=here.dtype)
    moved = h.to(device)
    with OnlyOnTheDevice(device):
        results = there(moved), there.adjoint(moved), there.prepare()(moved)
    for got, wanted in zip(results, (here(h), here.adjoint(h), here.prepare()(h)), strict=True):
        assert_near(got, wanted, 10 * n, device)


@SCHEMES
def test_scheme_is_built_on_the_device(name, field, device):
    """Constructed there, reset there, described there, assigned from the CPU."""
    n = size_for(name)
    options = {"field": field, "dtype": torch.float64, "device": device}
    p = Parametrization.create(name, n, **options)
    for tensor in (*p.parameters(), *p.buffers()):
        assert tensor.device.type == device
    assert p.matrix().device.type == device
    if p.info.exact:
        assert float(unitarity_defect(p.matrix())) <= p.info.tolerance(n, p.dtype)
    assert torch.isfinite(p.describe().eigenphases).all()
    wanted = Parametrization.create(name, n, **options).matrix().detach()
    if p.info.assignable and name != "eigenphase":  # each of which has a basis of its own
        p.assign_(wanted.cpu())
        limit = 100 * n * torch.finfo(p.dtype).eps  # the promise of assign_
        assert float(torch.linalg.matrix_norm(p.matrix().detach() - wanted, 2)) <= limit


@SCHEMES
@pytest.mark.parametrize("source", ["cpu", "device"])
def test_scheme_resets_from_generators_of_both_devices(name, field, source, device):
    """A generator of the CPU or of the device resets a module on the device, reproducibly."""
    n = size_for(name)
    kind = "cpu" if source == "cpu" else device
    cell = UnitaryRNNCell(M, n, name, device=device, field=field, learn_h0=True)
    states = []
    for seed in (5, 5, 6):
        cell.reset_parameters(torch.Generator(kind).manual_seed(seed))
        states.append({key: value.clone() for key, value in cell.state_dict().items()})
    for key, value in states[0].items():
        assert value.device.type == device
        assert torch.equal(value, states[1][key]), key
    assert not torch.equal(states[0]["weight_ih_parts"], states[2]["weight_ih_parts"])
    if cell.recurrent.info.exact:
        defect = float(unitarity_defect(cell.recurrent.matrix()))
        assert defect <= cell.recurrent.info.tolerance(n, cell.recurrent.dtype)


@SCHEMES
def test_scheme_moves_between_devices(name, field, device):
    n = size_for(name)
    here = build(name, field, torch.float32)
    there = copy_on(here, device)
    for back in (copy.deepcopy(there).cpu(), copy_on(there, "cpu")):
        assert_near(back.matrix(), here.matrix(), 10 * n, "cpu")
    other = Parametrization.create(name, n, field=field, device=device)
    other.load_state_dict(here.state_dict())  # from the CPU to the device
    assert torch.equal(other.matrix(), there.matrix())
