"""The native backend beside tracers, transforms, checkpoints, layers and foreign tensors."""

import math

import pytest
import torch
from torch import Tensor

from tests.scan.native.helpers import assert_equal, inputs, results
from unitary_zoo import UnitaryGRU, UnitaryRNN
from unitary_zoo.scan import native, recurrent_scan
from unitary_zoo.testing.subject import normal


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        (UnitaryRNN, {"nonlinearity": "relu"}),
        (UnitaryRNN, {"nonlinearity": "modrelu"}),
        (UnitaryGRU, {}),
    ],
)
def test_native_runs_every_scan_of_a_packed_bidirectional_layer(layer, options, monkeypatch):
    """The four scans run natively, and all results equal those of the plain loop."""
    torch.manual_seed(0)
    rnn = layer(
        3, 6, num_layers=2, bidirectional=True, learn_h0=True, dtype=torch.float64, **options
    )
    sequences = [torch.randn(k, 3, dtype=torch.float64) for k in (9, 2, 5)]
    packed = torch.nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False)
    ran = []
    forward = native.forward
    monkeypatch.setattr(native, "forward", lambda *a, **k: ran.append(1) or forward(*a, **k))

    def found(backend: str) -> list[Tensor]:
        monkeypatch.setenv("UNITARY_ZOO_SCAN", backend)
        output, h_n = rnn(packed)
        loss = output.data.square().sum() + h_n.sum()
        return [output.data, h_n, *torch.autograd.grad(loss, list(rnn.parameters()))]

    got = found("auto")
    assert len(ran) == 4
    for a, b in zip(got, found("reference"), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    assert len(ran) == 4


@pytest.fixture
def small():
    """Tensors without gradients, and the states by the plain loop."""
    tensors = {key: t.detach() for key, t in inputs(3, 2, 4, "tanh").items()}
    return tensors, recurrent_scan(**tensors, nonlinearity="tanh", backend="reference")


def close(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


# torch's tracing of an autograd function warns of itself.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("requires_grad", [True, False])
def test_scan_compiles_as_one_graph(small, requires_grad):
    tensors, wanted = small
    tensors["W"].requires_grad_(requires_grad)
    compiled = torch.compile(
        lambda: recurrent_scan(**tensors, nonlinearity="tanh"), backend="eager", fullgraph=True
    )
    close(compiled(), wanted)


# torch.jit is deprecated, and warns of the checks of shapes, which it cannot record.
@pytest.mark.filterwarnings("ignore")
def test_scan_equals_the_loop_when_traced(small):
    tensors, wanted = small
    x = tensors.pop("x")
    function = lambda x: recurrent_scan(x, **tensors, nonlinearity="tanh")
    example = torch.randn_like(x)
    close(torch.jit.trace(function, example)(x), wanted)
    close(torch.fx.experimental.proxy_tensor.make_fx(function)(example)(x), wanted)


# torch.func warns of its own deprecated calls.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scan_under_torch_func_and_forward_mode_differentiates_the_loop(small):
    tensors, _ = small
    x, direction = tensors.pop("x"), normal(4, 2, 2, dtype=torch.float64, seed=8)
    function = lambda x: recurrent_scan(x, **tensors, nonlinearity="tanh").square().sum()
    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(function(leaf), leaf)
    close(torch.func.grad(function)(x), wanted)
    close(torch.func.jvp(function, (x,), (direction,))[1], (wanted * direction).sum())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, direction)
        close(
            torch.autograd.forward_ad.unpack_dual(function(dual)).tangent,
            (wanted * direction).sum(),
        )


def test_native_runs_inside_a_checkpoint_of_pytorch(small):
    tensors, wanted = small
    leaves = {key: t.clone().requires_grad_() for key, t in tensors.items()}
    wanted = results(leaves, "tanh", backend="reference")
    keys = list(leaves)

    def function(*given: Tensor) -> Tensor:
        return recurrent_scan(
            **dict(zip(keys, given, strict=True)), nonlinearity="tanh", backend="native"
        )

    out = torch.utils.checkpoint.checkpoint(function, *leaves.values(), use_reentrant=False)
    wider = torch.cat([out, out.detach()], dim=-1)
    weight = normal(*wider.shape, dtype=torch.float32, seed=9).double() / math.sqrt(out.numel())
    grads = torch.autograd.grad((weight * wider).sum(), list(leaves.values()))
    assert_equal(dict(zip(keys, grads, strict=True)), {k: wanted[k] for k in keys}, 1e-12)


def test_native_leaves_tensor_subclasses_to_other_backends(small):
    class Subclass(Tensor):
        pass

    tensors, wanted = small
    tensors["x"] = tensors["x"].as_subclass(Subclass)
    with pytest.raises(ValueError, match="Subclass"):
        recurrent_scan(**tensors, nonlinearity="tanh", backend="native")
    close(recurrent_scan(**tensors, nonlinearity="tanh").as_subclass(Tensor), wanted)
