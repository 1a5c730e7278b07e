"""orthogonal(): any layer's weight, and everything that is done to layers afterwards."""

import abc
import copy
import io
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import unitary_zoo
from unitary_zoo import (
    NotProjectedError,
    NotRepresentableError,
    Parametrization,
    orthogonal,
    plain_state_dict,
)
from unitary_zoo.weights._weight import _MANY, OrthogonalWeight

FAMILIES = ["cayley", "lie_exp", "svd_projection"]  # static, rebased, projected
SHAPES = [(4, 4), (5, 3), (3, 5), (1, 1), (7, 1), (1, 7), (17, 2)]

# Inductor compiles its templates by what torch itself has deprecated.
compiles = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def size(scheme, wanted):
    """The next size from the one wanted on at which the scheme exists."""
    accepts = Parametrization.get(scheme).info.accepts
    return next(n for n in range(wanted, 4 * wanted) if accepts(n))


def defect(w):
    """Largest entry of Q^H Q - I of each matrix, in numpy and double precision."""
    w = w.detach()
    w = w.to(torch.complex128 if w.is_complex() else torch.float64).numpy()
    w = w if w.shape[-2] >= w.shape[-1] else w.swapaxes(-1, -2).conj()
    return np.abs(w.conj().swapaxes(-1, -2) @ w - np.eye(w.shape[-1])).max()


def bound(dtype, n):
    # The schemes claim 8 sqrt(n) eps in the 2-norm, which no entry exceeds.
    return 8 * n**0.5 * torch.finfo(dtype).eps


def haar(rows, columns, seed=0, dtype=torch.float64, determinant=None):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(max(rows, columns), min(rows, columns)))
    if dtype.is_complex:
        a = a + 1j * rng.normal(size=a.shape)
    q, r = np.linalg.qr(a)
    q = q * np.sign(np.diag(r).real)
    if determinant is not None and np.linalg.det(q) * determinant < 0:
        q[:, 0] *= -1
    q = q if rows >= columns else q.conj().T
    return torch.from_numpy(np.ascontiguousarray(q)).to(dtype)


def linear(rows, columns, scheme="cayley", **options):
    how = {key: options.pop(key) for key in ("dtype", "bias", "device") if key in options}
    return orthogonal(nn.Linear(columns, rows, **how), "weight", scheme, **options)


# ------------------------------------------------------------------------------- what it computes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scheme", Parametrization.names(exact=True, fields="real"))
def test_weight_is_orthogonal_and_learns(scheme, shape, dtype):
    shape = tuple(size(scheme, side) for side in shape)
    torch.manual_seed(0)
    layer = linear(*shape, scheme, dtype=dtype)
    limit = 4 * Parametrization.get(scheme).info.tolerance(max(shape), dtype)
    assert (layer.weight.shape, layer.weight.dtype) == (torch.Size(shape), dtype)
    assert defect(layer.weight) <= limit
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2)
    handle = unitary_zoo.attach(layer, optimizer)
    target = haar(*shape, seed=1, dtype=dtype)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = (layer.weight - target).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    handle.remove()
    assert defect(layer.weight) <= limit
    # (1, 1) has no direction to learn in, and others may have started at the target
    assert losses[-1] < losses[0] or losses[0] < 1e-3 or 1 in shape


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("field", ["real", "complex"])
def test_weight_starts_as_the_nearest_to_what_it_was(shape, field):
    dtype = torch.complex128 if field == "complex" else torch.float64
    torch.manual_seed(1)
    layer = nn.Linear(shape[1], shape[0], dtype=dtype)
    u, _, vh = np.linalg.svd(layer.weight.detach().numpy(), full_matrices=False)
    orthogonal(layer, "weight", "lie_exp")
    # The polar factor's condition is the inverse of the least singular value, far above 1e-3.
    np.testing.assert_allclose(layer.weight.detach().numpy(), u @ vh, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("scheme", Parametrization.names(exact=True, fields="complex"))
def test_complex_weight_is_unitary(scheme, shape, dtype):
    shape = tuple(size(scheme, side) for side in shape)
    layer = linear(*shape, scheme, dtype=dtype)
    limit = 4 * Parametrization.get(scheme).info.tolerance(max(shape), dtype)
    assert (layer.weight.dtype, layer.weight.is_complex()) == (dtype, True)
    assert defect(layer.weight) <= limit
    assert all(not p.is_complex() for p in layer.parametrizations.parameters())


def test_complex_dtype_follows_the_module():
    layer = linear(3, 3, "expm", dtype=torch.complex64)
    assert layer.double().weight.dtype == torch.complex128
    assert layer.float().weight.dtype == torch.complex64


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d])
def test_flattened_convolution(kind):
    layer = orthogonal(kind(3, 8, 2), "weight", "expm", flatten=True)
    assert defect(layer.weight.flatten(1)) <= bound(torch.float32, 24)
    assert torch.isfinite(layer(torch.randn(2, 3, *[4] * (layer.weight.dim() - 2)))).all()


