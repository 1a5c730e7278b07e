"""SchemeStack: the kernels of a convolution as one module, equal to a module for each."""

import copy
import pickle

import pytest
import torch
from torch import nn

import unitary_zoo
from tests.oracles import defect, haar
from tests.weights.layers import Custom, bound, size
from unitary_zoo import NotRepresentableError, Parametrization, orthogonal
from unitary_zoo._torch import reset_compiler
from unitary_zoo.base import Static
from unitary_zoo.errors import AttachError, MissedStepWarning
from unitary_zoo.weights import _weight
from unitary_zoo.weights._stack import SchemeStack

STATIC = [
    (name, field)
    for name in Parametrization.names(family="static")
    for field in Parametrization.get(name).info.fields
]


def convolution(scheme, *, n=3, dtype=torch.float64, **options):
    """A layer with 12 square kernels."""
    return orthogonal(nn.Conv2d(3, 4, n, bias=False, dtype=dtype), "weight", scheme, **options)


def stack_of(layer):
    (stack,) = layer.parametrizations.weight[0].schemes
    return stack


def separate(layer):
    """A scheme for each kernel, with its part of the state."""
    stack = stack_of(layer)
    schemes = [copy.deepcopy(stack.example) for _ in range(stack.count)]
    for i, scheme in enumerate(schemes):
        scheme.load_state_dict({key: x[i] for key, x in stack.state_dict().items()})
    return schemes


@pytest.mark.parametrize(("scheme", "field"), STATIC)
def test_stack_trains_as_a_module_for_each_kernel(scheme, field):
    torch.manual_seed(0)
    n, dtype = size(scheme, 3), torch.complex128 if field == "complex" else torch.float64
    layer = convolution(scheme, n=n, dtype=dtype)
    assert isinstance(stack_of(layer), SchemeStack)
    assert len(layer.state_dict()) <= 5
    assert all(x.is_contiguous() for x in layer.state_dict().values())
    schemes = separate(layer)
    target = torch.randn(12, n, n, dtype=dtype)
    alone = torch.optim.SGD([p for s in schemes for p in s.parameters()], lr=0.02, momentum=0.9)
    together = torch.optim.SGD(layer.parameters(), lr=0.02, momentum=0.9)
    unitary_zoo.attach(layer, together)
    for scheme_ in schemes:
        unitary_zoo.attach(scheme_, alone)
    start = layer.weight.detach().clone()
    for _ in range(3):
        # Two routes to the same kernels and gradients, each a few rounding errors off; the worst
        # condition is that of a random triangular factor, of order 1e3.
        each = torch.stack([s.matrix() for s in schemes])
        torch.testing.assert_close(layer.weight.reshape(12, n, n), each, rtol=0, atol=1e-10)
        for optimizer, w in ((alone, each), (together, layer.weight.reshape(12, n, n))):
            optimizer.zero_grad()
            (w - target).abs().square().sum().backward()
            optimizer.step()
    assert (layer.weight - start).abs().max() > 1e-3


@pytest.mark.parametrize(("scheme", "field"), STATIC)
def test_stack_loads_the_state_of_separate_modules(scheme, field, monkeypatch):
    dtype = torch.complex64 if field == "complex" else torch.float32
    layer = convolution(scheme, n=size(scheme, 3), dtype=dtype)
    monkeypatch.setattr(_weight, "_MANY", 13)
    old = convolution(scheme, n=size(scheme, 3), dtype=dtype)
    assert len(old.parametrizations.weight[0].schemes) == 12
    layer.load_state_dict(old.state_dict())
    each = [s.matrix() for s in old.parametrizations.weight[0].schemes]
    torch.testing.assert_close(layer.weight.flatten(0, 1), torch.stack(each), rtol=0, atol=1e-5)
    assert all(x.is_contiguous() for x in layer.state_dict().values())


def test_stack_starts_at_the_nearest_kernels_and_is_assigned():
    torch.manual_seed(0)
    plain = Custom(4, 3, 5, 2)
    u, _, vh = torch.linalg.svd(plain.kernel.detach().double(), full_matrices=False)
    layer = orthogonal(plain, "kernel", "cayley")
    torch.testing.assert_close(layer.kernel.double(), u @ vh, rtol=0, atol=1e-4)
    wanted = torch.stack([haar(5, 2, seed=i) for i in range(12)]).reshape(4, 3, 5, 2).float()
    layer.kernel = wanted
    torch.testing.assert_close(layer.kernel, wanted, rtol=0, atol=1e-5)


def test_stack_keeps_all_kernels_where_one_is_refused():
    layer = convolution("expm")
    before = copy.deepcopy(layer.state_dict())
    kernels = [haar(3, 3, seed=i, determinant=1 - 2 * (i == 11)) for i in range(12)]
    with pytest.raises(NotRepresentableError):
        layer.weight = torch.stack(kernels).reshape(layer.weight.shape)
    assert all(torch.equal(x, before[key]) for key, x in layer.state_dict().items())


def test_stack_has_the_determinant_that_was_chosen():
    layer = convolution("scaled_cayley", determinant=-1)
    torch.testing.assert_close(torch.linalg.det(layer.weight), -torch.ones(4, 3).double())


def test_stack_of_other_families_is_a_module_for_each_kernel():
    for scheme in ("lie_exp", "svd_projection"):
        assert len(convolution(scheme).parametrizations.weight[0].schemes) == 12


