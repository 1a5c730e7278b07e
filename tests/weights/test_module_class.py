"""The classes of parametrized modules: torch.nn.utils.parametrize, pickle and deepcopy, resets."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import unitary_zoo
from tests.oracles import defect, haar
from tests.weights.layers import FAMILIES, bound, linear
from unitary_zoo import orthogonal


class Scaled(nn.Module):
    def forward(self, x):
        return 3 * x

    def right_inverse(self, x):
        return x / 3


@pytest.mark.parametrize("scheme", FAMILIES)
def test_remove_parametrizations_leaves_the_value_and_the_class(scheme):
    layer = linear(5, 3, scheme)
    value = layer.weight.detach().clone()
    names = {name for name, _ in nn.Linear(3, 5).named_parameters()}
    assert parametrize.is_parametrized(layer, "weight")
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert isinstance(layer.weight, nn.Parameter)
    assert {name for name, _ in layer.named_parameters()} == names
    assert torch.equal(layer.weight, value)
    torch.optim.SGD(layer.parameters(), lr=1.0)
    layer.weight.sum().backward()
    with torch.no_grad():
        layer.weight.zero_()
    assert not layer.weight.any()


def test_register_parametrization_on_top():
    layer = linear(4, 4, "expm")
    w = layer.weight.detach()
    parametrize.register_parametrization(layer, "weight", Scaled())
    torch.testing.assert_close(layer.weight, 3 * w)
    layer.weight = 3 * haar(4, 4, determinant=1, dtype=torch.float32)
    torch.testing.assert_close(layer.weight, 3 * haar(4, 4, determinant=1, dtype=torch.float32))
    again = pickle.loads(pickle.dumps(layer))
    torch.testing.assert_close(again.weight, layer.weight)
    parametrize.remove_parametrizations(layer, "weight")
    torch.testing.assert_close(layer.weight, 3 * haar(4, 4, determinant=1, dtype=torch.float32))


def test_modules_of_one_class_are_independent():
    first, second = linear(4, 4), linear(4, 4)
    copied = copy.deepcopy(first)
    assert type(first) is type(second) is type(copied)
    value = second.weight.detach().clone()
    parametrize.register_parametrization(first, "bias", Scaled())
    assert isinstance(second.bias, nn.Parameter)
    second.bias = nn.Parameter(torch.ones(4))
    assert torch.equal(second.bias, torch.ones(4))
    second(torch.ones(4)).sum().backward()
    parametrize.remove_parametrizations(first, "weight")
    assert torch.equal(second.weight, value)
    assert copied.weight.requires_grad
    first.weight = nn.Parameter(torch.zeros(4, 4))
    assert not first.weight.any()
    assert copied.weight.any()
    parametrize.remove_parametrizations(first, "bias")
    assert type(first) is nn.Linear
    assert torch.equal(second.weight, value)


def test_two_weights_of_one_module():
    layer = nn.GRU(8, 8)
    orthogonal(layer, "weight_hh_l0", "expm", blocks=3)
    orthogonal(layer, "weight_ih_l0", "cayley", blocks=3)
    parametrize.remove_parametrizations(layer, "weight_hh_l0")
    assert isinstance(layer.weight_hh_l0, nn.Parameter)
    assert defect(layer.weight_ih_l0.chunk(3)[1]) <= bound(torch.float32, 8)
    again = pickle.loads(pickle.dumps(layer))
    x = torch.randn(3, 2, 8)
    assert torch.equal(again(x)[0], layer(x)[0])


def test_frozen_weight_stays_frozen():
    layer = nn.Linear(4, 4)
    layer.weight.requires_grad_(False)
    orthogonal(layer, "weight", "lie_exp")
    assert not layer.weight.requires_grad
    assert all(not p.requires_grad for p in layer.parametrizations.parameters())
    value = layer.weight.clone()
    parametrize.remove_parametrizations(layer, "weight")
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias"}
    assert not layer.weight.requires_grad
    assert torch.equal(layer.weight, value)


def test_training_mode_follows_the_module():
    layer = nn.Linear(4, 4).eval()
    orthogonal(layer)
    assert not layer.parametrizations.weight[0].training
    layer.train()
    assert layer.parametrizations.weight[0].training


def test_pickle_and_deepcopy_keep_the_outputs(layer):
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    unitary_zoo.attach(layer, optimizer)
    x = torch.randn(2, 3)
    layer(x).sum().backward()
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    for other in (
        pickle.loads(pickle.dumps(layer)),
        copy.deepcopy(layer),
        torch.load(buffer, weights_only=False),
    ):
        assert torch.equal(other(x), layer(x))
        assert isinstance(other, nn.Linear)
        own = {p.data_ptr() for p in layer.parameters()}
        assert not own & {p.data_ptr() for p in other.parameters()}
        unitary_zoo.attach(other, torch.optim.SGD(other.parameters(), lr=0.1))


def test_state_dict_round_trip_keeps_the_weight(layer):
    other = linear(5, 3, layer.parametrizations.weight[0].schemes[0].info.name)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.weight, layer.weight)


def test_reset_parameters_draws_a_new_weight(layer):
    before = layer.weight.detach().clone()
    layer.reset_parameters()
    assert (layer.weight - before).abs().max() > 1e-3
    assert defect(layer.weight) <= bound(torch.float32, 5)
    gru = orthogonal(nn.GRU(3, 8), "weight_hh_l0", "svd_projection", blocks=3)
    gru.reset_parameters()  # which writes to all parameters
    assert defect(gru.weight_hh_l0.chunk(3)[2]) <= bound(torch.float32, 8)


def test_parameter_is_assigned_by_its_values(layer):
    wanted = haar(5, 3, seed=4, dtype=torch.float32)
    layer.weight = nn.Parameter(wanted)
    torch.testing.assert_close(layer.weight, wanted, rtol=0, atol=1e-5)
    assert "weight" not in dict(layer.named_parameters())
    assert layer.weight.requires_grad
    layer.weight = nn.Parameter(wanted, requires_grad=False)  # frozen, as the weight of any layer
    assert not layer.weight.requires_grad


@pytest.mark.parametrize(
    ("kind", "name", "blocks"),
    [
        (nn.RNN, "weight_hh_l0", 1), (nn.GRU, "weight_hh_l0", 3), (nn.LSTM, "weight_hh_l0", 4),
        (nn.MultiheadAttention, "in_proj_weight", 3),
    ],
)  # fmt: skip
def test_parameter_is_assigned_to_the_blocks_of_a_layer(kind, name, blocks):
    layer = orthogonal(kind(4, 4), name, "expm", blocks=blocks)
    options = {"determinant": 1, "dtype": torch.float32}
    wanted = torch.cat([haar(4, 4, seed=i, **options) for i in range(blocks)])
    setattr(layer, name, nn.Parameter(wanted))
    torch.testing.assert_close(getattr(layer, name), wanted, rtol=0, atol=1e-5)
    x = torch.randn(2, 3, 4)
    plain = kind(4, 4)
    plain.load_state_dict(unitary_zoo.plain_state_dict(layer))
    arguments = (x, x, x) if kind is nn.MultiheadAttention else (x,)
    torch.testing.assert_close(layer(*arguments)[0], plain(*arguments)[0])


def test_computed_weight_is_not_registered_nor_replaced_by_another_object(layer):
    with pytest.raises(ValueError, match=r"weight is computed.*layer\.weight = X"):
        layer.register_parameter("weight", nn.Parameter(torch.eye(5, 3)))
    with pytest.raises(TypeError, match="weight = None; assign a tensor"):
        layer.weight = None
    layer.register_parameter("other", nn.Parameter(torch.ones(1)))
    assert {"other"} <= dict(layer.named_parameters()).keys()


@pytest.mark.parametrize(
    ("make", "scheme"),
    [(lambda: nn.Linear(4, 4), "lie_exp"), (lambda: nn.Conv2d(3, 4, 2), "expm")],
    ids=["rebased", "stack"],
)
def test_assigned_parameter_freezes_and_unfreezes(make, scheme):
    layer = orthogonal(make(), "weight", scheme)
    learned = {key for key, p in layer.named_parameters() if p.requires_grad}
    for requires_grad in (False, True):
        layer.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad)
        now = {key for key, p in layer.named_parameters() if p.requires_grad}
        assert now == (learned if requires_grad else {"bias"})