@pytest.mark.parametrize("scheme", FAMILIES)
def test_convolution_without_flatten_is_a_batch_of_kernels(scheme):
    layer = orthogonal(nn.Conv2d(3, 4, (3, 2)), "weight", scheme)
    weight = layer.parametrizations.weight[0]
    assert len(weight.schemes) == 12 >= _MANY
    assert defect(layer.weight) <= bound(torch.float32, 3)
    # One call for all of them equals one for each, gradients too.
    each = torch.stack([p.columns(2) for p in weight.schemes]).reshape(layer.weight.shape)
    torch.testing.assert_close(layer.weight, each, rtol=0, atol=1e-6)
    functional = torch.randn(each.shape)
    parameters = list(layer.parametrizations.parameters())
    together = torch.autograd.grad((layer.weight * functional).sum(), parameters)
    apart = torch.autograd.grad((each * functional).sum(), parameters)
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_embedding():
    layer = orthogonal(nn.Embedding(11, 3), "weight", "expm")
    assert defect(layer.weight) <= bound(torch.float32, 11)
    torch.testing.assert_close(layer(torch.tensor([4, 2])), layer.weight[[4, 2]])


class Custom(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(*shape))


class AbstractCustom(Custom, abc.ABC):
    """Its class has a type of its own."""


@pytest.mark.parametrize("cls", [Custom, AbstractCustom])
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (9, 5, 2), (2, 2, 6)])
def test_custom_module_with_a_batch(cls, shape):
    layer = orthogonal(cls(*shape), "kernel", "cayley")
    assert layer.kernel.shape == shape
    assert defect(layer.kernel) <= bound(torch.float32, max(shape[-2:]))
    torch.testing.assert_close(pickle.loads(pickle.dumps(layer)).kernel, layer.kernel)


# --------------------------------------------------------------------- recurrent layers, attention


@pytest.mark.parametrize("scheme", FAMILIES)
@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_every_gate_is_orthogonal_and_used(kind, gates, scheme):
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


def test_a_recurrent_layer_computes_its_weight_once_a_pass(monkeypatch):
    layer = orthogonal(nn.GRU(3, 4), "weight_hh_l0", "expm", blocks=3)
    reads = []
    forward = OrthogonalWeight.forward
    monkeypatch.setattr(OrthogonalWeight, "forward", lambda self: reads.append(1) or forward(self))
    layer(torch.randn(2, 1, 3))
    assert len(reads) == 1


@pytest.mark.parametrize("scheme", FAMILIES)
def test_attention(scheme):
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
def test_lazy_layer_gets_its_scheme_at_the_first_batch(scheme):
    layer = nn.LazyLinear(4)
    assert orthogonal(layer, "weight", scheme) is layer
    with pytest.raises(ValueError, match="no Parametrization"):
        unitary_zoo.attach(layer, torch.optim.SGD([nn.Parameter(torch.zeros(1))]))
    out = layer(torch.ones(2, 7))
    assert isinstance(layer, nn.Linear)
    assert defect(layer.weight) <= bound(torch.float32, 7)
    torch.testing.assert_close(layer(torch.ones(2, 7)), out)  # the first pass used it already
    assert not layer._forward_pre_hooks


