"""What torch's own tests ask of every module, asked of the layers and their cells."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from tests.oracles import learned, named_learned
from tests.recurrent import B, M, N, T
from tests.torch_internals import writes
from unitary_zoo import UnitaryGRU, UnitaryGRUCell, UnitaryRNN, UnitaryRNNCell, as_real
from unitary_zoo.testing.subject import normal

F32, F64 = torch.float32, torch.float64
LAYERS = {
    "rnn": partial(UnitaryRNN, M, N),
    "rnn deep": partial(UnitaryRNN, M, N, 2, nonlinearity="tanh", bidirectional=True),
    "rnn complex": partial(UnitaryRNN, M, N, field="complex", learn_h0=True),
    "rnn last": partial(UnitaryRNN, M, N, scheme="lie_exp", return_sequence=False),
    "gru": partial(UnitaryGRU, M, N),
    "gru deep": partial(UnitaryGRU, M, N, 2, "svd_projection", bidirectional=True, learn_h0=True),
    "gru free": partial(UnitaryGRU, M, N, gates="candidate", checkpoint=2, batch_first=True),
}
CELLS = {
    "rnn cell": partial(UnitaryRNNCell, M, N),
    "rnn cell complex": partial(UnitaryRNNCell, M, N, "arjovsky", learn_h0=True),
    "gru cell": partial(UnitaryGRUCell, M, N, bias=False),
}
MODULES = {**LAYERS, **CELLS}
modules = pytest.mark.parametrize("name", MODULES)


def make(name, dtype=F64, **options):
    torch.manual_seed(0)
    module = MODULES[name](dtype=dtype, **options)
    with torch.no_grad():
        for seed, (key, q) in enumerate(module.named_parameters()):
            if key.endswith(("bias_parts", "bias_hn")):  # they start at 0
                q.copy_(0.3 * normal(*q.shape, dtype=F64, seed=seed))
            if key.endswith("threshold"):  # modReLU jumps at 0 if it is positive
                q.copy_(-0.05 - 0.1 * normal(*q.shape, dtype=F64, seed=seed).abs())
    return module


def inputs(name, dtype=F64, seed=0):
    """An input and a state."""
    is_complex = "complex" in name
    first = (B, M) if name in CELLS else (B, T, M) if name == "gru free" else (T, B, M)
    cells = 4 if "deep" in name else 1
    second = (B, N) if name in CELLS else (cells, B, N)
    x, h = normal(*first, dtype=dtype, seed=seed), normal(*second, dtype=dtype, seed=seed + 1)
    return x, torch.complex(h, normal(*second, dtype=dtype, seed=seed + 2)) if is_complex else h


def tensors(result):
    """The tensors of a result, as real numbers."""
    parts = result if isinstance(result, tuple) else (result,)
    return tuple(as_real(part) for part in parts if part is not None)


def loss(result):
    return sum(part.square().sum() for part in tensors(result))


def same_gradient(a, b):
    """Whether two gradients are equal; a learned state has none where another one is given."""
    return (a is None and b is None) or torch.equal(a, b)


def assert_equal(a, b):
    for mine, other in zip(tensors(a), tensors(b), strict=True):
        assert torch.equal(mine, other)


# ----------------------------------------------------------------------- construction and copies


@modules
@pytest.mark.parametrize("dtype", [F32, F64])
def test_module_is_built_on_the_device_and_with_the_dtype(name, dtype):
    for device in ("cpu", "meta"):
        module = MODULES[name](device=device, dtype=dtype)
        found = [*module.parameters(), *module.buffers()]
        assert {t.device.type for t in found} == {device}
        assert {t.dtype for t in found if t.is_floating_point()} == {dtype}
    # Without a device, that of the context; without a dtype, torch's default.
    with torch.device("meta"):
        assert {q.device.type for q in MODULES[name]().parameters()} == {"meta"}
    assert {q.dtype for q in MODULES[name]().parameters()} == {F32}


@modules
def test_module_has_a_repr_that_names_its_sizes(name):
    assert f"{M}, {N}" in repr(make(name))


@modules
@pytest.mark.parametrize("clone", ["pickle", "deepcopy", "state_dict"])
def test_module_copies_give_equal_outputs_and_gradients(name, clone):
    module, args = make(name), inputs(name)
    loss(module(*args)).backward()
    if clone == "state_dict":
        other = MODULES[name](dtype=F64)
        assert not any(map(torch.equal, tensors(other(*args)), tensors(module(*args))))
        keys = other.load_state_dict(module.state_dict())
        assert not keys.missing_keys
        assert not keys.unexpected_keys
    else:
        other = copy.deepcopy(module)
        other = pickle.loads(pickle.dumps(module)) if clone == "pickle" else other
        other.zero_grad()
    assert_equal(other(*args), module(*args))
    loss(other(*args)).backward()
    for (key, mine), theirs in zip(module.named_parameters(), other.parameters(), strict=True):
        assert same_gradient(mine.grad, theirs.grad), key
        assert mine.data_ptr() != theirs.data_ptr() or not mine.numel(), key


@modules
def test_module_converts_to_and_from_another_dtype(name):
    module, args = make(name), inputs(name)
    wanted = module(*args)
    single = module.to(F32)
    assert single is module
    low = [t.to(torch.complex64 if t.is_complex() else F32) for t in args]
    for got, true in zip(tensors(single(*low)), tensors(wanted), strict=True):
        assert got.dtype == F32
        # Rounding of W and of every step: some n eps each, T steps, two layers whose V has norm 4.
        assert float((got - true).detach().abs().max()) < T * 64 * N * 16 * torch.finfo(F32).eps
    back = single.double()
    for got, true in zip(tensors(back(*args)), tensors(wanted), strict=True):
        assert got.dtype == F64
        assert float((got - true).detach().abs().max()) < T * 64 * N * 16 * torch.finfo(F32).eps


@modules
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_module_in_half_precision_runs_and_learns(name, low):
    module = make(name, F32)
    module = module.half() if low == torch.float16 else module.bfloat16()
    x, h = (t if t.is_complex() else t.to(low) for t in inputs(name, F32))
    result = module(x, h)
    for part in result if isinstance(result, tuple) else (result,):
        assert part is None or part.dtype == (torch.complex64 if "complex" in name else low)
    loss(result).float().backward()
    for key, q in named_learned(module):
        if key.endswith("h0_parts"):  # another state is given
            continue
        assert torch.isfinite(q.grad).all(), key
        assert q.grad.dtype == q.dtype, key
        assert float(q.grad.abs().max()) > 0, key


# ------------------------------------------------------------------------------------- inputs


def contiguous(t):
    return t.clone()


def transposed(t):
    return t.transpose(0, -1).contiguous().transpose(0, -1)


def sliced(t):
    wide = torch.full((*t.shape[:-1], 2 * t.shape[-1] + 1), float("nan"), dtype=t.dtype)
    wide[..., 1::2] = t
    return wide[..., 1::2]


def offset(t):
    return torch.cat([torch.full_like(t[:1], float("nan")), t])[1:]


def flipped_twice(t):
    return t.flip(0).clone().flip(0)


LAYOUTS = [transposed, sliced, offset, flipped_twice]


@modules
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_module_takes_tensors_of_any_layout(name, layout):
    module, args = make(name), inputs(name)
    found = []
    for arrange in (contiguous, layout):
        leaves = [t.clone().requires_grad_() for t in args]
        result = module(*map(arrange, leaves))
        wrt = [*leaves, *learned(module)]
        grads = torch.autograd.grad(loss(result), wrt, allow_unused=True)
        found.append([*tensors(result), *grads])
    for mine, wanted in zip(*found, strict=True):
        assert (mine is None) == (wanted is None)
        if mine is not None:
            torch.testing.assert_close(mine, wanted, rtol=1e-12, atol=1e-12)  # sums in other orders


@modules
def test_module_takes_expanded_tensors(name):
    module = make(name)
    x, h = (t[..., :1, :].expand_as(t) for t in inputs(name))
    wanted = module(x.contiguous(), h.contiguous())
    for got, true in zip(tensors(module(x, h)), tensors(wanted), strict=True):
        torch.testing.assert_close(got, true, rtol=1e-12, atol=1e-12)


@modules
@pytest.mark.parametrize(
    "layout", [transposed, sliced, "expanded"], ids=lambda x: getattr(x, "__name__", x)
)
def test_module_takes_gradients_of_any_layout(name, layout):
    """An expanded gradient is what ``sum().backward()`` passes."""
    module, args = make(name), inputs(name)
    outputs = tensors(module(*args))
    grads = [normal(*part.shape, dtype=F64, seed=5) for part in outputs]
    if layout == "expanded":
        grads = [grad[..., :1].expand_as(grad) for grad in grads]
        arrange = lambda grad: grad[..., :1].contiguous().expand_as(grad)
    else:
        arrange = layout
    wrt = learned(module)
    found = []
    for change in (lambda grad: grad.contiguous(), arrange):
        result = torch.autograd.grad(
            outputs, wrt, list(map(change, grads)), retain_graph=True, allow_unused=True
        )
        found.append(result)
    for mine, wanted in zip(*found, strict=True):
        assert (mine is None) == (wanted is None)
        if mine is not None:
            torch.testing.assert_close(mine, wanted, rtol=1e-12, atol=1e-12)


@modules
def test_module_changes_neither_inputs_nor_itself(name):
    module, args = make(name), inputs(name)
    before = [t.clone() for t in args]
    state = {key: value.clone() for key, value in module.state_dict().items()}
    random, versions = torch.random.get_rng_state(), [writes(t) for t in args]
    leaves = [t.requires_grad_() for t in args]
    loss(module(*leaves)).backward()
    for t, old, version in zip(args, before, versions, strict=True):
        assert torch.equal(t.detach(), old)
        assert writes(t) == version
    for key, value in module.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert torch.equal(torch.random.get_rng_state(), random)


# ------------------------------------------------------------------------------------ behaviour


@modules
def test_module_gives_the_same_in_training_evaluation_and_again(name):
    module, args = make(name), inputs(name)
    wanted = module.train()(*args)
    for _ in range(2):
        assert_equal(module(*args), wanted)
    assert_equal(module.eval()(*args), wanted)
    with torch.no_grad():
        assert_equal(module(*args), wanted)


@modules
@pytest.mark.parametrize("set_to_none", [True, False])
def test_module_gradients_start_anew_after_zero_grad(name, set_to_none):
    module, args = make(name), inputs(name)
    found = []
    for _ in range(2):
        module.zero_grad(set_to_none=set_to_none)
        assert all(q.grad is None or not q.grad.any() for q in module.parameters())
        loss(module(*args)).backward()
        found.append([None if q.grad is None else q.grad.clone() for q in module.parameters()])
    for one, two in zip(*found, strict=True):
        assert same_gradient(one, two)
    loss(module(*args)).backward()  # without zero_grad they add up
    for q, once in zip(module.parameters(), found[0], strict=True):
        assert once is None or torch.equal(q.grad, 2 * once)


@modules
def test_module_runs_with_the_parameters_of_another(name):
    module, other, args = make(name), make(name), inputs(name)
    other.load_state_dict(MODULES[name](dtype=F64).state_dict())
    wanted = other(*args)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    state = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    assert_equal(functional_call(module, state, args), wanted)
    assert_equal(functional_call(module, state, args[:1], {"hx": args[1]}), wanted)
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key]), key


# ------------------------------------------------------------------------------------ gradients

SMALL = {
    "rnn": partial(UnitaryRNN, 2, 3, nonlinearity="tanh"),
    "rnn modrelu": partial(UnitaryRNN, 2, 3, 1, "cayley"),
    "rnn complex": partial(UnitaryRNN, 2, 2, field="complex", learn_h0=True),
    "rnn one unit": partial(UnitaryRNN, 1, 1, scheme="scaled_cayley", nonlinearity="tanh"),
    "gru": partial(UnitaryGRU, 2, 3, scheme="cayley"),
    "gru last": partial(UnitaryGRU, 2, 2, 2, return_sequence=False, gates="candidate"),
}


def as_function(name):
    """The module as a function of its inputs and parameters, and values for them."""
    torch.manual_seed(1)
    module = SMALL[name](dtype=F64)
    x, values = normal(2, 2, module.input_size, dtype=F64), []
    keys = [key for key, q in module.named_parameters() if q.numel()]
    for seed, (key, q) in enumerate(module.named_parameters()):
        if q.numel():
            q = q.detach().clone()
            if key.endswith("threshold"):  # far from the kinks of modReLU
                q.fill_(-1e-3)
            if key.endswith(("bias_parts", "bias_hn")):
                q.copy_(0.5 * normal(*q.shape, dtype=F64, seed=seed))
            values.append(q.requires_grad_())

    def function(x, *values):
        return tensors(functional_call(module, dict(zip(keys, values, strict=True)), (x,)))

    return function, (x.requires_grad_(), *values)


@pytest.mark.parametrize("name", SMALL)
def test_layer_passes_gradcheck(name):
    function, values = as_function(name)
    assert gradcheck(function, values)


@pytest.mark.parametrize("name", SMALL)
def test_layer_passes_gradgradcheck(name):
    function, values = as_function(name)
    # The fast mode compares along random directions, which takes a tenth of the time.
    assert gradgradcheck(function, values, fast_mode=True)


@pytest.mark.parametrize("name", SMALL)
def test_layer_passes_gradcheck_of_batched_gradients(name):
    function, values = as_function(name)
    assert gradcheck(function, values, check_batched_grad=True, fast_mode=True)
    assert gradgradcheck(function, values, check_batched_grad=True, fast_mode=True)


@pytest.mark.parametrize("name", ["rnn", "gru"])
def test_layer_trains_like_torchs_with_the_same_weights(name):
    """Loaded from torch's layer, it has torch's gradients too."""
    cls, kind = {"rnn": (UnitaryRNN, nn.RNN), "gru": (UnitaryGRU, nn.GRU)}[name]
    more = {"nonlinearity": "tanh"} if name == "rnn" else {}
    layer = cls(M, N, dtype=F64, **more)
    ref = layer.to_torch()
    assert type(ref) is kind
    x = normal(T, B, M, dtype=F64)
    loss(layer(x)).backward()
    loss(ref(x)).backward()
    # T B terms of order 1 in another order.
    torch.testing.assert_close(
        layer.cells[0].weight_ih_parts.grad, ref.weight_ih_l0.grad, rtol=1e-11, atol=1e-11
    )
