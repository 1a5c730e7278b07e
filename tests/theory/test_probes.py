"""Norms of states, gradients and Jacobians: against the modules themselves and differences."""

import copy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.theory.recurrences import SIZES, rounding
from unitary_zoo import Parametrization, UnitaryGRU, UnitaryRNN, as_real, orthogonal, theory
from unitary_zoo.testing.strategies import seeds
from unitary_zoo.testing.subject import normal
from unitary_zoo.theory._stepwise import Steps

F64 = torch.float64
EPS = torch.finfo(F64).eps
M = 2


class Wrapped(nn.Module):
    """A recurrent layer of nobody's: (x, h) to (output, last), and nothing else that is known."""

    def __init__(self, n: int, layers: int = 1) -> None:
        super().__init__()
        self.inner = nn.GRU(M, n, layers, dtype=F64)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inner(x, h)


KINDS = {
    "tanh": lambda n: nn.RNN(M, n, dtype=F64),
    "relu": lambda n: nn.RNN(M, n, nonlinearity="relu", dtype=F64),
    "deep relu": lambda n: nn.RNN(M, n, 3, nonlinearity="relu", bias=False, dtype=F64),
    "lstm": lambda n: nn.LSTM(M, n, dtype=F64),
    "deep lstm": lambda n: nn.LSTM(M, n, 2, batch_first=True, dtype=F64),
    "gru": lambda n: nn.GRU(M, n, bias=False, dtype=F64),
    "deep gru": lambda n: nn.GRU(M, n, 2, dropout=0.5, dtype=F64).eval(),
    "unitary": lambda n: UnitaryRNN(M, n, scheme="expm", nonlinearity="leaky_relu", dtype=F64),
    "deep unitary": lambda n: UnitaryRNN(M, n, 2, "cayley", "tanh", batch_first=True, dtype=F64),
    "complex": lambda n: UnitaryRNN(M, n, 1, "full_capacity", learn_h0=True, dtype=F64),
    "deep complex": lambda n: UnitaryRNN(M, n, 2, "arjovsky", return_sequence=False, dtype=F64),
    "unitary gru": lambda n: UnitaryGRU(M, n, 2, scheme="expm", dtype=F64),
    "parametrized": lambda n: orthogonal(nn.GRU(M, n, dtype=F64), "weight_hh_l0", blocks=3),
    "wrapped": Wrapped,
}
each_kind = pytest.mark.parametrize("kind", KINDS)
FEW = settings(max_examples=15)  # of sizes and seeds: a fault in the algebra is in all of them
DRAWN = {
    "n": st.sampled_from(SIZES),
    "steps": st.sampled_from([1, 2, 5]),
    "batch": st.sampled_from([1, 3]),
    "seed": seeds(),
}