# --------------------------------------------------------------------------------- assignment


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (7, 1), (1, 7), (33, 17)])
@pytest.mark.parametrize("scheme", FAMILIES)
def test_assigning_an_orthogonal_weight_is_exact(scheme, shape):
    layer = linear(*shape, scheme, dtype=torch.float64)
    square = shape[0] == shape[1]
    wanted = haar(*shape, seed=5, determinant=1 if square else None)
    layer.weight = wanted
    # assign_ states 100 n eps in the 2-norm
    assert (layer.weight - wanted).abs().max() <= 100 * max(shape) * torch.finfo(wanted.dtype).eps


@pytest.mark.parametrize("scheme", FAMILIES)
def test_assigning_any_other_weight_takes_the_nearest(scheme):
    layer = linear(5, 3, scheme, dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    layer.weight = x
    u, _, vh = np.linalg.svd(x.numpy(), full_matrices=False)
    np.testing.assert_allclose(layer.weight.detach().numpy(), u @ vh, atol=1e-11)


def test_the_other_component_is_refused_and_nothing_changed():
    layer = linear(4, 4, "expm")
    before = layer.weight.detach().clone()
    with pytest.raises(NotRepresentableError, match="expm"):
        layer.weight = haar(4, 4, determinant=-1)
    assert torch.equal(layer.weight, before)
    layer = linear(4, 4, "lie_exp")
    layer.weight = haar(4, 4, determinant=-1)
    assert torch.linalg.det(layer.weight) < 0


def test_the_other_component_is_refused_also_where_it_has_to_be_projected():
    layer = linear(4, 4, "cayley")
    before = layer.weight.detach().clone()
    with pytest.raises(NotRepresentableError, match="cayley"):
        layer.weight = haar(4, 4, determinant=-1) + 1e-3
    assert torch.equal(layer.weight, before)


def test_a_scheme_that_is_not_unitary_takes_what_is_in_its_band():
    layer = linear(5, 3, "spectral_band", radius=0.5, dtype=torch.float64)
    wanted = haar(5, 3) @ torch.diag(torch.tensor([0.7, 1.0, 1.3], dtype=torch.float64))
    layer.weight = wanted
    torch.testing.assert_close(layer.weight, wanted, rtol=0, atol=1e-10)


def test_a_refusal_in_one_block_leaves_the_others():
    layer = Custom(3, 4, 4)
    orthogonal(layer, "kernel", "expm")
    before = layer.kernel.detach().clone()
    value = torch.stack([haar(4, 4, seed, determinant=1 - 2 * (seed == 2)) for seed in range(3)])
    with pytest.raises(NotRepresentableError):
        layer.kernel = value
    assert torch.equal(layer.kernel, before)


def test_bad_values_are_refused():
    layer = linear(4, 3)
    before = layer.weight.detach().clone()
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(4, 3\)"):
        layer.weight = torch.eye(3, 4)
    with pytest.raises(ValueError, match="finite"):
        layer.weight = torch.full((4, 3), torch.nan)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("init", ["haar", "henaff", "identity"])
def test_init_by_name(init):
    torch.manual_seed(3)
    layer = linear(5, 5, "expm", init=init, dtype=torch.float64)
    torch.manual_seed(3)
    wanted = Parametrization.create("expm", 5, dtype=torch.float64)
    nn.Linear(5, 5)  # draws as the layer does
    torch.manual_seed(3)
    nn.Linear(5, 5, dtype=torch.float64)
    wanted = Parametrization.create("expm", 5, dtype=torch.float64)
    wanted.reset_parameters(init)
    torch.testing.assert_close(layer.weight, wanted.matrix(), rtol=0, atol=1e-12)


def test_init_by_a_matrix():
    wanted = haar(5, 3, seed=8, dtype=torch.float32)
    layer = linear(5, 3, "cayley", init=wanted)
    torch.testing.assert_close(layer.weight, wanted, rtol=0, atol=1e-5)


def test_a_scheme_without_assignment_starts_as_it_does_and_refuses():
    layer = linear(9, 9, "arjovsky", dtype=torch.complex64)
    before = layer.weight.detach().clone()
    for value in (haar(9, 9), torch.ones(9, 9)):
        with pytest.raises(NotRepresentableError, match="arjovsky"):
            layer.weight = value
        assert torch.equal(layer.weight, before)


# ------------------------------------------------------------------------------------ bad arguments


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: orthogonal("layer"), TypeError, "not a torch.nn.Module"),
        (lambda: orthogonal(nn.Linear(3, 3), "wieght"), ValueError, "'wieght'.*'weight'"),
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
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_refused_layer_is_left_as_it_was():
    layer = nn.Linear(3, 4)
    weight = layer.weight
    with pytest.raises(ValueError, match="special"):
        orthogonal(layer, "weight", "expm", special=False)
    assert layer.weight is weight
    assert type(layer) is nn.Linear


