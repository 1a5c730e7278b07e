"""Theorem 1: the twin against torch.nn.RNN, and its biases against closed forms."""

import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unitary_zoo import (
    Parametrization,
    UnitaryRNN,
    UnitaryRNNCell,
    attach,
    orthogonal,
    parameter_groups,
    scan,
)
from unitary_zoo.linalg import unitarity_defect
from unitary_zoo.testing.strategies import dtypes, seeds
from unitary_zoo.testing.subject import Subject, haar, normal
from unitary_zoo.theory import BoundExceededError, unitary_equivalent

F64, F32 = torch.float64, torch.float32
SIZES = st.sampled_from([1, 2, 3, 7, 17, 33])
NATIVE = pytest.mark.skipif(
    not scan.backends()["native"].available, reason="installed without the compiled kernel"
)


@torch.no_grad()
def contractive(
    m: int, n: int, norms: float | list[float], dtype: torch.dtype = F64, seed: int = 0, **options
) -> nn.RNN:
    """An nn.RNN whose recurrent matrices have the norm, or of one cell the singular values."""
    rnn = nn.RNN(m, n, nonlinearity="relu", dtype=F64, **options)
    for i, (name, p) in enumerate(rnn.named_parameters()):
        p.copy_(normal(*p.shape, dtype=F64, seed=seed + i))
        if name.startswith("weight_hh") and isinstance(norms, float):
            p.mul_(norms / torch.linalg.matrix_norm(p, 2))
        elif name.startswith("weight_hh"):
            s = torch.tensor(norms, dtype=F64)
            p.copy_((haar(n, F64, seed) * s) @ haar(n, F64, seed + 1))
    return rnn.to(dtype)


def inputs(*shape: int, bound: float, dtype: torch.dtype = F64, seed: int = 9) -> Tensor:
    """Of norms up to the bound, some of them equal to it."""
    x = normal(*shape, dtype=F64, seed=seed)
    length = torch.rand(*shape[:-1], 1, dtype=F64, generator=torch.Generator().manual_seed(seed))
    x *= bound * (2 * length).clamp(max=1) / x.norm(dim=-1, keepdim=True)
    return x.to(dtype)


def rounding(rnn: nn.RNN, x: Tensor, states: Tensor) -> float:
    """How far two evaluations of one cell can be from each other, at any time.

    A sum of k products is off by k eps times the sum of the absolute values, either time; W carries
    the error on without growth, so it adds up over the steps, or to 1 / (1 - rho) of them.
    """
    w, v, *biases = (p.detach().double() for p in rnn.parameters())
    terms = 2 * (len(w) + v.shape[1]) + 8
    largest = np.linalg.norm(w.abs(), 2) * float(states.detach().norm(dim=-1).max())
    largest += np.linalg.norm(v.abs(), 2) * float(x.norm(dim=-1).max())
    largest += sum(float(b.norm()) for b in biases)
    rho, steps = min(np.linalg.norm(w, 2), 1.0), x.shape[0]
    amount = steps if rho == 1 else min(steps, 1 / (1 - rho))
    return 2 * terms * torch.finfo(x.dtype).eps * largest * amount


def shared(output: Tensor, n: int, directions: int = 1) -> tuple[Tensor, Tensor]:
    """The states of the given network, and the new ones, of each direction side by side."""
    parts = output.unflatten(-1, (directions, -1))
    return parts[..., :n].flatten(-2), parts[..., n:].flatten(-2)


# ------------------------------------------------------------------------------------ the theorem


@settings(max_examples=60)
@given(
    n=SIZES,
    m=st.integers(1, 3),
    rho=st.sampled_from([0.1, 0.9, 0.999]),
    batch=st.sampled_from([1, 4]),
    steps=st.sampled_from([1, 2, 40]),
    bound=st.sampled_from([1e-3, 1.0, 1e3]),
    dtype=dtypes(),
    seed=seeds(),
    minimal=st.booleans(),
)
def test_equals_the_network_given(n, m, rho, batch, steps, bound, dtype, seed, minimal):
    rnn = contractive(m, n, rho, dtype, seed)
    x = inputs(steps, batch, m, bound=bound, dtype=dtype, seed=seed)
    twin = unitary_equivalent(rnn, bound, minimal=minimal)
    assert twin.hidden_size == 2 * n  # rho < 1: no singular value is 1
    wanted, end = rnn(x)
    got, last = twin(x)
    limit = rounding(rnn, x, wanted)
    for a, b in ((got, wanted), (last, end)):
        old, new = shared(a, n)
        assert float((old - b).detach().abs().max()) <= limit
        assert not new.any()
    w = twin.cells[0].recurrent.matrix()
    assert torch.equal(w[:n, :n], rnn.weight_hh_l0)
    info = twin.cells[0].recurrent.info
    assert float(unitarity_defect(w)) <= info.tolerance(2 * n, dtype)


