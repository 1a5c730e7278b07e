"""attach: the models and optimizers it serves, its handle and its errors."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from tests.optim.counting import Counting
from tests.oracles import F64, as_numpy, defect
from tests.schemes.descent import build, cost, target_for
from unitary_zoo import NotProjectedError, UnitaryRNN, attach, parameter_groups
from unitary_zoo.errors import AttachError
from unitary_zoo.optim import AttachHandle


def test_attach_serves_all_layers_of_a_model():
    torch.manual_seed(0)
    model = nn.Sequential(
        build("svd_projection", 6, torch.float32),
        nn.Linear(6, 6),
        build("lie_exp", 6, torch.float32),
        build("cayley", 6, torch.float32),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    attach(model, optimizer)
    x, y = torch.randn(8, 6), torch.randn(8, 6)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        for p in (model[0], model[2], model[3]):
            assert defect(p.matrix()) <= p.info.tolerance(6, p.dtype)
    assert losses[-1] < losses[0]
    assert not model[2].theta.any()


def test_attach_serves_all_cells_of_a_recurrent_layer():
    torch.manual_seed(0)
    rnn = UnitaryRNN(2, 5, num_layers=2, scheme="svd_projection")
    optimizer = torch.optim.RMSprop(parameter_groups(rnn, lr=1e-2))
    attach(rnn, optimizer)
    for _ in range(5):
        optimizer.zero_grad()
        rnn(torch.randn(4, 3, 2))[0].square().mean().backward()
        optimizer.step()
    for cell in rnn.cells:
        assert defect(cell.recurrent.matrix()) <= cell.recurrent.info.tolerance(5, torch.float32)


def test_attach_with_an_optimizer_for_each_layer():
    model = nn.ModuleList([build("lie_exp"), build("svd_projection")])
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in model]
    attach(model, *optimizers)
    (model[0].matrix() * target_for(model[0])).sum().backward()
    (model[1].matrix() * target_for(model[1])).sum().backward()
    before = [as_numpy(layer.matrix()) for layer in model]
    optimizers[0].step()
    assert int(model[0].steps) == 1
    assert np.abs(as_numpy(model[0].matrix()) - before[0]).max() > 1e-3
    np.testing.assert_array_equal(as_numpy(model[1].matrix()), before[1])
    optimizers[1].step()
    assert int(model[0].steps) == 1  # it is not in the second optimizer
    assert np.abs(as_numpy(model[1].matrix()) - before[1]).max() > 1e-3


def test_attach_with_a_scheme_in_two_optimizers():
    p = Counting()
    one, two = (torch.optim.SGD([q], lr=0.1) for q in (p.first, p.second))
    with pytest.raises(AttachError, match="1 of 2 parameters of 'counting'"):
        attach(p, one)
    attach(p, one, two)
    p.matrix().sum().backward()
    one.step()
    assert p.calls == ["begin", "step"]
    two.step()
    assert p.calls == ["begin", "step"] * 2


def test_attach_serves_a_shared_scheme_once():
    p = Counting()
    model = nn.ModuleDict({"a": nn.Sequential(p), "b": nn.Sequential(p)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, optimizer)
    optimizer.step()
    assert p.calls == ["begin", "step"]


def test_attach_serves_a_module_added_later():
    model = nn.Sequential(build("svd_projection"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, optimizer)
    new = build("svd_projection", seed=1)
    model.append(new)
    optimizer.add_param_group({"params": list(new.parameters()), "lr": 0.2})
    before = as_numpy(new.matrix())
    (new.matrix() * target_for(new)).sum().backward()
    optimizer.step()
    assert np.abs(as_numpy(new.matrix()) - before).max() > 1e-2
    assert defect(new.matrix()) <= new.info.tolerance(4, F64)


def test_attach_serves_parameters_thawed_later():
    p = build("svd_projection").requires_grad_(False)
    model = nn.Sequential(p, nn.Linear(4, 4))
    optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
    attach(model, optimizer)
    p.requires_grad_(True)
    optimizer.add_param_group({"params": list(p.parameters())})
    (p.matrix() * target_for(p)).sum().backward()
    optimizer.step()
    assert defect(p.matrix()) <= p.info.tolerance(4, F64)


def test_attach_needs_no_optimizer_for_frozen_parameters():
    model = nn.Sequential(build("expm").requires_grad_(False), nn.Linear(4, 4))
    handle = attach(model, torch.optim.SGD(model[1].parameters(), lr=0.1))
    assert isinstance(handle, AttachHandle)


@pytest.mark.parametrize("name", ["lie_exp", "svd_projection"])
def test_attach_leaves_a_frozen_scheme_unchanged(name):
    p, free = build(name, dtype=torch.float32), nn.Linear(2, 2)
    p.requires_grad_(False)
    optimizer = torch.optim.SGD([*p.parameters(), *free.parameters()], lr=0.1, weight_decay=0.1)
    attach(p, optimizer)
    before = {key: value.clone() for key, value in p.state_dict().items()}
    for _ in range(3):
        free(torch.ones(2)).sum().backward()
        optimizer.step()
    for key, value in p.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_attach_serves_a_gradient_from_before_the_freezing():
    p = build("svd_projection")
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    attach(p, optimizer)
    before = p.matrix().detach()
    cost(p.matrix(), target_for(p)).backward()
    p.requires_grad_(False)
    optimizer.step()  # torch's optimizers look at the gradient, not at requires_grad
    assert (p.matrix() - before).norm() > 1e-3
    assert defect(p.matrix()) < 1e-14


def test_attach_names_parameters_in_no_optimizer():
    model = nn.ModuleDict({"inner": nn.Sequential(build("expm")), "head": nn.Linear(4, 4)})
    optimizer = torch.optim.SGD(model["head"].parameters(), lr=0.1)
    message = (
        r"1 of 1 parameters of 'expm' at 'inner\.0' are in none of the 1 optimizers given; add "
        r"them to one, pass the optimizer that holds them as well, or freeze them with requires_"
    )
    with pytest.raises(AttachError, match=message) as e:
        attach(model, optimizer)
    assert isinstance(e.value, ValueError)
    for remedy in ("add", "pass", "freeze"):
        fixed = torch.optim.SGD(model["head"].parameters(), lr=0.1)
        more = []
        if remedy == "add":
            fixed.add_param_group({"params": list(model["inner"].parameters())})
        elif remedy == "pass":
            more = [torch.optim.SGD(model["inner"].parameters(), lr=0.1)]
        else:
            model["inner"].requires_grad_(False)
        attach(model, fixed, *more).remove()


def test_attach_refused_leaves_no_hook():
    p = Counting()
    optimizer = torch.optim.SGD([p.first], lr=0.1)
    with pytest.raises(AttachError):
        attach(p, optimizer)
    optimizer.step()
    assert p.calls == []


def test_attach_names_a_scheme_without_a_model():
    p = build("lie_exp")
    with pytest.raises(AttachError, match=r"'lie_exp' at 'the model itself'"):
        attach(p, torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1))


def test_attach_refuses_a_model_without_scheme():
    model = nn.Linear(2, 2)
    with pytest.raises(AttachError, match=r"Linear contains no Parametrization"):
        attach(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_attach_refuses_other_objects_than_optimizers():
    p = build("expm")
    with pytest.raises(AttachError, match=r"attach\(model, optimizer\)"):
        attach(p)
    for thing in (p.parameters(), [torch.optim.SGD(p.parameters(), lr=0.1)], None):
        with pytest.raises(TypeError, match=r"not a torch\.optim\.Optimizer"):
            attach(p, thing)


def test_attach_twice_is_refused_until_removed():
    p = Counting()
    model = nn.Sequential(p)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = attach(model, optimizer)
    for again in (model, p):
        with pytest.raises(AttachError, match=r"'counting' at .* SGD already; call remove\(\)"):
            attach(again, optimizer)
    handle.remove()
    attach(p, optimizer)
    optimizer.step()
    assert p.calls == ["begin", "step"]


def test_attach_to_another_optimizer():
    p = Counting()
    optimizers = [torch.optim.SGD(p.parameters(), lr=0.1) for _ in range(2)]
    for optimizer in optimizers:
        attach(p, optimizer)
    optimizers[0].step()
    assert p.calls == ["begin", "step"]


def test_attach_counts_one_step_of_an_optimizer_given_twice():
    p = Counting()
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    try:
        attach(p, optimizer, optimizer)
    except AttachError:  # to refuse it would do as well
        attach(p, optimizer)
    optimizer.step()
    assert p.calls == ["begin", "step"]


def test_attach_counts_one_step_of_a_module_attached_later():
    model, p = nn.Sequential(Counting()), Counting()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, optimizer)
    model.append(p)
    optimizer.add_param_group({"params": list(p.parameters())})
    with contextlib.suppress(AttachError):  # to refuse it would do as well: it is served already
        attach(p, optimizer)
    optimizer.step()
    assert p.calls == ["begin", "step"]


def test_remove_takes_the_hooks_off():
    p = build("svd_projection")
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    handle = attach(p, optimizer)
    assert isinstance(handle, AttachHandle)
    handle.remove()
    handle.remove()
    (p.matrix() * target_for(p)).sum().backward()
    optimizer.step()
    with pytest.raises(NotProjectedError):
        p.matrix()


def test_remove_leaves_other_handles():
    one, two = Counting(), Counting()
    optimizer = torch.optim.SGD([*one.parameters(), *two.parameters()], lr=0.1)
    handle = attach(one, optimizer)
    attach(two, optimizer)
    handle.remove()
    optimizer.step()
    assert one.calls == []
    assert two.calls == ["begin", "step"]