# --------------------------------------------------------------- torch.nn.utils.parametrize


class Scaled(nn.Module):
    def forward(self, x):
        return 3 * x

    def right_inverse(self, x):
        return x / 3


@pytest.mark.parametrize("scheme", FAMILIES)
def test_remove_leaves_the_value_and_the_class(scheme):
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


def test_other_parametrizations_go_on_top():
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


def test_modules_that_share_a_class_do_not_disturb_each_other():
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


def test_two_tensors_of_one_module():
    layer = nn.GRU(8, 8)
    orthogonal(layer, "weight_hh_l0", "expm", blocks=3)
    orthogonal(layer, "weight_ih_l0", "cayley", blocks=3)
    parametrize.remove_parametrizations(layer, "weight_hh_l0")
    assert isinstance(layer.weight_hh_l0, nn.Parameter)
    assert defect(layer.weight_ih_l0.chunk(3)[1]) <= bound(torch.float32, 8)
    again = pickle.loads(pickle.dumps(layer))
    x = torch.randn(3, 2, 8)
    assert torch.equal(again(x)[0], layer(x)[0])


def test_frozen_stays_frozen():
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


def test_training_mode_follows():
    layer = nn.Linear(4, 4).eval()
    orthogonal(layer)
    assert not layer.parametrizations.weight[0].training
    layer.train()
    assert layer.parametrizations.weight[0].training


# ------------------------------------------------------------------------------------- the cache


@pytest.fixture(params=FAMILIES)
def layer(request):
    torch.manual_seed(0)
    return linear(5, 3, request.param)


def gradients(layer):
    return [p.grad.clone() for p in layer.parametrizations.parameters()]


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


def test_cached_is_not_stale_after_a_step(layer):
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    unitary_zoo.attach(layer, optimizer)
    with parametrize.cached():
        before = layer.weight.detach().clone()
        (layer.weight * torch.randn(5, 3)).sum().backward()
        optimizer.step()
        inside = layer.weight.detach().clone()
    assert (inside - before).abs().max() > 1e-4
    assert torch.equal(inside, layer.weight)


def test_cached_sees_writes_by_way_of_data():
    layer = linear(5, 3, "expm")
    with parametrize.cached():
        before = layer.weight.detach().clone()
        layer.parametrizations.weight[0].schemes[0].theta.data.mul_(2)
        assert (layer.weight - before).abs().max() > 1e-4


def test_cached_read_without_gradient_does_not_stick(layer):
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


def test_cached_second_derivative():
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