@settings(max_examples=40)
@given(
    n=st.sampled_from([2, 3, 7, 17]),
    ones=st.integers(1, 2),
    dtype=dtypes(),
    seed=seeds(),
    minimal=st.booleans(),
    start=st.sampled_from([0.0, 2.0]),
)
def test_norm_one_equals_for_as_many_steps(n, ones, dtype, seed, minimal, start):
    rnn = contractive(2, n, [1.0] * ones + [0.5] * (n - ones), dtype, seed)
    x = inputs(30, 3, 2, bound=1.0, dtype=dtype, seed=seed)
    h_0 = inputs(1, 3, n, bound=start, dtype=dtype, seed=seed + 1)
    twin = unitary_equivalent(rnn, 1.0, 30, minimal, initial_bound=start)
    assert twin.hidden_size == (2 * n - ones if minimal else 2 * n)
    wanted = rnn(x, h_0)[0]
    old, new = shared(twin(x, functional.pad(h_0, (0, twin.hidden_size - n)))[0], n)
    states = torch.cat([wanted, h_0])
    assert float((old - wanted).detach().abs().max()) <= rounding(rnn, x, states)
    assert not new.any()


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("n", [3, 17])
def test_new_states_are_zero_for_ten_thousand_steps(dtype, n):
    rnn = contractive(2, n, 0.99, dtype)
    x = inputs(10_000, 2, 2, bound=1.0, dtype=dtype)
    with torch.no_grad():
        wanted = rnn(x)[0]
        old, new = shared(unitary_equivalent(rnn, 1.0)(x)[0], n)
    assert not new.any()
    assert float((old - wanted).abs().max()) <= rounding(rnn, x, wanted)  # not growing with T


