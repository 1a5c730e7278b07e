"""Reads inside parametrize.cached(): one computation, never stale, with gradients."""

import torch
from torch.nn.utils import parametrize

import unitary_zoo
from tests.oracles import haar
from tests.weights.layers import linear
from unitary_zoo.weights._weight import OrthogonalWeight


def gradients(layer):
    return [p.grad.clone() for p in layer.parametrizations.parameters() if p.requires_grad]


def test_cached_reads_are_one_computation(layer, monkeypatch):
    reads = []
    forward = OrthogonalWeight.forward
    monkeypatch.setattr(OrthogonalWeight, "forward", lambda self: reads.append(1) or forward(self))
    wanted = layer.weight
    with parametrize.cached():
        reads.clear()
        for _ in range(5):
            assert torch.equal(layer.weight, wanted)
        assert len(reads) == 1
    assert layer.weight is not layer.weight


def test_cached_weight_is_not_stale_after_a_step(layer):
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    unitary_zoo.attach(layer, optimizer)
    with parametrize.cached():
        before = layer.weight.detach().clone()
        (layer.weight * torch.randn(5, 3)).sum().backward()
        optimizer.step()
        inside = layer.weight.detach().clone()
    assert (inside - before).abs().max() > 1e-4
    assert torch.equal(inside, layer.weight)


def test_cached_weight_follows_writes_to_data():
    layer = linear(5, 3, "expm")
    with parametrize.cached():
        before = layer.weight.detach().clone()
        layer.parametrizations.weight[0].schemes[0].theta.data.mul_(2)
        assert (layer.weight - before).abs().max() > 1e-4


def test_cached_weight_has_its_gradient_after_a_read_without(layer):
    with parametrize.cached():
        with torch.no_grad():
            assert not layer.weight.requires_grad
        assert layer.weight.requires_grad
        with torch.inference_mode():
            layer(torch.ones(3))
        (layer.weight * torch.arange(15.0).view(5, 3)).sum().backward()
    assert any(g.any() for g in gradients(layer))


def test_cached_gradients_of_two_passes_add_up(layer):
    x, y = torch.randn(2, 3), torch.randn(2, 3)
    layer(x).square().sum().backward()
    layer(y).pow(3).sum().backward()
    wanted = gradients(layer)
    layer.zero_grad()
    with parametrize.cached():
        first, second = layer(x).square().sum(), layer(y).pow(3).sum()
        first.backward()
        second.backward()
        layer(y).sum().backward()
    layer.zero_grad()
    with parametrize.cached():
        first, second = layer(x).square().sum(), layer(y).pow(3).sum()
        first.backward()
        second.backward()
    for a, b in zip(gradients(layer), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_cached_weight_has_a_second_derivative():
    layer = linear(4, 4, "expm", dtype=torch.float64)
    theta = layer.parametrizations.weight[0].schemes[0].theta
    functional = torch.randn(4, 4, dtype=torch.float64)

    def hessian_of_direction():
        (grad,) = torch.autograd.grad(
            (layer.weight.pow(3) * functional).sum(), theta, create_graph=True
        )
        return torch.autograd.grad(grad.square().sum(), theta)[0]

    wanted = hessian_of_direction()
    with parametrize.cached():
        torch.testing.assert_close(hessian_of_direction(), wanted, rtol=1e-10, atol=1e-12)


def test_cached_weight_follows_an_assignment(layer):
    with parametrize.cached():
        assert layer.weight is not None
        wanted = haar(5, 3, seed=4, dtype=torch.float32)
        layer.weight = wanted
        torch.testing.assert_close(layer.weight, wanted, rtol=0, atol=1e-5)