def test_cached_assignment_is_seen(layer):
    with parametrize.cached():
        assert layer.weight is not None
        wanted = haar(5, 3, seed=4, dtype=torch.float32)
        layer.weight = wanted
        torch.testing.assert_close(layer.weight, wanted, rtol=0, atol=1e-5)


# ----------------------------------------------------------------- saving, loading, casting


def test_pickle_and_deepcopy(layer):
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


def test_state_dict_round_trip(layer):
    other = linear(5, 3, layer.parametrizations.weight[0].schemes[0].info.name)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.weight, layer.weight)


def test_plain_checkpoint_there_and_back(layer):
    model = nn.Sequential(layer, nn.Tanh(), nn.Linear(5, 2))
    plain = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    state = plain_state_dict(model)
    assert state.keys() == plain.state_dict().keys()
    plain.load_state_dict(state)
    x = torch.randn(2, 3)
    torch.testing.assert_close(plain(x), model(x), rtol=0, atol=1e-6)
    name = layer.parametrizations.weight[0].schemes[0].info.name
    other = nn.Sequential(linear(5, 3, name), nn.Tanh(), nn.Linear(5, 2))
    assert not other.load_state_dict(plain.state_dict()).missing_keys
    torch.testing.assert_close(other(x), model(x), rtol=0, atol=1e-5)


def test_plain_checkpoint_that_is_not_orthogonal_is_projected_with_a_warning(layer):
    plain = nn.Linear(3, 5)
    u, _, vh = np.linalg.svd(plain.weight.detach().numpy(), full_matrices=False)
    with pytest.warns(UserWarning, match="weight: the plain weight loaded.*nearest"):
        layer.load_state_dict(plain.state_dict())
    np.testing.assert_allclose(layer.weight.detach().numpy(), u @ vh, atol=1e-5)


def test_plain_checkpoint_that_cannot_be_taken_is_an_error():
    layer, plain = linear(4, 4, "expm"), nn.Linear(4, 4)
    before = layer.weight.detach().clone()
    with torch.no_grad():
        plain.weight.copy_(haar(4, 4, determinant=-1))
    with pytest.raises(RuntimeError, match="weight: expm cannot represent"):
        layer.load_state_dict(plain.state_dict())
    with pytest.raises(RuntimeError, match=r"weight: the value has shape \(3, 4\)"):
        layer.load_state_dict(nn.Linear(4, 3).state_dict(), strict=False)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_low_precision_is_the_cast_of_an_orthogonal_matrix(layer, low):
    layer.to(low)
    master = layer.parametrizations.weight[0].schemes[0]
    assert master.dtype == torch.float32
    assert layer.weight.dtype == low
    assert torch.equal(layer.weight, master.columns(3).to(low))
    assert defect(master.columns(3)) <= bound(torch.float32, 5)
    assert layer.bias.dtype == low
    # Many steps too small for the low precision add up in the master.
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-4)
    unitary_zoo.attach(layer, optimizer)
    before = layer.weight.detach().clone()
    functional = torch.randn(5, 3).to(low)
    for _ in range(200):
        optimizer.zero_grad()
        (layer.weight * functional).sum().backward()
        optimizer.step()
    assert (layer.weight - before).abs().max() > 1e-3
    assert defect(master.columns(3)) <= bound(torch.float32, 5)
    assert defect(layer.float().weight) <= bound(torch.float32, 5)


def test_a_layer_that_starts_in_low_precision(layer):
    name = layer.parametrizations.weight[0].schemes[0].info.name
    low = linear(5, 3, name, dtype=torch.bfloat16)
    assert low.weight.dtype == torch.bfloat16
    assert defect(low.parametrizations.weight[0].schemes[0].matrix()) <= bound(torch.float32, 5)