@NATIVE
@settings(max_examples=25)
@given(
    n=SIZES,
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    learn_h0=st.booleans(),
    dtype=dtypes(),
    seed=seeds(),
    minimal=st.booleans(),
)
def test_equals_a_unitary_rnn_bit_by_bit(n, layers, bidirectional, learn_h0, dtype, seed, minimal):
    options = {"bidirectional": bidirectional, "learn_h0": learn_h0, "dtype": dtype}
    rnn = UnitaryRNN(3, n, layers, "svd_projection", "relu", contractive=True, **options)
    for i, cell in enumerate(rnn.cells):
        cell.recurrent.assign_(0.5 * haar(n, F64, seed % 1000 + i))
        with torch.no_grad():
            cell.bias_parts.copy_(normal(n, dtype=dtype, seed=seed))
    x = inputs(20, 3, 3, bound=1.0, dtype=dtype, seed=seed)
    twin = unitary_equivalent(rnn, 1.0, minimal=minimal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNITARY_ZOO_SCAN", "native")
        for got, wanted, d in zip(twin(x), rnn(x), (1 + bidirectional, 1), strict=True):
            old, new = shared(got, n, d)
            assert torch.equal(old, wanted)
            assert not new.any()


@pytest.mark.parametrize("name", Parametrization.names(exact=True, fields="real"))
def test_an_orthogonal_network_is_its_own_minimal_twin(name):
    scheme = Parametrization.get(name)
    (n,) = Subject(scheme).sizes(8)
    rnn = UnitaryRNN(2, n, scheme=name, nonlinearity="relu", field="real", dtype=F64)
    twin = unitary_equivalent(rnn, 1.0, steps=10, minimal=True)
    assert torch.equal(twin.cells[0].recurrent.matrix(), rnn.cells[0].recurrent.matrix())
    assert torch.equal(twin.cells[0].bias, rnn.cells[0].bias)


# ------------------------------------------------------------------------------------- its biases


def new_biases(twin: UnitaryRNN, n: int) -> list[np.ndarray]:
    return [cell.bias.detach().numpy()[n:] for cell in twin.cells]


def scalar(w: float, v: float, b: float, layers: int = 1, **options) -> nn.RNN:
    rnn = nn.RNN(1, 1, layers, nonlinearity="relu", dtype=F64, **options)
    values = {"weight_hh": w, "weight_ih": v, "bias_ih": b, "bias_hh": 0.0}
    with torch.no_grad():
        for name, p in rnn.named_parameters():
            p.fill_(values[name.partition("_l")[0]])
    return rnn


def test_bias_is_the_largest_pre_activation():
    """Closed forms for one state, to the margin for rounding of a few ten eps."""
    w, v, b, bound = 0.6, 2.0, 0.5, 3.0
    near = {"rtol": 1e-13}
    root, gain = 0.8, v * bound + b
    rnn = scalar(w, v, b)
    np.testing.assert_allclose(
        new_biases(unitary_equivalent(rnn, bound), 1), [[-root * gain / (1 - w)]], **near
    )
    far = unitary_equivalent(rnn, bound, initial_bound=100.0)
    np.testing.assert_allclose(new_biases(far, 1), [[-root * 100]], **near)
    three = unitary_equivalent(rnn, bound, steps=3)
    np.testing.assert_allclose(new_biases(three, 1), [[-root * gain * (1 + w + w * w)]], **near)
    for start, largest in ((100.0, 100.0), (10.0, w**3 * 10 + gain * (1 + w + w * w))):
        both = unitary_equivalent(rnn, bound, steps=3, initial_bound=start)
        np.testing.assert_allclose(new_biases(both, 1), [[-root * largest]], **near)
    # The input that is always the largest brings the state to B: no smaller bias would do.
    with torch.no_grad():
        state = float(rnn(torch.full((100, 1, 1), bound, dtype=F64))[1])
    np.testing.assert_allclose(state, gain / (1 - w), rtol=1e-13)


@pytest.mark.parametrize("steps", [None, 3])
def test_learned_initial_states_enter_the_bound(steps):
    rnn = UnitaryRNN(1, 1, 1, "svd_projection", "relu", contractive=True, learn_h0=True, dtype=F64)
    (cell,) = rnn.cells
    cell.recurrent.assign_(torch.tensor([[0.6]], dtype=F64))
    with torch.no_grad():
        for parameter in (cell.weight_ih_parts, cell.bias_parts):
            parameter.fill_(0.5)
        cell.h0_parts.fill_(100.0)
    twin = unitary_equivalent(rnn, 1.0, steps)
    np.testing.assert_allclose(new_biases(twin, 1), [[-0.8 * 100]], rtol=1e-13)
    assert not shared(twin(torch.ones(3, 1, 1, dtype=F64))[0], 1)[1].any()


@pytest.mark.parametrize(("dtype", "scale"), [(F32, 1.0), (F64, 1.0), (F32, 3e-44)])
def test_rounding_does_not_switch_units_on_at_the_bound(dtype, scale):
    """One state with W > 0 comes to B itself under the largest input: there a rounding decides."""
    for seed in range(30):
        w, v, b = torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()
        w, v, b = 0.5 + 0.49 * w, scale * v, scale * b
        for options in ({}, {"steps": 1000}, {"initial_bound": (3 * v + b) / (1 - w)}):
            rnn = scalar(w, v, b).to(dtype)
            twin = unitary_equivalent(rnn, 3.0, **options)
            h_0 = torch.tensor([[[options.get("initial_bound", 0.0), 0.0]]], dtype=dtype)
            with torch.no_grad():
                states, _ = twin(torch.full((1000, 1, 1), 3.0, dtype=dtype), h_0)
            assert not states[..., 1].any()


def test_bounds_go_from_layer_to_layer():
    w, v, b, bound, root = 0.6, 2.0, 0.5, 3.0, 0.8
    first = (v * bound + b) / (1 - w)
    for options, fed in (
        ({}, first),
        ({"dropout": 0.75}, 4 * first),
        ({"bidirectional": True}, 2 * first),  # ||V|| = sqrt(2) v on states of norm sqrt(2) B
    ):
        twin = unitary_equivalent(scalar(w, v, b, layers=2, **options), bound)
        second = (v * fed + b) / (1 - w)
        per_layer = len(twin.cells) // 2
        wanted = [[-root * first]] * per_layer + [[-root * second]] * per_layer
        np.testing.assert_allclose(new_biases(twin, 1), wanted, rtol=1e-13)


def test_units_that_a_cell_does_not_need_stay_zero():
    rnn = contractive(2, 3, [1.0, 1.0, 0.5], num_layers=2)
    with torch.no_grad():
        rnn.weight_hh_l1.copy_(torch.tensor(np.diag([1.0, 0.5, 0.5])))
    twin = unitary_equivalent(rnn, 1.0, 20, minimal=True)
    assert twin.hidden_size == 3 + 2
    w = twin.cells[0].recurrent.matrix()
    assert torch.equal(w[4:, :], torch.eye(5, dtype=F64)[4:])
    assert float(unitarity_defect(w)) < 1e-14
    x = inputs(20, 4, 2, bound=1.0)
    old, new = shared(twin(x)[0], 3)
    assert not new.any()
    torch.testing.assert_close(old, rnn(x)[0], rtol=0, atol=1e-12)  # 20 steps, sums up to 100


@pytest.mark.parametrize("gap", [1e-6, 1e-9, 1e-12])
def test_growth_of_almost_one_does_not_lose_digits(gap):
    """(1 - rho^T) / (1 - rho) is the sum, not what is left of two cancellations."""
    w = 1 - gap
    (bias,) = new_biases(unitary_equivalent(scalar(w, 2.0, 0.5), 3.0, steps=3), 1)
    wanted = -math.sqrt((1 - w) * (1 + w)) * 6.5 * (1 + w + w * w)
    np.testing.assert_allclose(bias, [wanted], rtol=1e-13)


# ------------------------------------------------------------------------------- forms and options


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("minimal", [True, False])
def test_layers_directions_and_forms_of_input(bias, bidirectional, minimal):
    n, directions = 5, 1 + bidirectional
    rnn = contractive(
        2, n, 0.8, num_layers=3, bidirectional=bidirectional, bias=bias, batch_first=True
    )
    twin = unitary_equivalent(rnn, 1.0, minimal=minimal, initial_bound=1.0)
    assert (twin.num_layers, twin.bidirectional, twin.batch_first) == (3, bidirectional, True)
    x = inputs(4, 12, 2, bound=1.0)
    h_0 = inputs(3 * directions, 4, n, bound=1.0)
    padded = functional.pad(h_0, (0, twin.hidden_size - n))
    near = {"rtol": 0, "atol": 1e-11}  # the states of the third layer are of order 100
    for args, theirs in (((x,), (x,)), ((x, padded), (x, h_0)), ((x[0],), (x[0],))):
        for got, wanted, d in zip(twin(*args), rnn(*theirs), (directions, 1), strict=True):
            old, new = shared(got, n, d)
            assert old.shape == wanted.shape
            torch.testing.assert_close(old, wanted, **near)
            assert not new.any()
    packed = pack_padded_sequence(x, [5, 12, 1, 7], batch_first=True, enforce_sorted=False)
    got, wanted = (pad_packed_sequence(f(packed)[0])[0] for f in (twin, rnn))
    old, new = shared(got, n, directions)
    torch.testing.assert_close(old, wanted, **near)
    assert not new.any()


def test_a_parametrized_network_is_read_as_it_computes():
    rnn = orthogonal(nn.RNN(2, 6, nonlinearity="relu", dtype=F64), "weight_hh_l0", "cayley")
    twin = unitary_equivalent(rnn, 1.0, steps=20, minimal=True)
    assert twin.hidden_size == 6
    x = inputs(20, 3, 2, bound=1.0)
    torch.testing.assert_close(twin(x)[0], rnn(x)[0], rtol=0, atol=1e-12)  # 20 steps of order 10


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [F32, F64])
def test_follows_its_network_to_another_device(dtype):
    rnn = contractive(2, 5, 0.9, dtype, num_layers=2, bidirectional=True).to("cuda")
    twin = unitary_equivalent(rnn, 1.0)
    assert {q.device.type for q in (*twin.parameters(), *twin.buffers())} == {"cuda"}
    x = inputs(40, 3, 2, bound=1.0, dtype=dtype).to("cuda")
    old, new = shared(twin(x)[0], 5, 2)
    assert not new.any()
    # Two layers of 40 steps, states of order 100.
    limit = 1e4 * torch.finfo(dtype).eps
    assert float((old - rnn(x)[0]).detach().abs().max()) <= limit
    with pytest.raises(BoundExceededError, match=r"step 0"):
        twin(x * 3)


