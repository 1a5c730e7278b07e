"""Orthogonal weights in compilers, transforms, averages and mixed precision."""

import copy

import pytest
import torch
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import unitary_zoo
from tests.oracles import defect, haar
from tests.weights.layers import bound, linear
from unitary_zoo import NotProjectedError
from unitary_zoo._torch import reset_compiler


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # by torch's own calls
@pytest.mark.slow
def test_compiled_layer_equals_eager(layer):
    reset_compiler()
    x = torch.randn(2, 3)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    functional = torch.randn(2, 5)
    parameters = [p for p in layer.parameters() if p.requires_grad]
    wanted = torch.autograd.grad((layer(x) * functional).sum(), parameters)
    torch.testing.assert_close(compiled(x), layer(x), rtol=0, atol=1e-6)
    found = torch.autograd.grad((compiled(x) * functional).sum(), parameters)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # new numbers, the same graph
        for scheme in layer.parametrizations.weight[0].schemes:
            scheme.reset_parameters("haar")
    torch.testing.assert_close(compiled(x), layer(x), rtol=0, atol=1e-6)


# The kit compiles every scheme with the compiler's own derivatives, but without generated code.
# Code is generated here for one scheme of each kind of computation, because the others consist of
# the same operations. For complex numbers, generated code holds derivatives of the compiler and
# leaves the rest to the operators of torch.
GENERATED = [
    *((name, "real") for name in (
        "cayley", "dtriv", "svd_projection", "eunn", "householder", "kronecker", "nnrnn",
        "spectral_band", "eigenphase", "polar_newton_schulz", "qr", "torch_orthogonal",
    )),
    *((name, "complex") for name in ("arjovsky", "qr", "torch_orthogonal")),
]  # fmt: skip
# Fewer iterations make the same kinds of code.
SHORT = {"polar_newton_schulz": {"iterations": 2}}


@pytest.mark.filterwarnings("ignore")  # by the compiler's own calls
@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "field"), GENERATED, ids=str)
def test_inductor_equals_eager(scheme, field):
    # The kit compiles each scheme without generating code. Generated code was wrong where it
    # contained the compiler's own derivative of a complex QR decomposition.
    reset_compiler()
    torch.manual_seed(0)
    dtype = torch.complex64 if field == "complex" else torch.float32
    layer = linear(4, 3, scheme, dtype=dtype, **SHORT.get(scheme, {}))
    x, functional = torch.randn(2, 3, dtype=dtype), torch.randn(2, 4, dtype=dtype)
    parameters = [p for p in layer.parameters() if p.requires_grad]
    compiled = torch.compile(layer, backend="inductor", fullgraph=True)
    out, wanted = compiled(x), layer(x)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-5)
    found = torch.autograd.grad((out * functional).real.sum(), parameters, allow_unused=True)
    plain = torch.autograd.grad((wanted * functional).real.sum(), parameters, allow_unused=True)
    for a, b in zip(found, plain, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_compiled_layer_refuses_an_unprojected_weight():
    reset_compiler()
    layer = linear(4, 4, "svd_projection")
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    compiled(torch.ones(4))
    with torch.no_grad():
        layer.parametrizations.weight[0].schemes[0].weight.mul_(1.1)
    with pytest.raises(NotProjectedError, match="attach"):
        compiled(torch.ones(4))


def test_exported_layer_equals_eager(layer):
    x = torch.randn(2, 3)
    program = torch.export.export(layer, (x,))
    torch.testing.assert_close(program.module()(x), layer(x), rtol=0, atol=1e-6)
    plain = copy.deepcopy(layer)
    parametrize.remove_parametrizations(plain, "weight")
    names = {str(node.target) for node in torch.export.export(plain, (x,)).graph.nodes}
    assert not any("unitary_zoo" in name for name in names)


def test_ensemble_equals_each_layer(layer):
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
            wanted = torch.zeros_like(p) if p.grad is None else p.grad  # of the frozen base
            torch.testing.assert_close(grads[key][i], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("use_buffers", [False, True])
def test_moving_average_is_orthogonal(layer, use_buffers):
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


def test_gradient_scaler_skips_infinite_steps(layer):
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