def test_meta_device_then_memory_then_start(layer):
    name = layer.parametrizations.weight[0].schemes[0].info.name
    late = linear(5, 3, name, device="meta")
    assert late(torch.ones(2, 3, device="meta")).shape == (2, 5)
    late.to_empty(device="cpu")
    late.reset_parameters()
    assert defect(late.weight) <= bound(torch.float32, 5)
    late = linear(5, 3, name, device="meta")
    late.load_state_dict(layer.state_dict(), assign=True)
    assert torch.equal(late.weight, layer.weight)


def test_reset_parameters_draws_anew(layer):
    before = layer.weight.detach().clone()
    layer.reset_parameters()
    assert (layer.weight - before).abs().max() > 1e-3
    assert defect(layer.weight) <= bound(torch.float32, 5)
    gru = orthogonal(nn.GRU(3, 8), "weight_hh_l0", "svd_projection", blocks=3)
    gru.reset_parameters()  # which writes to all parameters
    assert defect(gru.weight_hh_l0.chunk(3)[2]) <= bound(torch.float32, 8)


# ------------------------------------------------------ compilers, transforms, averages, AMP


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile(layer, backend):
    torch._dynamo.reset()
    x = torch.randn(2, 3)
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    functional = torch.randn(2, 5)
    parameters = list(layer.parameters())
    wanted = torch.autograd.grad((layer(x) * functional).sum(), parameters)
    torch.testing.assert_close(compiled(x), layer(x), rtol=0, atol=1e-6)
    found = torch.autograd.grad((compiled(x) * functional).sum(), parameters)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # new numbers, the same graph
        for scheme in layer.parametrizations.weight[0].schemes:
            scheme.reset_parameters("haar")
    torch.testing.assert_close(compiled(x), layer(x), rtol=0, atol=1e-6)


EVERY = [
    (name, field)
    for name in Parametrization.names()
    for field in Parametrization.get(name).info.fields
]


