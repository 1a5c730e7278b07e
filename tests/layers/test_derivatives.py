"""The derivatives of the layers as torch's own module tests try them: batched, forward, second."""

import pytest
import torch
from torch.func import functional_call
from torch.nn.utils import parametrize

from unitary_zoo import UnitaryGRU, UnitaryRNN, orthogonal
from unitary_zoo.testing.subject import normal, usable_backends

# torch's own forward mode compiles its formulas by what torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

F64 = torch.float64
LAYERS = {
    "real": lambda **o: UnitaryRNN(2, 3, dtype=F64, **o),
    "complex": lambda **o: UnitaryRNN(2, 3, scheme="full_capacity", dtype=F64, **o),
    "factors": lambda **o: UnitaryRNN(2, 3, scheme="arjovsky", bias=False, dtype=F64, **o),
    "abs": lambda **o: UnitaryRNN(2, 3, nonlinearity="abs", learn_h0=True, dtype=F64, **o),
    "gru": lambda **o: UnitaryGRU(2, 3, dtype=F64, **o),
    "candidate": lambda **o: UnitaryGRU(2, 1, gates="candidate", dtype=F64, **o),
}
OPTIONS = [{}, {"checkpoint": 2}, {"return_sequence": False}]


def learned(layer):
    """The parameters without constants, such as the base of a rebased scheme."""
    return [p for p in layer.parameters() if p.requires_grad]


def outputs_of(layer):
    """The outputs as one real tensor, as a function of the input and what is learned."""
    names = [name for name, p in layer.named_parameters() if p.requires_grad]

    def function(x, *parameters):
        found = functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))
        return torch.cat([torch.view_as_real(y + 0j).flatten() for y in found if y is not None])

    return function


@pytest.mark.parametrize("backend", usable_backends())
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", LAYERS)
def test_batched_gradients_equal_one_after_the_other(kind, options, backend, monkeypatch):
    if backend == "native" and kind in ("gru", "candidate"):
        backend = "auto"  # native has no gates
    if kind == "factors":
        backend = "auto"  # the factors are applied by the loop
    monkeypatch.setenv("UNITARY_ZOO_SCAN", backend)
    torch.manual_seed(0)
    layer = LAYERS[kind](**options)
    given = [normal(4, 2, 2, dtype=F64).requires_grad_(), *learned(layer)]
    y = outputs_of(layer)(*given)
    directions = normal(5, len(y), dtype=F64, seed=7)
    wanted = [torch.autograd.grad(y, given, v, retain_graph=True) for v in directions]
    got = torch.autograd.grad(y, given, directions, is_grads_batched=True)
    for column, together in zip(zip(*wanted, strict=True), got, strict=True):
        # Another order of the same sums.
        torch.testing.assert_close(together, torch.stack(column), rtol=0, atol=1e-11)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["real", "complex", "gru"])
def test_jacobian_by_rows_equals_that_by_columns_and_the_loop(kind, options):
    torch.manual_seed(0)
    layer = LAYERS[kind](**options)
    function = lambda x: outputs_of(layer)(x, *learned(layer))
    x = normal(3, 1, 2, dtype=F64)
    wanted = torch.autograd.functional.jacobian(function, x)
    for got in (
        torch.autograd.functional.jacobian(function, x, vectorize=True),
        torch.func.jacrev(function)(x),
        torch.func.jacfwd(function)(x),
    ):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", LAYERS)
def test_layer_passes_the_gradient_checks_of_torch(kind):
    """First, batched, forward-mode and second derivatives against finite differences."""
    torch.manual_seed(1)
    layer = LAYERS[kind]()
    given = [normal(3, 2, 2, dtype=F64).requires_grad_(), *learned(layer)]
    given = [t.detach().clone().requires_grad_() for t in given]
    function = outputs_of(layer)
    torch.autograd.gradcheck(
        function, given, check_batched_grad=True, check_forward_ad=True, check_undefined_grad=False
    )
    torch.autograd.gradgradcheck(function, given)


def test_gradients_of_a_cached_weight_can_be_batched():
    torch.manual_seed(0)
    layer = orthogonal(torch.nn.Linear(4, 3, dtype=F64), "weight", "cayley")
    with parametrize.cached():
        y = layer(normal(2, 4, dtype=F64)) @ layer.weight
        given = list(layer.parameters())
        directions = normal(3, *y.shape, dtype=F64, seed=2)
        wanted = [torch.autograd.grad(y, given, v, retain_graph=True) for v in directions]
        got = torch.autograd.grad(y, given, directions, is_grads_batched=True)
    for column, together in zip(zip(*wanted, strict=True), got, strict=True):
        torch.testing.assert_close(together, torch.stack(column), rtol=0, atol=1e-12)
