"""orthogonal(): its arguments, and the kinds of layers it serves."""

import abc
import pickle

import pytest
import torch
from torch import nn

import unitary_zoo
from tests.oracles import defect
from tests.torch_internals import forward_pre_hooks
from tests.weights.layers import FAMILIES, Custom, bound
from unitary_zoo import orthogonal, plain_state_dict
from unitary_zoo.weights._weight import OrthogonalWeight


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d])
def test_orthogonal_convolution_flattened(kind):
    layer = orthogonal(kind(3, 8, 2), "weight", "expm", flatten=True)
    assert defect(layer.weight.flatten(1)) <= bound(torch.float32, 24)
    assert torch.isfinite(layer(torch.randn(2, 3, *[4] * (layer.weight.dim() - 2)))).all()


def test_orthogonal_embedding():
    layer = orthogonal(nn.Embedding(11, 3), "weight", "expm")
    assert defect(layer.weight) <= bound(torch.float32, 11)
    torch.testing.assert_close(layer(torch.tensor([4, 2])), layer.weight[[4, 2]])


class AbstractCustom(Custom, abc.ABC):
    """Its class has a type of its own."""


@pytest.mark.parametrize("cls", [Custom, AbstractCustom])
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (9, 5, 2), (2, 2, 6)])
def test_orthogonal_custom_module_with_a_batch(cls, shape):
    layer = orthogonal(cls(*shape), "kernel", "cayley")
    assert layer.kernel.shape == shape
    assert defect(layer.kernel) <= bound(torch.float32, max(shape[-2:]))
    torch.testing.assert_close(pickle.loads(pickle.dumps(layer)).kernel, layer.kernel)


@pytest.mark.parametrize("scheme", FAMILIES)
@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_orthogonal_recurrent_layer_uses_every_gate(kind, gates, scheme):
    torch.manual_seed(0)
    layer = kind(3, 8, num_layers=2, bidirectional=True)
    for name in ("weight_hh_l0", "weight_hh_l1_reverse"):
        orthogonal(layer, name, scheme, blocks=gates)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    unitary_zoo.attach(layer, optimizer)
    x = torch.randn(5, 2, 3)
    for _ in range(3):
        for gate in layer.weight_hh_l0.chunk(gates):
            assert defect(gate) <= bound(torch.float32, 8)
        plain = kind(3, 8, num_layers=2, bidirectional=True)
        plain.load_state_dict(plain_state_dict(layer))
        torch.testing.assert_close(layer(x)[0], plain(x)[0], rtol=0, atol=0)
        before = layer.weight_hh_l0.detach().clone()
        optimizer.zero_grad()
        layer(x)[0].square().sum().backward()
        optimizer.step()
        assert (layer.weight_hh_l0 - before).abs().max() > 1e-4


def test_recurrent_layer_computes_its_weight_once_a_pass(monkeypatch):
    layer = orthogonal(nn.GRU(3, 4), "weight_hh_l0", "expm", blocks=3)
    reads = []
    forward = OrthogonalWeight.forward
    monkeypatch.setattr(OrthogonalWeight, "forward", lambda self: reads.append(1) or forward(self))
    layer(torch.randn(2, 1, 3))
    assert len(reads) == 1


@pytest.mark.parametrize("scheme", FAMILIES)
def test_orthogonal_attention(scheme):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2)
    orthogonal(layer, "in_proj_weight", scheme, blocks=3)
    orthogonal(layer.out_proj, "weight", scheme)
    for projection in layer.in_proj_weight.chunk(3):
        assert defect(projection) <= bound(torch.float32, 8)
    plain = nn.MultiheadAttention(8, 2)
    plain.load_state_dict(plain_state_dict(layer))
    x = torch.randn(4, 3, 8)
    torch.testing.assert_close(layer(x, x, x)[0], plain(x, x, x)[0], rtol=0, atol=0)
    layer.eval()  # the fused route
    with torch.no_grad():
        torch.testing.assert_close(layer(x, x, x)[0], plain(x, x, x)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scheme", FAMILIES)
def test_orthogonal_lazy_layer_gets_its_scheme_at_the_first_batch(scheme):
    layer = nn.LazyLinear(4)
    assert orthogonal(layer, "weight", scheme) is layer
    with pytest.raises(ValueError, match="no Parametrization"):
        unitary_zoo.attach(layer, torch.optim.SGD([nn.Parameter(torch.zeros(1))]))
    out = layer(torch.ones(2, 7))
    assert isinstance(layer, nn.Linear)
    assert defect(layer.weight) <= bound(torch.float32, 7)
    torch.testing.assert_close(layer(torch.ones(2, 7)), out)  # the first pass used it already
    assert forward_pre_hooks(layer) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: orthogonal("layer"), TypeError, "not a torch.nn.Module"),
        (lambda: orthogonal(nn.Linear(3, 3), "wieght"), ValueError, "'wieght'.*'weight'"),
        (lambda: orthogonal(nn.Linear(3, 3), "x.weight"), ValueError, "'x.weight'.*'weight'"),
        (
            lambda: orthogonal(nn.MultiheadAttention(4, 2), "out_proj.weight"), ValueError,
            r"orthogonal\(module.out_proj, 'weight'\)",
        ),
        (
            lambda: orthogonal(nn.Sequential(nn.Sequential(nn.Linear(3, 3))), "0.0.weight"),
            ValueError, r"orthogonal\(module\[0\]\[0\], 'weight'\)",
        ),
        (
            lambda: orthogonal(nn.MultiheadAttention(4, 2), "out_proj"), ValueError,
            r"'out_proj' is a .*orthogonal\(module.out_proj, NAME\).*'weight'",
        ),
        (lambda: orthogonal(nn.Linear(3, 3), "bias"), ValueError, r"bias has shape \(3,\)"),
        (lambda: orthogonal(nn.Linear(3, 3), "weight", 7), TypeError, "scheme=7"),
        (lambda: orthogonal(nn.Linear(3, 3), "weight", "caylay"), LookupError, "cayley"),
        (lambda: orthogonal(nn.GRU(3, 8), "weight_hh_l0", blocks=5), ValueError, "blocks=5.*GRU"),
        (lambda: orthogonal(nn.Linear(3, 3), blocks=True), ValueError, "blocks=True"),
        (lambda: orthogonal(nn.Linear(3, 3), flatten=1), TypeError, "flatten=1"),
        (lambda: orthogonal(nn.Linear(3, 3), scheme="arjovsky"), ValueError, "complex only"),
        (lambda: orthogonal(nn.Linear(3, 3), field="complex"), ValueError, "follows the weight"),
        (lambda: orthogonal(nn.Linear(3, 3), dtype=torch.float64), TypeError, "dtype"),
        (lambda: orthogonal(orthogonal(nn.Linear(3, 3))), ValueError, "parametrization already"),
        (lambda: orthogonal(nn.Embedding(5, 3, padding_idx=0)), ValueError, "padding_idx=0"),
        (lambda: orthogonal(nn.Embedding(5, 3, max_norm=1.0)), ValueError, "max_norm=1.0"),
    ],
)  # fmt: skip
def test_orthogonal_refuses_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_orthogonal_leaves_a_refused_layer_unchanged():
    layer = nn.Linear(3, 4)
    weight = layer.weight
    with pytest.raises(ValueError, match="determinant"):
        orthogonal(layer, "weight", "expm", determinant=-1)
    assert layer.weight is weight
    assert type(layer) is nn.Linear