@pytest.mark.filterwarnings("ignore")  # of what the compiler itself calls
@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "field"), EVERY, ids=str)
def test_inductor_makes_the_same_numbers_of_every_scheme(scheme, field):
    # The kit compiles each scheme without generating code; the code has been wrong where the
    # compiler's own derivative of a complex QR decomposition went into it.
    torch._dynamo.reset()
    torch.manual_seed(0)
    dtype = torch.complex64 if field == "complex" else torch.float32
    layer = linear(4, 3, scheme, dtype=dtype)
    x, functional = torch.randn(2, 3, dtype=dtype), torch.randn(2, 4, dtype=dtype)
    parameters = list(layer.parameters())
    compiled = torch.compile(layer, backend="inductor", fullgraph=True)
    out, wanted = compiled(x), layer(x)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-5)
    found = torch.autograd.grad((out * functional).real.sum(), parameters, allow_unused=True)
    plain = torch.autograd.grad((wanted * functional).real.sum(), parameters, allow_unused=True)
    for a, b in zip(found, plain, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_compiled_code_refuses_an_unprojected_weight():
    torch._dynamo.reset()
    layer = linear(4, 4, "svd_projection")
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    compiled(torch.ones(4))
    with torch.no_grad():
        layer.parametrizations.weight[0].schemes[0].weight.mul_(1.1)
    with pytest.raises(NotProjectedError, match="attach"):
        compiled(torch.ones(4))


def test_export(layer):
    x = torch.randn(2, 3)
    program = torch.export.export(layer, (x,))
    torch.testing.assert_close(program.module()(x), layer(x), rtol=0, atol=1e-6)
    plain = copy.deepcopy(layer)
    parametrize.remove_parametrizations(plain, "weight")
    names = {str(node.target) for node in torch.export.export(plain, (x,)).graph.nodes}
    assert not any("unitary_zoo" in name for name in names)


def test_ensemble_of_layers_built_apart(layer):
    name = layer.parametrizations.weight[0].schemes[0].info.name
    layers = [layer, *(linear(5, 3, name) for _ in range(2))]
    parameters, buffers = torch.func.stack_module_state(layers)
    base = copy.deepcopy(layer).to("meta")
    x = torch.randn(2, 3)

    def loss(parameters, buffers):
        return torch.func.functional_call(base, (parameters, buffers), (x,)).pow(3).sum()

    found = torch.vmap(loss)(parameters, buffers)
    wanted = torch.stack([m(x).pow(3).sum() for m in layers])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    grads = torch.vmap(torch.func.grad(loss))(parameters, buffers)
    for i, m in enumerate(layers):
        m(x).pow(3).sum().backward()
        for key, p in m.named_parameters():
            torch.testing.assert_close(grads[key][i], p.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("use_buffers", [False, True])
def test_moving_average(layer, use_buffers):
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
    unitary_zoo.attach(layer, optimizer)
    average = AveragedModel(layer, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=use_buffers)
    target = haar(5, 3, seed=2, dtype=torch.float32)
    for _ in range(10):
        optimizer.zero_grad()
        (layer.weight - target).square().sum().backward()
        optimizer.step()
        average.update_parameters(layer)
    family = layer.parametrizations.weight[0].schemes[0].info.family
    if family == "projected":
        with pytest.raises(NotProjectedError, match="retract_"):
            average.module(torch.ones(3))
    unitary_zoo.retract_(average)
    w = average.module.weight
    assert defect(w) <= bound(torch.float32, 5)
    assert (w - target).norm() < 1.0
    if use_buffers or family != "rebased":
        assert (w - layer.weight).abs().max() > 1e-6, "an average lags behind"


def test_gradient_scaler(layer):
    # Scaled losses, and steps skipped for infinite gradients, as on an accelerator.
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2)
    unitary_zoo.attach(layer, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    target = torch.randn(8, 5)
    x = torch.randn(8, 3)
    losses = []
    for step in range(30):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = layer(x)
            assert layer.weight.dtype == torch.float32
        loss = (out.float() - target).square().mean()
        before = layer.weight.detach().clone()
        scaler.scale(loss * (float("inf") if step == 7 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        assert defect(layer.weight) <= bound(torch.float32, 5)
        assert torch.equal(layer.weight, before) == (step == 7)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


RANK = """
    import sys, torch
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel
    import unitary_zoo

    rank, store = int(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    for name, field in [pair.split(":") for pair in sys.argv[3:]]:
        torch.manual_seed(rank)  # each its own start, which DDP replaces by that of rank 0
        dtype = torch.complex64 if field == "complex" else torch.float32
        layer = unitary_zoo.orthogonal(nn.Linear(4, 6, dtype=dtype), "weight", name)
        model = DistributedDataParallel(layer)
        optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.9)
        unitary_zoo.attach(model, optimizer)
        first = layer.weight.detach().clone()
        for step in range(50):
            source = torch.Generator().manual_seed(2 * step + rank)
            x = torch.randn(3, 4, dtype=dtype, generator=source)
            optimizer.zero_grad()
            model(x).abs().pow(3).sum().backward()
            optimizer.step()
        w = layer.weight.detach()
        real = (torch.view_as_real(w.resolve_conj()) if w.is_complex() else w).contiguous()
        both = [torch.empty_like(real) for _ in range(2)]
        torch.distributed.all_gather(both, real)
        assert torch.equal(*both), f"{name}: ranks differ by {(both[0] - both[1]).abs().max()}"
        off = (w.mH @ w - torch.eye(4)).abs().max()
        assert off < 1e-5, f"{name}: defect {off}"
        assert (w - first).abs().max() > 1e-3, f"{name} has not moved"
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_keep_identical_weights(tmp_path):
    script = tmp_path / "rank.py"
    script.write_text(textwrap.dedent(RANK))
    real = [*FAMILIES, "householder", "qr", "dtriv", "projunn_t", "polar_newton_schulz"]
    pairs = [f"{name}:real" for name in real] + ["full_capacity:complex", "arjovsky:complex"]
    arguments = [str(tmp_path / "store"), *pairs]
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), *arguments],
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
