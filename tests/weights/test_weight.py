"""OrthogonalWeight: values, assignment, starts, precision and the meta device."""

import numpy as np
import pytest
import torch
from torch import nn

import unitary_zoo
from tests.oracles import defect, haar
from tests.weights.layers import FAMILIES, SHAPES, Custom, bound, linear, size
from unitary_zoo import NotRepresentableError, Parametrization, orthogonal
from unitary_zoo.weights._weight import _MANY


# The conformance kit trains square, tall and wide weights in float32.
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((4, 4), torch.float64), ((5, 3), torch.float64), ((3, 5), torch.float64),
        ((1, 1), torch.float32), ((7, 1), torch.float64), ((1, 7), torch.float32),
        ((17, 2), torch.float32),
    ],
)  # fmt: skip
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
    for _ in range(10):
        optimizer.zero_grad()
        loss = (layer.weight - target).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    handle.remove()
    assert defect(layer.weight) <= limit
    # A side of 1 may leave no direction to learn in, and others may start at the target.
    assert losses[-1] < losses[0] or losses[0] < 1e-3 or 1 in shape


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("field", ["real", "complex"])
def test_weight_starts_at_the_nearest_orthogonal_matrix(shape, field):
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


def test_weight_dtype_follows_a_complex_module():
    layer = linear(3, 3, "expm", dtype=torch.complex64)
    assert layer.double().weight.dtype == torch.complex128
    assert layer.float().weight.dtype == torch.complex64


# Static schemes are one module; see test_stack.py.
@pytest.mark.parametrize("scheme", ["lie_exp", "svd_projection"])
def test_weight_of_many_blocks_equals_each_block(scheme):
    layer = orthogonal(nn.Conv2d(3, 4, (3, 2)), "weight", scheme)
    weight = layer.parametrizations.weight[0]
    assert len(weight.schemes) == 12 >= _MANY
    assert defect(layer.weight) <= bound(torch.float32, 3)
    # One call for all of them equals one for each, gradients too.
    each = torch.stack([p.columns(2) for p in weight.schemes]).reshape(layer.weight.shape)
    torch.testing.assert_close(layer.weight, each, rtol=0, atol=1e-6)
    functional = torch.randn(each.shape)
    parameters = [p for p in layer.parametrizations.parameters() if p.requires_grad]
    together = torch.autograd.grad((layer.weight * functional).sum(), parameters)
    apart = torch.autograd.grad((each * functional).sum(), parameters)
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (7, 1), (1, 7), (33, 17)])
@pytest.mark.parametrize("scheme", FAMILIES)
def test_assignment_of_an_orthogonal_matrix_is_exact(scheme, shape):
    layer = linear(*shape, scheme, dtype=torch.float64)
    square = shape[0] == shape[1]
    wanted = haar(*shape, seed=5, determinant=1 if square else None)
    layer.weight = wanted
    # assign_ states 100 n eps in the 2-norm
    assert (layer.weight - wanted).abs().max() <= 100 * max(shape) * torch.finfo(wanted.dtype).eps


@pytest.mark.parametrize("scheme", FAMILIES)
def test_assignment_of_another_matrix_takes_the_nearest(scheme):
    layer = linear(5, 3, scheme, dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    layer.weight = x
    u, _, vh = np.linalg.svd(x.numpy(), full_matrices=False)
    np.testing.assert_allclose(layer.weight.detach().numpy(), u @ vh, atol=1e-11)


def test_assignment_refuses_the_other_component_unchanged():
    layer = linear(4, 4, "expm")
    before = layer.weight.detach().clone()
    with pytest.raises(NotRepresentableError, match="expm"):
        layer.weight = haar(4, 4, determinant=-1)
    assert torch.equal(layer.weight, before)
    layer = linear(4, 4, "lie_exp")
    layer.weight = haar(4, 4, determinant=-1)
    assert torch.linalg.det(layer.weight) < 0


def test_assignment_refuses_the_other_component_off_the_group():
    layer = linear(4, 4, "cayley")
    before = layer.weight.detach().clone()
    with pytest.raises(NotRepresentableError, match="cayley"):
        layer.weight = haar(4, 4, determinant=-1) + 1e-3
    assert torch.equal(layer.weight, before)


def test_assignment_within_the_spectral_band_is_exact():
    layer = linear(5, 3, "spectral_band", radius=0.5, dtype=torch.float64)
    wanted = haar(5, 3) @ torch.diag(torch.tensor([0.7, 1.0, 1.3], dtype=torch.float64))
    layer.weight = wanted
    torch.testing.assert_close(layer.weight, wanted, rtol=0, atol=1e-10)


def test_assignment_refused_in_one_block_leaves_the_others():
    layer = Custom(3, 4, 4)
    orthogonal(layer, "kernel", "expm")
    before = layer.kernel.detach().clone()
    value = torch.stack(
        [haar(4, 4, seed=seed, determinant=1 - 2 * (seed == 2)) for seed in range(3)]
    )
    with pytest.raises(NotRepresentableError):
        layer.kernel = value
    assert torch.equal(layer.kernel, before)


def test_assignment_refuses_bad_values():
    layer = linear(4, 3)
    before = layer.weight.detach().clone()
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(4, 3\)"):
        layer.weight = torch.eye(3, 4)
    with pytest.raises(ValueError, match="finite"):
        layer.weight = torch.full((4, 3), torch.nan)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("init", ["haar", "henaff", "identity"])
def test_weight_init_by_name(init):
    torch.manual_seed(3)
    layer = linear(5, 5, "expm", init=init, dtype=torch.float64)
    torch.manual_seed(3)
    nn.Linear(5, 5, dtype=torch.float64)  # draws as the layer does
    wanted = Parametrization.create("expm", 5, dtype=torch.float64)
    wanted.reset_parameters(init)
    torch.testing.assert_close(layer.weight, wanted.matrix(), rtol=0, atol=1e-12)


def test_weight_init_by_a_matrix():
    wanted = haar(5, 3, seed=8, dtype=torch.float32)
    layer = linear(5, 3, "cayley", init=wanted)
    torch.testing.assert_close(layer.weight, wanted, rtol=0, atol=1e-5)


def test_assignment_refused_by_a_scheme_that_cannot_represent_it():
    layer = linear(9, 9, "arjovsky", dtype=torch.complex64)
    before = layer.weight.detach().clone()
    for value in (haar(9, 9), torch.ones(9, 9)):
        with pytest.raises(NotRepresentableError, match="arjovsky"):
            layer.weight = value
        assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_weight_in_low_precision_is_the_cast_of_an_orthogonal_matrix(layer, low):
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


def test_weight_of_a_layer_built_in_low_precision(layer):
    name = layer.parametrizations.weight[0].schemes[0].info.name
    low = linear(5, 3, name, dtype=torch.bfloat16)
    assert low.weight.dtype == torch.bfloat16
    assert defect(low.parametrizations.weight[0].schemes[0].matrix()) <= bound(torch.float32, 5)


def test_weight_built_on_the_meta_device(layer):
    name = layer.parametrizations.weight[0].schemes[0].info.name
    late = linear(5, 3, name, device="meta")
    assert late(torch.ones(2, 3, device="meta")).shape == (2, 5)
    late.to_empty(device="cpu")
    late.reset_parameters()
    assert defect(late.weight) <= bound(torch.float32, 5)
    late = linear(5, 3, name, device="meta")
    late.load_state_dict(layer.state_dict(), assign=True)
    assert torch.equal(late.weight, layer.weight)