def test_options_are_carried_over():
    rnn = contractive(2, 3, 0.5, F32, num_layers=2, dropout=0.5).eval()
    twin = unitary_equivalent(rnn, 1.0)
    assert (twin.dropout, twin.training) == (0.5, False)
    assert {p.dtype for p in twin.parameters()} == {F32}
    ours = UnitaryRNN(
        2, 3, nonlinearity="relu", return_sequence=False, checkpoint=4, learn_h0=True, bias=False
    )
    twin = unitary_equivalent(ours, 1.0, steps=9)
    assert (twin.return_sequence, twin.checkpoint, twin.training) == (False, 4, True)
    h0 = ours.cells[0].h0
    assert torch.equal(twin.cells[0].h0, functional.pad(h0, (0, 3)))
    assert torch.equal(twin.cells[0].bias[:3], torch.zeros(3))
    assert twin(inputs(9, 2, 2, bound=1.0, dtype=F32))[0] is None


def test_dropout_of_a_single_layer_is_idle_as_in_torch():
    with pytest.warns(UserWarning, match="dropout"):
        rnn = nn.RNN(2, 3, nonlinearity="relu", dropout=0.5, dtype=F64)
    with torch.no_grad():
        rnn.weight_hh_l0.mul_(0.5 / torch.linalg.matrix_norm(rnn.weight_hh_l0, 2))
    x = inputs(9, 2, 2, bound=1.0)
    twin = unitary_equivalent(rnn, 1.0)  # in training mode
    torch.testing.assert_close(twin(x)[0][..., :3], rnn(x)[0], rtol=0, atol=1e-13)


