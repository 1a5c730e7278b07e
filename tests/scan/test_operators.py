"""The scans as operators: for tracers, which record one for all steps, and for dispatch modes."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.oracles import learned
from tests.torch_internals import TorchDispatchMode
from unitary_zoo import UnitaryGRU, UnitaryRNN
from unitary_zoo.scan import gated_scan, recurrent_scan
from unitary_zoo.testing.subject import haar, normal, usable_backends

F64, C128 = torch.float64, torch.complex128
CLOSE = {"rtol": 0, "atol": 1e-10}

# torch warns of its own deprecated calls when it traces.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

LAYERS = {
    "modrelu": lambda **o: UnitaryRNN(3, 4, **o),
    "complex": lambda **o: UnitaryRNN(3, 4, scheme="full_capacity", **o),
    "factors": lambda **o: UnitaryRNN(3, 4, scheme="arjovsky", bias=False, **o),
    "abs": lambda **o: UnitaryRNN(3, 4, nonlinearity="abs", learn_h0=True, **o),
    "gru": lambda **o: UnitaryGRU(3, 4, **o),
    "deep": lambda **o: UnitaryGRU(3, 4, 2, gates="candidate", bidirectional=True, **o),
}
VARIANTS = [
    ("modrelu", {}),
    ("complex", {}),
    ("factors", {"return_sequence": False}),
    ("abs", {"checkpoint": 3}),
    ("gru", {"checkpoint": 3, "return_sequence": False}),
    ("deep", {}),
]


def results(function, x: Tensor, parameters=()) -> list[Tensor]:
    """The outputs, and their gradients in x and the parameters."""
    x = x.clone().requires_grad_()
    outputs = [y for y in function(x) if y is not None]
    loss = sum(y.abs().square().sum() * (k + 1) for k, y in enumerate(outputs))
    return [*(y.detach() for y in outputs), *torch.autograd.grad(loss, [x, *parameters])]


def assert_close(got: list[Tensor], wanted: list[Tensor]) -> None:
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


# ------------------------------------------------------------------------------------- tracers


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_layer_compiles_to_one_graph_for_all_lengths(kind, options):
    layer = LAYERS[kind](dtype=F64, **options)
    graphs = []

    def backend(graph, _):
        graphs.append(len(graph.graph.nodes))
        return graph

    torch.compiler.reset()
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    for steps in (7, 9, 20):
        x, parameters = normal(steps, 2, 3, dtype=F64), learned(layer)
        assert_close(results(compiled, x, parameters), results(layer, x, parameters))
    # One graph for the first length, and one for any other; a step adds no node.
    assert len(graphs) == 2
    assert graphs[1] <= graphs[0] + 10


@pytest.mark.parametrize("kind", ["complex", "gru"])
def test_layer_compiles_with_its_backward_pass(kind):
    layer = LAYERS[kind](dtype=F64)
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for steps in (7, 9, 20):
        x, parameters = normal(steps, 2, 3, dtype=F64), learned(layer)
        assert_close(results(compiled, x, parameters), results(layer, x, parameters))


@pytest.mark.slow
def test_layer_compiles_by_the_default_compiler():
    layer = UnitaryRNN(3, 4, dtype=F64)
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True)
    x, parameters = normal(7, 2, 3, dtype=F64), learned(layer)
    assert_close(results(compiled, x, parameters), results(layer, x, parameters))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layer_in_half_precision_compiles(dtype):
    layer = UnitaryRNN(3, 4).to(dtype)
    torch.compiler.reset()
    x = normal(7, 2, 3, dtype=torch.float32).to(dtype)
    output, _ = torch.compile(layer, backend="aot_eager", fullgraph=True)(x)
    assert output.dtype == dtype
    # The same operations, rounded to the same half precision at the end.
    torch.testing.assert_close(output, layer(x)[0])


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_exported_layer_has_gradients(kind, options):
    layer, x = LAYERS[kind](dtype=F64, **options).eval(), normal(7, 2, 3, dtype=F64)
    exported = torch.export.export(layer, (x,)).module()
    assert_close(results(exported, x), results(layer, x))


@pytest.mark.parametrize("kind", ["modrelu", "complex", "gru"])
def test_exported_layer_has_second_derivatives_but_no_tangents(kind):
    layer, x = LAYERS[kind](dtype=F64), normal(5, 1, 3, dtype=F64)
    exported = torch.export.export(layer, (x,)).module()
    energy = lambda layer: lambda x: layer(x)[1].abs().square().sum()
    hessian = torch.autograd.functional.hessian
    torch.testing.assert_close(hessian(energy(exported), x), hessian(energy(layer), x), **CLOSE)
    batched = torch.autograd.functional.jacobian
    state = lambda layer: lambda x: torch.view_as_real(layer(x)[1] + 0j)
    torch.testing.assert_close(
        batched(state(exported), x, vectorize=True), batched(state(layer), x), **CLOSE
    )
    with pytest.raises(NotImplementedError, match=r"no forward-mode.*call the layer itself"):
        torch.func.jvp(energy(exported), (x,), (x,))


@pytest.mark.parametrize("transform", ["grad", "vmap", "jvp"])
def test_transform_of_a_layer_compiles(transform):
    layer, x = UnitaryRNN(3, 4, dtype=F64), normal(5, 2, 3, dtype=F64)
    function = {
        "grad": torch.func.grad(lambda x: layer(x)[1].square().sum()),
        "vmap": torch.vmap(lambda x: layer(x)[1], in_dims=1),
        "jvp": lambda x: torch.func.jvp(lambda x: layer(x)[1], (x,), (x.cos(),))[1],
    }[transform]
    torch.compiler.reset()
    torch.testing.assert_close(
        torch.compile(function, backend="aot_eager")(x), function(x), **CLOSE
    )


def test_exported_layer_takes_a_batch_of_inputs_by_vmap():
    layer, x = UnitaryRNN(3, 4, dtype=F64), normal(6, 5, 2, 3, dtype=F64)
    exported = torch.export.export(layer, (x[0],)).module()
    got = torch.vmap(lambda x: exported(x)[0])(x)
    torch.testing.assert_close(got, torch.stack([layer(member)[0] for member in x]), **CLOSE)


# pytest's own filters come before that of the library, which tests/_torch/test_tracing.py tests.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", LAYERS)
def test_layer_recorded_by_jit_has_gradients(kind):
    layer, x = LAYERS[kind](dtype=F64), normal(7, 2, 3, dtype=F64)
    recorded = torch.jit.trace(layer, (x,))
    parameters = learned(layer)
    other = normal(7, 2, 3, dtype=F64, seed=4)
    assert_close(results(recorded, other, parameters), results(layer, other, parameters))


# ------------------------------------------------------------------------------------ operators


def plain(name: str, dtype: torch.dtype, steps: int, batch: int, n: int, m: int | None) -> tuple:
    real = dtype.to_real() if dtype.is_complex else dtype
    return (
        normal(steps, batch, n if m is None else m, dtype=dtype),
        haar(n, dtype),
        normal(batch, n, dtype=dtype, seed=2),
        None if m is None else normal(n, m, dtype=dtype, seed=3),
        None if m is None else normal(n, dtype=dtype, seed=4),
        0.1 * normal(n, dtype=real, seed=5) if name == "modrelu" else None,
    )


CASES = [
    ("modrelu", C128, 4, 2, 3, 2),
    ("modrelu", F64, 1, 1, 1, None),
    ("abs", F64, 3, 2, 7, 1),
    ("tanh", F64, 3, 0, 2, 2),  # an empty batch
    ("identity", C128, 2, 3, 2, None),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("return_sequence", "checkpoint"), [(True, None), (True, 2), (False, None)]
)
@pytest.mark.parametrize("backend", ["auto", "portable"])
def test_recurrent_operator_is_registered_correctly(case, return_sequence, checkpoint, backend):
    operands = [None if t is None else t.requires_grad_() for t in plain(*case)]
    torch.library.opcheck(
        torch.ops.unitary_zoo.recurrent_scan,
        (*operands, case[0], return_sequence, checkpoint, backend),
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("return_sequence", "checkpoint"), [(True, None), (True, 2), (False, None)]
)
def test_gated_operator_is_registered_correctly(bias, return_sequence, checkpoint):
    x, w, h0, weight_ih = (
        normal(3, 2, 2, dtype=F64), normal(9, 3, dtype=F64), normal(2, 3, dtype=F64),
        normal(9, 2, dtype=F64),
    )  # fmt: skip
    biases = [normal(9, dtype=F64), normal(3, dtype=F64)] if bias else [None, None]
    operands = [None if t is None else t.requires_grad_() for t in (x, w, h0, weight_ih, *biases)]
    torch.library.opcheck(
        torch.ops.unitary_zoo.gated_scan, (*operands, return_sequence, checkpoint, "auto")
    )


def test_operator_ignores_autocast():
    operands = plain("tanh", torch.float32, 4, 2, 3, 2)
    operator = torch.ops.unitary_zoo.recurrent_scan
    wanted = operator(*operands, "tanh", True, None, "portable")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(operator(*operands, "tanh", True, None, "portable"), wanted)


# --------------------------------------------------------------------------------- dispatch modes


def flops(function) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


@pytest.mark.parametrize("backend", [b for b in usable_backends() if b != "reference"])
@pytest.mark.parametrize(("dtype", "name"), [(torch.float32, "tanh"), (C128, "modrelu")])
@pytest.mark.parametrize("learn_h0", [True, False])
@pytest.mark.parametrize("return_sequence", [True, False])
def test_flops_of_a_scan_are_those_of_the_plain_loop(
    dtype, name, backend, learn_h0, return_sequence
):
    x, w, h0, v, bias, _ = (
        None if t is None else t.requires_grad_() for t in plain(name, dtype, 5, 3, 4, 2)
    )
    h0.requires_grad_(learn_h0)
    counts = []
    for chosen in (backend, "reference"):
        outs = []
        scan = lambda: outs.append(
            recurrent_scan(
                x, w, h0, name, weight_ih=v, bias=bias, backend=chosen,
                return_sequence=return_sequence,
            )
        )  # fmt: skip
        forward = flops(scan)
        scan()  # a backward pass is counted whether the forward pass was or not
        for out in outs:
            counts.append((forward, flops(lambda: out.abs().sum().backward())))
    assert len(set(counts)) == 1


@pytest.mark.parametrize(
    ("mine", "torchs"), [(UnitaryRNN, nn.RNN), (UnitaryGRU, nn.GRU)], ids=["rnn", "gru"]
)
def test_flops_of_a_step_are_those_of_torch(mine, torchs):
    def counts(layer: nn.Module, steps: int) -> tuple[int, int]:
        outs = []
        forward = flops(lambda: outs.append(layer(torch.randn(steps, 2, 3))[1]))
        return forward, flops(lambda: outs[0].sum().backward())

    layers = mine(3, 8, scheme="svd_projection"), torchs(3, 8)
    # The scheme counts, too, but not with the length.
    steps = [
        [b - a for a, b in zip(counts(layer, 5), counts(layer, 9), strict=True)] for layer in layers
    ]
    assert steps[0] == steps[1]


def test_flops_count_what_a_checkpoint_recomputes():
    x, w, h0, *_ = (
        None if t is None else t.requires_grad_() for t in plain("tanh", F64, 6, 2, 3, 2)
    )
    v = normal(3, 2, dtype=F64)

    def backward(checkpoint):
        out = recurrent_scan(x, w, h0, "tanh", weight_ih=v, checkpoint=checkpoint)
        return flops(lambda: out.sum().backward())

    forward = 6 * 2 * (2 * 3 * 3 + 2 * 3 * 2)
    assert backward(2) == backward(None) + forward


class Log(TorchDispatchMode):
    """The names of the operators of the library that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "unitary_zoo":
            self.names.append(str(function).split(".")[1])
        return function(*args, **(kwargs or {}))


def test_dispatch_mode_sees_one_operator_for_each_pass():
    x, w = normal(4, 2, 3, dtype=F64).requires_grad_(), haar(3, F64)
    gates = torch.cat([w, w, w])
    for name, scan in (
        ("recurrent_scan", lambda: recurrent_scan(x, w, x[0].detach(), "tanh")),
        ("gated_scan", lambda: gated_scan(x, gates, x[0].detach(), gates)),
    ):
        (wanted,) = torch.autograd.grad(scan().square().sum(), x)
        with Log() as log:
            out = scan()
            (got,) = torch.autograd.grad(out.square().sum(), x)
        assert log.names == [name, f"{name}_backward"]
        torch.testing.assert_close(got, wanted, **CLOSE)
        out = scan()
        with Log() as log:
            torch.autograd.grad(out.sum(), x)
        assert log.names == [f"{name}_backward"]