def test_kernels_of_a_rebased_scheme_notice_a_missed_step():
    layer = convolution("lie_exp")
    unitary_zoo.attach(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    weight = layer.weight.detach()
    with torch.no_grad():
        layer.parametrizations.weight[0].schemes[5].theta.add_(0.1)
    with pytest.warns(MissedStepWarning, match="schemes.5"):
        assert not torch.equal(layer.weight, weight)


@pytest.mark.parametrize("scheme", ["expm", "eigenphase"])
def test_stack_is_copied_pickled_and_converted(scheme):
    layer = convolution(scheme, dtype=torch.float32)
    x = torch.randn(2, 3, 5, 5)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
        other.reset_parameters()
        assert not torch.equal(other(x), layer(x))
    parameters = [id(p) for p in layer.parameters()]
    before = layer.weight.detach().clone()
    layer.double()
    assert [id(p) for p in layer.parameters()] == parameters
    assert defect(layer.weight.flatten(0, 1)[5]) <= bound(torch.float64, 3)
    torch.testing.assert_close(layer.weight, before.double(), rtol=0, atol=1e-5)
    layer.to(torch.bfloat16)
    assert layer.weight.dtype == torch.bfloat16
    assert next(layer.parametrizations.parameters()).dtype == torch.float64


def test_stack_built_on_the_meta_device():
    layer = convolution("expm")
    with torch.device("meta"):
        late = [convolution("expm") for _ in range(2)]
    late[0].to_empty(device="cpu")
    late[0].reset_parameters()
    assert defect(late[0].weight[0, 0]) <= bound(torch.float64, 3)
    late[1].load_state_dict(layer.state_dict(), assign=True)
    assert torch.equal(late[1].weight, layer.weight)


def test_stack_refuses_a_state_of_another_size():
    with pytest.raises(RuntimeError, match="size mismatch"):
        convolution("expm").load_state_dict(convolution("expm", n=4).state_dict())
    state = convolution("expm").state_dict()
    state.popitem()
    with pytest.raises(RuntimeError, match="Missing key"):
        convolution("expm").load_state_dict(state)


def test_stack_steps_every_kernel_once():
    # The step of this scheme brings an x that has almost vanished back to order one.
    layer = convolution("polar_newton_schulz")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    unitary_zoo.attach(layer, optimizer)
    before = layer.weight.detach().clone()
    with torch.no_grad():
        stack_of(layer).x[3:7] *= 2.0**-80
    layer.weight.sum().backward()
    optimizer.step()
    assert (stack_of(layer).x.detach().abs().amax((1, 2)) > 0.1).all()
    torch.testing.assert_close(layer.weight, before, rtol=0, atol=1e-13)


class Halving(Static):
    """A scheme whose step branches on values."""

    info = Parametrization.get("qr").info

    def __init__(self, n, **options):
        super().__init__(n, **options)
        self.x = nn.Parameter(torch.full((n, n), 4.0, **self._factory))
        self.register_buffer("seen", torch.zeros(()))

    def _prepare(self):
        raise AssertionError("not read")

    def _step(self):
        if float(self.x.max()) > 2:
            self.x /= 2
        self.seen += 1


def test_stack_steps_one_by_one_where_the_step_branches_on_values():
    stack = SchemeStack([Halving(2), Halving(2)])
    with torch.no_grad():
        stack.x[1] = 1.0
    stack.step_()
    assert stack.x[:, 0, 0].tolist() == [2.0, 1.0]
    assert stack.seen.tolist() == [1.0, 1.0]


def test_stack_is_a_static_scheme_to_the_hooks():
    layer = convolution("expm", dtype=torch.float32)
    stack = stack_of(layer)
    assert isinstance(stack, Static)
    (group,) = unitary_zoo.parameter_groups(layer, lr=0.1, weight_decay=0.5)
    assert (len(group["params"]), group["weight_decay"]) == (1, 0.0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(AttachError, match="'expm' at"):
        unitary_zoo.attach(layer, optimizer)
    unitary_zoo.retract_(layer)
    assert stack.matrix().shape == (12, 3, 3)
    assert stack.describe().defect <= bound(torch.float32, 3)


@pytest.mark.filterwarnings("ignore")  # by the compiler's own calls
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["cayley", "householder"])
def test_stack_is_compiled_and_exported_as_one_computation(scheme):
    reset_compiler()
    layer, x = convolution(scheme, dtype=torch.float32), torch.randn(2, 3, 5, 5)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x), rtol=0, atol=1e-5)
    (p, *_) = layer.parameters()
    found, wanted = (torch.autograd.grad(f(x).square().sum(), p) for f in (compiled, layer))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    program = torch.export.export(layer, (x,))
    torch.testing.assert_close(program.module()(x), layer(x), rtol=0, atol=1e-5)
    # A computation for each of 12 kernels would be longer.
    once = torch.export.export(orthogonal(nn.Linear(3, 3), "weight", scheme), (x[0, 0, :3, :3],))
    assert len(program.graph.nodes) < 4 * len(once.graph.nodes)


def test_stacks_are_an_ensemble():
    layers = [convolution("expm", dtype=torch.float32) for _ in range(2)]
    parameters, buffers = torch.func.stack_module_state(layers)
    base, x = copy.deepcopy(layers[0]).to("meta"), torch.randn(2, 3, 5, 5)

    def output(parameters, buffers):
        return torch.func.functional_call(base, (parameters, buffers), (x,))

    found = torch.vmap(output)(parameters, buffers)
    torch.testing.assert_close(found, torch.stack([m(x) for m in layers]), rtol=0, atol=1e-5)