def test_the_network_and_the_random_state_are_left_alone():
    rnn = contractive(2, 3, 0.5)
    before, random = copy.deepcopy(rnn.state_dict()), torch.random.get_rng_state()
    twin = unitary_equivalent(rnn, 1.0)
    assert torch.equal(random, torch.random.get_rng_state())
    with torch.no_grad():
        for p in twin.parameters():
            p.fill_(7.0)
    for name, p in rnn.state_dict().items():
        assert torch.equal(p, before[name])


def test_a_read_out_learns_through_it_and_the_new_units_are_dead():
    rnn, n = contractive(2, 5, 0.9), 5
    twin, x = unitary_equivalent(rnn, 1.0), inputs(10, 4, 2, bound=1.0)
    theirs = torch.autograd.grad(rnn(x)[0].square().sum(), rnn.weight_ih_l0)[0]
    twin(x)[0].square().sum().backward()
    (cell,) = twin.cells
    torch.testing.assert_close(cell.weight_ih_parts.grad[:n], theirs, rtol=1e-10, atol=1e-10)
    assert not cell.weight_ih_parts.grad[n:].any()
    assert not cell.bias_parts.grad[n:].any()
    optimizer = torch.optim.SGD(parameter_groups(twin, lr=1e-3))
    attach(twin, optimizer)
    optimizer.step()
    w = cell.recurrent.matrix()
    assert float(unitarity_defect(w)) < 1e-13
    assert not torch.equal(w[:n, :n], rnn.weight_hh_l0)


# ------------------------------------------------------------------------------ beyond the bounds


def test_inputs_beyond_the_bound_are_refused_and_would_be_wrong():
    rnn, n = contractive(2, 4, 0.9), 4
    twin = unitary_equivalent(rnn, 1.0)
    x = inputs(10, 3, 2, bound=1.0)
    x[6, 2] *= 1000 / x[6, 2].norm()
    with pytest.raises(BoundExceededError, match=r"step 6 has norm 1000, and input_bound=1;"):
        twin(x)
    with pytest.raises(BoundExceededError, match=r"step 2 has norm 1000"):
        twin(x.flip(0)[1:])
    with pytest.raises(BoundExceededError, match=r"step 6"):
        twin(x[:, 2])
    packed = pack_padded_sequence(x, [3, 10, 8], enforce_sorted=False)
    with pytest.raises(BoundExceededError, match=r"step 6"):
        twin(packed)
    first = unitary_equivalent(contractive(2, 4, 0.9, batch_first=True), 1.0)
    with pytest.raises(BoundExceededError, match=r"step 6"):
        first(x=x.transpose(0, 1))
    unchecked = unitary_equivalent(rnn, 1.0, check_inputs=False)
    old, new = shared(unchecked(x)[0], n)
    assert new.any()
    assert float((old - rnn(x)[0]).detach().abs().max()) > 1


