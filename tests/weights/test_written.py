"""Writes into a computed weight: noticed at the next reading, without cost and without alarms."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.stateless import functional_call

import unitary_zoo
from tests.weights.layers import linear
from unitary_zoo import orthogonal

WRITES = {
    "init": nn.init.zeros_,
    "copy_": lambda w: w.copy_(torch.ones_like(w)),
    "mul_": lambda w: w.mul_(2),
    "row": lambda w: w.__setitem__(0, 1.0),
    "view": lambda w: w.mT[1].zero_(),
    "detached": lambda w: w.detach().zero_(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_write_into_a_weight_is_noticed_at_the_next_reading(layer, write):
    before = layer.weight.detach().clone()
    with torch.no_grad():
        write(layer.weight)
    with pytest.warns(UserWarning, match="weight was written to.*assign: layer.weight = X"):
        layer(torch.ones(3))
    assert torch.equal(layer.weight, before)  # and is noticed once


def test_write_with_gradients_on_is_noticed(layer):
    layer.weight.mul_(2)
    with pytest.warns(UserWarning, match="assign"):
        layer(torch.ones(3))


def test_write_into_a_frozen_weight_is_noticed(layer):
    layer.requires_grad_(False)
    layer.weight.fill_(1.0)
    with pytest.warns(UserWarning, match="assign"):
        layer(torch.ones(3))


def test_write_into_a_recurrent_weight_is_noticed():
    layer = orthogonal(nn.GRU(3, 4), "weight_hh_l0", "expm", blocks=3)
    nn.init.eye_(layer.weight_hh_l0)
    with pytest.warns(UserWarning, match="layer.weight_hh_l0 = X"):
        layer(torch.ones(2, 1, 3))


def test_write_into_a_cached_weight_is_undone(layer):
    before = layer.weight.detach().clone()
    with parametrize.cached(), torch.no_grad():
        layer.weight.zero_()
        with pytest.warns(UserWarning, match="assign"):
            assert torch.equal(layer.weight, before)


def test_write_of_the_layers_own_reset_is_expected(layer):
    layer.reset_parameters()
    assert layer.weight.any()


# Warnings are errors, so each of these fails at a false alarm.
def test_training_raises_no_alarm(layer):
    parametrizations.spectral_norm(layer, "weight")
    model = nn.Sequential(layer, nn.Dropout(0.5, inplace=True))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    unitary_zoo.attach(model, optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        out = model(torch.randn(2, 3))
        out *= 2
        out.sum().backward()
        optimizer.step()
        layer.weight.requires_grad_()
        layer.weight.clone().zero_()
        (layer.weight + 1).zero_()
    pickle.loads(pickle.dumps(layer))(torch.ones(3))
    copy.deepcopy(layer)(torch.ones(3))


class _Stored(nn.Module):
    """A parametrization that returns a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.own = nn.Parameter(torch.zeros(4, 4))

    def forward(self, x):
        return self.own

    def right_inverse(self, x):
        return x


def test_weight_that_is_a_parameter_raises_no_alarm():
    layer = linear(4, 4)
    parametrize.register_parametrization(layer, "weight", _Stored())
    layer(torch.ones(4)).sum().backward()
    torch.optim.SGD(layer.parametrizations.parameters(), lr=0.1).step()
    layer(torch.ones(4))


def test_assignment_ends_the_notice(layer):
    with torch.no_grad():
        weight = layer.weight.neg_()
    layer.weight = weight  # what was written is what is assigned
    torch.testing.assert_close(layer.weight, weight, rtol=0, atol=1e-5)


def test_readings_are_not_kept_alive(layer):
    with torch.no_grad():
        read = weakref.ref(layer.weight)
    gc.collect()
    assert read() is None
    model = weakref.ref(copy.deepcopy(layer))
    gc.collect()
    assert model() is None


# ----------------------------------------------------------------- functional_call by plain name


def _state(module):
    return copy.deepcopy(module.state_dict())


def _same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)


@pytest.mark.parametrize("call", [torch.func.functional_call, functional_call])
@pytest.mark.filterwarnings("ignore:.*stateless:FutureWarning")
def test_functional_call_uses_a_plain_weight_as_it_is(layer, call):
    model = nn.Sequential(layer, nn.Tanh())
    before, x = _state(model), torch.randn(2, 3)
    out = model(x)
    w = torch.randn(5, 3, requires_grad=True)
    for weight in (w, nn.Parameter(w.detach())):
        found = call(model, {"0.weight": weight}, (x,))
        wanted = torch.tanh(x @ weight.T + layer.bias)
        torch.testing.assert_close(found, wanted)
        for a, b in zip(
            torch.autograd.grad(found.sum(), weight),
            torch.autograd.grad(wanted.sum(), weight),
            strict=True,
        ):
            torch.testing.assert_close(a, b)
        assert _same(_state(model), before)
        assert torch.equal(model(x), out)
    with pytest.raises(RuntimeError, match="shape"):
        call(model, {"0.weight": torch.ones(7, 7)}, (x,))
    assert torch.equal(model(x), out)  # put back after an error as well
    with torch.no_grad(), parametrize.cached():
        call(model, {"0.weight": w}, (x,))
        assert torch.equal(model(x), out)


def test_functional_call_with_a_plain_weight_can_be_nested_and_transformed(layer):
    x, (a, b) = torch.randn(2, 3), torch.randn(2, 5, 3)
    before = _state(layer)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            inner = torch.func.functional_call(self.layer, {"weight": b}, (x,))
            return self.layer(x), inner

    outer, inner = torch.func.functional_call(Outer(), {"layer.weight": a}, (x,))
    torch.testing.assert_close(outer, x @ a.T + layer.bias)
    torch.testing.assert_close(inner, x @ b.T + layer.bias)

    def loss(w):
        return torch.func.functional_call(layer, {"weight": w}, (x,)).pow(2).sum()

    grads = torch.vmap(torch.func.grad(loss))(torch.stack([a, b]))
    for w, grad in zip((a, b), grads, strict=True):
        torch.testing.assert_close(grad, 2 * (x @ w.T + layer.bias).T @ x)
    assert _same(_state(layer), before)
    torch.testing.assert_close(
        torch.func.functional_call(layer, before, (x,)), layer(x), rtol=0, atol=0
    )


def test_functional_call_with_a_plain_recurrent_weight():
    layer = orthogonal(nn.GRU(3, 4), "weight_hh_l0", "expm", blocks=3)
    plain, before = nn.GRU(3, 4), _state(layer)
    plain.load_state_dict(unitary_zoo.plain_state_dict(layer))
    w, x = torch.randn(12, 4), torch.randn(5, 2, 3)
    found = torch.func.functional_call(layer, {"weight_hh_l0": w}, (x,))[0]
    torch.testing.assert_close(layer(x)[0], plain(x)[0])
    with torch.no_grad():
        plain.weight_hh_l0.copy_(w)
    torch.testing.assert_close(found, plain(x)[0])
    assert _same(_state(layer), before)