def build(kind: str, n: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rnn = KINDS[kind](n)
        with torch.no_grad():
            for name, q in rnn.named_parameters():
                if name.endswith("threshold"):  # at most 0, and large enough to matter
                    q.copy_(-0.3 * torch.rand_like(q))
    return rnn


def inputs_of(rnn, steps, batch, seed):
    x = normal(steps, batch, M, dtype=F64, seed=seed)
    return x.transpose(0, 1) if getattr(rnn, "batch_first", False) else x


def parts_of(state):
    return state if isinstance(state, tuple) else (state,)


def joint(state) -> Tensor:
    """(B, N): layer by layer, of each h, then c."""
    layers = zip(*(part.unbind(0) for part in parts_of(state)), strict=True)
    flat = [torch.view_as_real(p).flatten(1) if p.is_complex() else p for s in layers for p in s]
    return torch.cat(flat, dim=1)


def states_of(rnn, x) -> list:
    """The state after each step, by runs over the beginning of the sequence."""
    time = 1 if getattr(rnn, "batch_first", False) else 0
    return [rnn(x.narrow(time, 0, t + 1))[1] for t in range(x.shape[time])]


def split(flat: Tensor, like):
    """The inverse of joint."""
    parts = parts_of(like)
    width = [p.shape[-1] * (2 if p.is_complex() else 1) for p in parts]
    pieces = iter(flat.split(width * len(parts[0]), dim=1))
    found = [[next(pieces) for _ in parts] for _ in range(len(parts[0]))]
    stacked = tuple(
        torch.stack([layer[i] for layer in found]).contiguous() for i in range(len(parts))
    )
    stacked = tuple(
        torch.view_as_complex(s.unflatten(-1, (-1, 2))) if p.is_complex() else s
        for s, p in zip(stacked, parts, strict=True)
    )
    return stacked if isinstance(like, tuple) else stacked[0]


# ---------------------------------------------------------------------------------- the states


@each_kind
@FEW
@given(**DRAWN)
def test_states_are_those_of_the_module(kind, n, steps, batch, seed):
    rnn = build(kind, n, seed)
    x = inputs_of(rnn, steps, batch, seed)
    with torch.no_grad():
        wanted = states_of(rnn, x)
    # The same sums in another order; states are below 10 or so, and no map stretches by more.
    limit = (
        100 * steps**2 * (n + M) * EPS * max(1.0, *(float(joint(w).abs().max()) for w in wanted))
    )
    for layer in range(len(parts_of(wanted[0])[0])):
        h = torch.stack([parts_of(state)[0][layer] for state in wanted])
        norms = theory.state_norms(rnn, x, layer=layer)
        distances = theory.state_distances(rnn, x, layer=layer)
        assert norms.shape == distances.shape == (steps, batch)
        assert norms.dtype == F64
        expected = np.sqrt((h.abs().numpy() ** 2).sum(-1))
        np.testing.assert_allclose(norms, expected, rtol=0, atol=limit)
        expected = np.sqrt(((h - h[-1]).abs().numpy() ** 2).sum(-1))
        np.testing.assert_allclose(distances, expected, rtol=0, atol=limit)
    assert (distances[-1] == 0).all()


def test_projections_of_an_lstm():
    rnn = nn.LSTM(M, 5, 2, proj_size=3, dtype=F64)
    x = torch.rand(4, 2, M, dtype=F64)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that oneDNN does not have them
        output, _ = rnn(x)
    norms = theory.state_norms(rnn, x)
    torch.testing.assert_close(norms, output.norm(dim=-1), rtol=100 * EPS, atol=0)
    assert next(theory.jacobians(rnn, x)).shape == (2, 16, 16)


# ------------------------------------------------------------------------------- the Jacobians


@each_kind
@pytest.mark.parametrize(("n", "steps", "batch"), [(1, 1, 1), (1, 3, 2), (2, 4, 1), (3, 3, 2)])
def test_jacobians_are_those_of_autograd_through_the_module(kind, n, steps, batch):
    rnn = build(kind, n, seed=5)
    x = inputs_of(rnn, steps, batch, seed=6)
    time = 1 if getattr(rnn, "batch_first", False) else 0
    with torch.no_grad():
        states = states_of(rnn, x)
    found = list(theory.jacobians(rnn, x))[::-1]
    norms = theory.jacobian_norms(rnn, x)
    assert len(found) == steps
    assert norms.shape == (steps, batch)
    for t in range(steps):
        if t == steps - 1:
            size = joint(states[t]).shape[1]
            wanted = torch.eye(size, dtype=F64).expand(batch, size, size)
        else:
            rest = x.narrow(time, t + 1, steps - 1 - t)
            whole = torch.autograd.functional.jacobian(
                lambda s: joint(rnn(rest, split(s, states[t]))[1]), joint(states[t])
            )
            wanted = torch.stack([whole[b, :, b] for b in range(batch)])
        size = float(torch.linalg.matrix_norm(wanted, 2).max())
        # Jacobians of a step have entries of order 1; both multiply the same ones.
        limit = rounding(wanted.shape[1], steps, max(1.0, size))
        assert float((found[t] - wanted).abs().max()) <= limit
        expected = np.linalg.svd(wanted.numpy(), compute_uv=False).max(-1)
        np.testing.assert_allclose(norms[t], expected, rtol=0, atol=wanted.shape[1] * limit)


def test_jacobian_of_complex_modrelu_by_differences():
    rnn = build("complex", 3, seed=1)
    x = inputs_of(rnn, 4, 1, seed=2)
    start = states_of(rnn, x)[0].detach()
    found = list(theory.jacobians(rnn, x))[-1][0]
    step = 1e-6
    for column in range(6):
        d = torch.zeros(1, 6, dtype=F64)
        d[0, column] = step
        with torch.no_grad():
            ends = [joint(rnn(x[1:], split(joint(start) + s * d, start))[1])[0] for s in (1, -1)]
        difference = (ends[0] - ends[1]) / (2 * step)
        # step^2 times third derivatives, b / |z|^3 of modReLU, and eps / step of rounding
        assert float((found[:, column] - difference).abs().max()) <= 1e-7


REAL = ("relu", "leaky_relu", "abs", "tanh", "sigmoid", "identity", "modrelu")
BOUNDED = [("expm", name) for name in REAL] + [
    ("spectral_band", "leaky_relu"),
    ("householder", "abs"),
    ("full_capacity", "modrelu"),
    ("full_capacity", "identity"),
    ("arjovsky", "modrelu"),
]


@pytest.mark.parametrize(("scheme", "nonlinearity"), BOUNDED)
@FEW
@given(**DRAWN)
def test_measured_jacobians_lie_within_the_bounds(scheme, nonlinearity, n, steps, batch, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rnn = UnitaryRNN(M, n, 1, scheme, nonlinearity, dtype=F64)
        cell = rnn.cells[0]
        if cell.threshold is not None:
            cell.threshold.data.copy_(-torch.rand_like(cell.threshold))
    x = normal(steps, batch, M, dtype=F64, seed=seed)
    pair = theory.slopes(nonlinearity, cell.threshold, is_complex=cell.is_complex)
    lower, upper = theory.gradient_bounds(cell.recurrent, pair, torch.arange(steps).flip(0))
    s = torch.stack([torch.linalg.svdvals(j) for j in theory.jacobians(rnn, x)][::-1])
    slack = rounding(n, steps, float(upper.max()))
    assert s.shape[:2] == (steps, batch)
    assert (s.amax(-1) <= upper[:, None] + slack).all()
    assert (s.amin(-1) >= lower[:, None] - slack).all()
    torch.testing.assert_close(theory.jacobian_norms(rnn, x), s.amax(-1), rtol=0, atol=slack)


@FEW
@given(n=st.sampled_from([2, 3, 7]), seed=seeds())
def test_random_rows_tell_no_more_than_the_norm(n, seed):
    rnn = build("lstm", n, seed)
    x = inputs_of(rnn, 4, 2, seed)
    exact = theory.jacobian_norms(rnn, x)
    slack = rounding(2 * n, 4, float(exact.max()))
    for k in (1, n):
        estimate = theory.jacobian_norms(rnn, x, vectors=k)
        assert (estimate <= exact + slack).all()
        assert (estimate > 0).all()
    all_rows = theory.jacobian_norms(rnn, x, vectors=2 * n)
    torch.testing.assert_close(all_rows, exact, rtol=0, atol=slack)
    state = torch.get_rng_state()
    assert torch.equal(estimate, theory.jacobian_norms(rnn, x, vectors=n))
    assert torch.equal(state, torch.get_rng_state())


def test_random_rows_of_an_isometry_are_exact():
    rnn = UnitaryRNN(M, 17, scheme="expm", nonlinearity="abs", dtype=F64)
    found = theory.jacobian_norms(rnn, torch.rand(50, 2, M, dtype=F64), vectors=2)
    assert float((found - 1).abs().max()) <= rounding(17, 50, 1.0)


# ------------------------------------------------------------------------------- the gradients


class Chain(nn.Module):
    """Calls the modules in a row, as often as they are named."""

    def __init__(self, *order: str, **modules: nn.Module) -> None:
        super().__init__()
        self.order, self.parts = order, nn.ModuleDict(modules)

    def forward(self, x: Tensor) -> Tensor:
        for name in self.order:
            x = self.parts[name](x)
            x = x[0] if isinstance(x, tuple) else x
        return x


class Net(nn.Module):
    """A read-out of every state, so that gradients enter at every step."""

    def __init__(self, rnn: nn.Module, features: int) -> None:
        super().__init__()
        self.rnn = rnn
        self.readout = nn.Linear(features, 2, dtype=F64)

    def forward(self, x: Tensor) -> Tensor:
        output, last = self.rnn(x)
        if output is None:
            output = parts_of(last)[0][-1]
        return self.readout(as_real(output))


def net_of(kind: str, n: int, seed: int) -> Net:
    rnn = build(kind, n, seed)
    features = rnn.output_size if isinstance(rnn, UnitaryRNN) else n
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return Net(rnn, features)


def loss(y: Tensor) -> Tensor:
    return (y - 0.3).square().sum()


@each_kind
@FEW
@given(**DRAWN)
def test_gradients_in_the_top_state_by_a_second_run(kind, n, steps, batch, seed):
    net = net_of(kind, n, seed)
    x = inputs_of(net.rnn, steps, batch, seed)
    time = 1 if getattr(net.rnn, "batch_first", False) else 0
    name = "rnn" if kind == "wrapped" else None
    found = theory.gradient_norms(net, loss, x, rnn=name)
    assert found.shape == (steps, batch)
    assert all(q.grad is None for q in net.parameters())
    with torch.no_grad():
        states = states_of(net.rnn, x)
    limit = 1e-9  # of gradients of order 1 to 100; a wrong path is off by as much as they are
    for t in range(steps):
        # The loss as a function of the state at t: what is read from it, and what follows.
        state = tuple(p.clone().requires_grad_() for p in parts_of(states[t]))
        given = state if isinstance(states[t], tuple) else state[0]
        c = torch.zeros((), dtype=F64)
        last_only = isinstance(net.rnn, UnitaryRNN) and not net.rnn.return_sequence
        if not last_only or t == steps - 1:
            c = c + loss(net.readout(as_real(state[0][-1])))
        if t < steps - 1:
            output, last = net.rnn(x.narrow(time, t + 1, steps - 1 - t), given)
            output = parts_of(last)[0][-1] if output is None else output
            c = c + loss(net.readout(as_real(output)))
        (gradient,) = torch.autograd.grad(c, state[0])
        wanted = np.sqrt((gradient[-1].abs().numpy() ** 2).sum(-1))
        np.testing.assert_allclose(found[t], wanted, rtol=limit, atol=limit)


@pytest.mark.parametrize(
    "kind", ["deep relu", "deep lstm", "deep gru", "deep unitary", "unitary gru"]
)
@pytest.mark.parametrize("layer", [0, -2])
def test_gradients_in_a_lower_layer_by_differences(kind, layer):
    n, steps = 3, 4
    net = net_of(kind, n, seed=3)
    x = inputs_of(net.rnn, steps, 1, seed=4)
    found = theory.gradient_norms(net, loss, x, layer=layer)
    rnn = copy.deepcopy(net.rnn)
    steps_of = Steps(rnn, x)

    @torch.no_grad()
    def c(t: int, move: Tensor) -> float:
        """The loss if h of that layer is moved by so much after step t, for all that follows."""
        layers, states, outputs = steps_of._layers, [None] * len(steps_of._layers), []
        for i, inputs in enumerate(steps_of.x):
            feed = inputs
            for index, step in enumerate(layers):
                new = step(feed, states[index])
                if i == t and index == layer % len(layers):
                    new = (new[0] + move, *new[1:])
                states[index], feed = new, new[0]
            outputs.append(feed)
        return float(loss(net.readout(torch.stack(outputs))))

    h = 1e-5
    for t in range(steps):
        columns = [(c(t, h * row) - c(t, -h * row)) / (2 * h) for row in torch.eye(n, dtype=F64)]
        # Second-order differences: h^2 times third derivatives, eps / h times a loss below 100.
        assert float(found[t, 0]) == pytest.approx(float(np.linalg.norm(columns)), abs=1e-7)


def test_abs_and_orthogonal_keep_the_gradient_for_a_thousand_steps():
    rnn = UnitaryRNN(M, 17, scheme="cayley", nonlinearity="abs", dtype=F64)
    x = torch.rand(1000, 2, M, dtype=F64)
    found = theory.gradient_norms(rnn, lambda y: y[1].square().sum(), x)
    # W is orthogonal to n eps, so a thousand of them are to 1000 n eps or so.
    torch.testing.assert_close(found, found[-1:].expand_as(found), rtol=1000 * 17 * EPS, atol=0)


def test_gradients_too_small_for_single_precision():
    rnn = nn.RNN(M, 3, nonlinearity="relu", bias=False)
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(0.5 * torch.eye(3))
        rnn.weight_ih_l0.fill_(1.0)
    x = torch.rand(201, 1, M)
    single = theory.gradient_norms(rnn, lambda y: y[1].sum(), x)
    exact = 3**0.5 * 0.5 ** torch.arange(200, -1, -1, dtype=F64)
    assert (single[:51] == 0).all()  # 2^-150 and less
    assert (single[75:] > 0).all()
    torch.testing.assert_close(
        theory.gradient_norms(rnn, lambda y: y[1].sum(), x, double=True)[:, 0], exact
    )
    assert rnn.weight_hh_l0.dtype == torch.float32
    norms = theory.jacobian_norms(rnn, x, double=True)[:, 0]
    torch.testing.assert_close(norms, exact / 3**0.5)


def test_an_exploding_network_has_infinite_norms_and_no_error():
    rnn = nn.RNN(M, 1, nonlinearity="relu", bias=False)
    with torch.no_grad():
        rnn.weight_hh_l0.fill_(10.0)
        rnn.weight_ih_l0.fill_(1e-30)
    x = torch.rand(60, 2, M)
    single = theory.jacobian_norms(rnn, x)
    exact = 10.0 ** torch.arange(59, -1, -1, dtype=F64).unsqueeze(1).expand(60, 2)
    overflows = exact > torch.finfo(torch.float32).max
    assert (single[overflows] == torch.inf).all()
    torch.testing.assert_close(single[~overflows], exact[~overflows], rtol=1e-5, atol=0)
    torch.testing.assert_close(theory.jacobian_norms(rnn, x, double=True), exact)


def test_undefined_inputs_of_a_sequence_leave_the_others_alone():
    rnn = build("deep lstm", 3, seed=0)
    x = inputs_of(rnn, 5, 3, seed=1)
    wanted = theory.jacobian_norms(rnn, x)
    x[1, 3] = torch.nan
    found = theory.jacobian_norms(rnn, x)
    assert torch.equal(found[:, [0, 2]], wanted[:, [0, 2]])
    assert found[:3, 1].isnan().all()  # of a path by way of that input
    assert float(found[4, 1]) == 1


def test_a_mean_shares_the_gradient_among_the_sequences():
    net = net_of("lstm", 3, seed=0)
    x = inputs_of(net.rnn, 4, 5, seed=1)
    mean = theory.gradient_norms(net, lambda y: y.square().sum((0, 2)).mean(), x)
    alone = theory.gradient_norms(net, lambda y: y.square().sum((0, 2)).mean(), x[:, :1])
    torch.testing.assert_close(5 * mean[:, :1], alone)


# ------------------------------------------------------------------------------ reading is all


@each_kind
def test_reading_never_writes(kind):
    net = net_of(kind, 3, seed=0).train(kind != "deep gru")
    x = inputs_of(net.rnn, 3, 2, seed=1)
    loss(net(x)).backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    grads = [None if q.grad is None else q.grad.clone() for q in net.parameters()]
    modes = [module.training for module in net.modules()]
    state = torch.get_rng_state()
    name = "rnn" if kind == "wrapped" else None
    for double in (False, True):
        theory.gradient_norms(net, loss, x, rnn=name, double=double)
        theory.jacobian_norms(net.rnn, x, vectors=2, double=double)
        theory.state_norms(net.rnn, x, double=double)
    assert torch.equal(state, torch.get_rng_state())
    assert modes == [module.training for module in net.modules()]
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    for q, grad in zip(net.parameters(), grads, strict=True):
        assert q.requires_grad
        assert (q.grad is None) == (grad is None)
        assert grad is None or torch.equal(q.grad, grad)
    assert not any(module._forward_hooks for module in net.modules())


def test_dropout_of_the_model_leaves_the_random_state_alone():
    net = Chain("rnn", "drop", rnn=nn.GRU(M, 3, dtype=F64), drop=nn.Dropout(0.5))
    x = torch.rand(4, 2, M, dtype=F64)
    state = torch.get_rng_state()
    theory.gradient_norms(net, torch.sum, x)
    assert torch.equal(state, torch.get_rng_state())


def test_works_under_no_grad_and_on_frozen_networks():
    net = net_of("complex", 3, seed=0)
    x = inputs_of(net.rnn, 3, 2, seed=1)
    wanted = theory.gradient_norms(net, loss, x), theory.jacobian_norms(net.rnn, x)
    net.requires_grad_(False)
    with torch.no_grad():
        found = theory.gradient_norms(net, loss, x), theory.jacobian_norms(net.rnn, x)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert not any(a.requires_grad for a in found)


@pytest.mark.parametrize("name", Parametrization.names())
def test_every_scheme_can_be_probed(name):
    n = next(n for n in range(4, 9) if Parametrization.get(name).info.accepts(n))
    rnn = UnitaryRNN(M, n, scheme=name)
    x = torch.rand(3, 2, M)
    for double in (False, True):
        found = theory.gradient_norms(rnn, lambda y: y[1].abs().sum(), x, double=double)
        assert found.shape == theory.jacobian_norms(rnn, x, double=double).shape == (3, 2)
        assert (found > 0).all()


@each_kind
def test_unbatched_and_given_states(kind):
    rnn = build(kind, 3, seed=0)
    x = inputs_of(rnn, 5, 1, seed=1)
    alone = x[0] if getattr(rnn, "batch_first", False) else x[:, 0]
    start = rnn(x)[1]
    given = tuple(p.detach() for p in start) if isinstance(start, tuple) else start.detach()
    first = tuple(p.squeeze(1) for p in given) if isinstance(given, tuple) else given.squeeze(1)
    for probe in (theory.state_norms, theory.state_distances, theory.jacobian_norms):
        assert torch.equal(probe(rnn, alone), probe(rnn, x)[:, 0])
        moved = probe(rnn, x, given)
        assert torch.equal(probe(rnn, alone, first), moved[:, 0])
    with torch.no_grad():
        h = parts_of(rnn(x, given)[1])[0][-1]
    norms = theory.state_norms(rnn, x, given, double=True)
    torch.testing.assert_close(norms[-1], h.norm(dim=-1), rtol=1e-12, atol=0)
    name = "" if kind == "wrapped" else None
    found = theory.gradient_norms(rnn, lambda y: parts_of(y[1])[0].abs().sum(), alone, rnn=name)
    assert found.shape == (5,)


class Named(nn.Module):
    """Calls its layer by the names of the arguments, in another order."""

    def __init__(self, rnn: nn.Module, h_0: Tensor) -> None:
        super().__init__()
        self.rnn, self.h_0 = rnn, h_0

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.rnn, nn.GRU):
            return self.rnn(hx=self.h_0, input=x)[0]
        return self.rnn(h_0=self.h_0, x=x)[0]


@pytest.mark.parametrize("kind", ["gru", "unitary"])
def test_arguments_go_by_their_names(kind):
    rnn = build(kind, 3, seed=0)
    x, h_0 = inputs_of(rnn, 4, 2, seed=1), normal(1, 2, 3, dtype=F64, seed=2)
    net = Named(rnn, h_0)
    # The gradient of half the squared norm of h is h itself, in the last state.
    found = theory.gradient_norms(net, lambda y: y[-1].square().sum() / 2, x)
    torch.testing.assert_close(found[-1], net(x)[-1].norm(dim=-1).detach())


def test_states_may_come_in_a_list_and_turn_double():
    x, h_0 = torch.rand(4, 2, M), [torch.rand(1, 2, 3), torch.rand(1, 2, 3)]
    for double in (False, True):
        found = theory.state_norms(LSTM, x, h_0, double=double)
        assert torch.equal(found, theory.state_norms(LSTM, x, tuple(h_0), double=double))
    assert not torch.equal(found, theory.state_norms(LSTM, x, double=True))


# ---------------------------------------------------------------------------------------- errors

LSTM, X = nn.LSTM(M, 3), torch.rand(4, 2, M)
TWO = nn.Sequential(nn.GRU(M, 3), nn.GRU(M, 3))


def ones(y):
    return y[0].sum()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: theory.state_norms(nn.RNN(M, 3, bidirectional=True), X), ValueError, "bidir"),
        (lambda: theory.state_norms(nn.RNN(M, 3, 2, dropout=0.5), X), ValueError, r"eval\(\)"),
        (lambda: theory.state_norms(LSTM, torch.rand(0, 2, M)), ValueError, r"\(0, 2, 2\)"),
        (lambda: theory.state_norms(LSTM, torch.rand(M)), ValueError, r"\(2,\)"),
        (lambda: theory.state_norms(LSTM, torch.rand(4, 2, 5)), ValueError, "reads 2 features"),
        (lambda: theory.state_norms(LSTM, X, layer=1), ValueError, "layer=1, and there are 1"),
        (
            lambda: theory.state_norms(LSTM, X, (torch.rand(1, 3, 3),) * 2),
            ValueError,
            r"pass \(1, 2, n\)",
        ),
        (
            lambda: theory.state_norms(LSTM, nn.utils.rnn.pack_sequence([torch.rand(3, M)])),
            TypeError,
            "PackedSequence",
        ),
        (lambda: theory.state_norms(Wrapped(3, layers=2), X.double()), ValueError, "of 2 layers"),
        (lambda: theory.jacobian_norms(LSTM, X, vectors=7), ValueError, "pass 1 to 6"),
        (lambda: theory.jacobian_norms(LSTM, X, vectors=0), ValueError, "vectors=0"),
        (lambda: theory.gradient_norms(nn.Linear(M, 1), ones, X), ValueError, "0 recurrent"),
        (lambda: theory.gradient_norms(TWO, ones, X), ValueError, r"2 recurrent.*'0', '1'"),
        (lambda: theory.gradient_norms(LSTM, ones, X, layer=1), ValueError, "layer=1"),
        (lambda: theory.gradient_norms(LSTM, lambda y: y[0], X), ValueError, r"\(4, 2, 3\)"),
        (lambda: theory.gradient_norms(LSTM, lambda y: 1.0, X), ValueError, "one real number"),
    ],
)
def test_refuses(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_refuses_what_is_called_twice_or_never():
    net = Chain("rnn", "rnn", rnn=nn.GRU(M, M), unused=nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"calls 'parts.rnn' twice"):
        theory.gradient_norms(net, torch.sum, X)
    with pytest.raises(ValueError, match=r"does not call 'parts.unused'"):
        theory.gradient_norms(net, torch.sum, X, rnn="parts.unused")