@pytest.mark.parametrize(
    ("dtype", "scale"), [(F32, 1e30), (F32, 1e-30), (F64, 1e200), (F64, 1e-200)]
)
def test_bounds_whose_squares_are_no_numbers_are_compared_all_the_same(dtype, scale):
    rnn = contractive(3, 4, 0.9, dtype, bias=False)
    x = scale * inputs(6, 2, 3, bound=1.0, dtype=dtype)
    old, new = shared(unitary_equivalent(rnn, scale)(x)[0], 4)
    assert old.any()
    assert not new.any()
    for bound in (scale / 2, 0.0):
        with pytest.raises(BoundExceededError, match=r"has norm .*, and input_bound="):
            unitary_equivalent(rnn, bound)(x)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_inputs_that_are_no_numbers_are_refused(bad):
    twin = unitary_equivalent(contractive(2, 4, 0.9), 1.0, initial_bound=1.0)
    x, h_0 = inputs(6, 3, 2, bound=1.0), torch.zeros(1, 3, 8, dtype=F64)
    for tensor, match in ((x, "input of step 0 has norm"), (h_0, "h_0 has norm")):
        tensor[0, 1, 0] = bad
        with pytest.raises(BoundExceededError, match=match):
            twin(x, h_0)
        tensor[0, 1, 0] = 0.0


def test_lengths_and_initial_states_beyond_the_bound_are_refused():
    rnn = contractive(2, 4, 1.0)
    twin, x = unitary_equivalent(rnn, 1.0, steps=5), inputs(6, 3, 2, bound=1.0)
    with pytest.raises(BoundExceededError, match=r"6 steps.*steps=5"):
        twin(x)
    start = torch.zeros(1, 3, 8, dtype=F64)
    twin(x[:5], start)
    start[0, 1, 0] = 0.5
    with pytest.raises(BoundExceededError, match=r"h_0 has norm 0\.5, and initial_bound=0;"):
        twin(x[:5], h_0=start)
    wide = unitary_equivalent(rnn, 1.0, steps=5, initial_bound=1.0)
    wide(x[:5], start)
    with pytest.raises(BoundExceededError, match=r"not 0 beyond the 4 states.*pad"):
        wide(x[:5], start.roll(4, -1))


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "save"])
def test_the_check_survives_a_copy(how):
    twin, x = unitary_equivalent(contractive(2, 4, 0.9), 1.0), inputs(6, 3, 2, bound=1.0)
    if how == "deepcopy":
        clone = copy.deepcopy(twin)
    elif how == "pickle":
        clone = pickle.loads(pickle.dumps(twin))
    else:
        buffer = io.BytesIO()
        torch.save(twin, buffer)
        buffer.seek(0)
        clone = torch.load(buffer, weights_only=False)
    assert torch.equal(clone(x)[0], twin(x)[0])
    with pytest.raises(BoundExceededError):
        clone(2 * x)
    other = unitary_equivalent(contractive(2, 4, 0.5, seed=5), 1.0)
    other.load_state_dict(twin.state_dict())
    assert torch.equal(other(x)[0], twin(x)[0])


def test_transforms_are_not_checked():
    twin, x = unitary_equivalent(contractive(2, 4, 0.9), 1.0), inputs(2, 6, 3, 2, bound=1.0)
    got = torch.vmap(lambda x: twin(x)[0])(x)
    torch.testing.assert_close(got, torch.stack([twin(y)[0] for y in x]), rtol=1e-12, atol=1e-12)


def test_norms_that_are_too_large_are_refused_with_the_remedy():
    for rnn, where in (
        (contractive(2, 4, 1.5), "layer 0"),
        (contractive(2, 4, 1.5, num_layers=2, bidirectional=True), "layer 0"),
    ):
        for steps in (None, 3):
            with pytest.raises(
                ValueError, match=rf"W of {where} has norm 1\.5, .*limit is 1.*clip"
            ):
                unitary_equivalent(rnn, 1.0, steps)
    rnn = contractive(2, 4, 0.5, num_layers=2, bidirectional=True)
    with torch.no_grad():
        rnn.weight_hh_l1_reverse.mul_(2.5)
    with pytest.raises(ValueError, match=r"W of layer 1, backward has norm 1\.25"):
        unitary_equivalent(rnn, 1.0)
    rnn = contractive(2, 4, 1.0, F32)
    with pytest.raises(
        ValueError, match=r"norm (1|0\.99\d*|1\.000\d*), .*float32.*pass steps=.*clip"
    ):
        unitary_equivalent(rnn, 1.0)
    unitary_equivalent(rnn, 1.0, steps=100)
    # A contraction, but within the rounding of float32 of none.
    with pytest.raises(ValueError, match=r"with the rounding of torch\.float32"):
        unitary_equivalent(contractive(2, 4, 1 - 1e-7, F32), 1.0)
    unitary_equivalent(contractive(2, 4, 1 - 1e-7, F64), 1.0)


@pytest.mark.parametrize(
    ("rnn", "error", "match"),
    [
        (nn.RNN(2, 3), ValueError, "nonlinearity is 'tanh'.*'relu'"),
        (UnitaryRNN(2, 3), ValueError, "nonlinearity is 'modrelu'.*'relu'.*real scheme"),
        (UnitaryRNN(2, 3, scheme="arjovsky"), ValueError, "nonlinearity is 'modrelu'"),
        (UnitaryRNN(2, 3, nonlinearity="abs"), ValueError, "nonlinearity is 'abs'"),
        (nn.LSTM(2, 3), TypeError, "a LSTM.*without gates.*nn.RNN or a UnitaryRNN"),
        (nn.GRU(2, 3), TypeError, "a GRU"),
        (UnitaryRNNCell(2, 3), TypeError, "a UnitaryRNNCell"),
        (nn.RNN(2, 3, nonlinearity="relu").bfloat16(), ValueError, r"bfloat16.*\.float\(\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_networks_are_refused(rnn, error, match):
    with pytest.raises(error, match=match):
        unitary_equivalent(rnn, 1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("weight_hh_l0", "W of layer 0"),
        ("weight_ih_l1", "V of layer 1"),
        ("bias_hh_l1_reverse", "b of layer 1, backward"),
    ],
)
def test_parameters_that_are_not_finite_are_refused(name, where, bad):
    rnn = contractive(2, 3, 0.5, num_layers=2, bidirectional=True)
    with torch.no_grad():
        rnn.get_parameter(name).view(-1)[1] = bad
    with pytest.raises(ValueError, match=f"{where} has infinite or undefined entries"):
        unitary_equivalent(rnn, 1.0)


def test_an_initial_state_that_is_not_finite_is_refused():
    rnn = UnitaryRNN(2, 3, nonlinearity="relu", learn_h0=True)
    with torch.no_grad():
        rnn.cells[0].h0_parts[1] = math.nan
    with pytest.raises(ValueError, match="h0 of layer 0 has infinite or undefined entries"):
        unitary_equivalent(rnn, 1.0, steps=3)


def test_dropout_of_everything_is_refused():
    with pytest.raises(ValueError, match=r"dropout=1\.0 .*below 1"):
        unitary_equivalent(contractive(2, 3, 0.5, num_layers=2, dropout=1.0), 1.0)


@pytest.mark.parametrize("bad", [-1.0, math.inf, math.nan])
def test_bounds_that_are_none_are_refused(bad):
    rnn = contractive(2, 3, 0.5)
    with pytest.raises(ValueError, match=r"input_bound=.*finite"):
        unitary_equivalent(rnn, bad)
    with pytest.raises(ValueError, match=r"initial_bound=.*finite"):
        unitary_equivalent(rnn, 1.0, initial_bound=bad)
    with pytest.raises(TypeError, match="input_bound is '1'"):
        unitary_equivalent(rnn, "1")


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_steps_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match=f"steps={bad}"):
        unitary_equivalent(contractive(2, 3, 0.5), 1.0, bad)


def test_a_bound_that_overflows_is_refused():
    with pytest.raises(ValueError, match=r"float32 ends at 3\.4e\+38; pass smaller.*\.double\(\)"):
        unitary_equivalent(contractive(2, 3, 0.5, F32), 1e39)
    with pytest.raises(ValueError, match=r"bounded by inf"):
        unitary_equivalent(contractive(2, 3, 1.0, F32), 1.0, steps=10**9)
