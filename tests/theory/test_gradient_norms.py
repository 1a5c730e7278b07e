"""Norms of the gradients in the states, against a second run, differences and closed forms."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from tests.theory.probed import (
    DRAWN,
    EPS,
    F64,
    FEW,
    M,
    each_kind,
    inputs_of,
    loss,
    net_of,
    parts_of,
    states_of,
)
from unitary_zoo import UnitaryRNN, as_real, theory
from unitary_zoo.theory._stepwise import Steps


@each_kind
@FEW
@given(**DRAWN)
def test_gradient_norms_in_the_top_state_equal_those_of_a_second_run(kind, n, steps, batch, seed):
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
def test_gradient_norms_in_a_lower_layer_equal_differences(kind, layer):
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


def test_gradient_norms_are_constant_for_abs_and_an_orthogonal_matrix():
    rnn = UnitaryRNN(M, 17, scheme="cayley", nonlinearity="abs", dtype=F64)
    x = torch.rand(1000, 2, M, dtype=F64)
    found = theory.gradient_norms(rnn, lambda y: y[1].square().sum(), x)
    # W is orthogonal to n eps, so a thousand of them are to 1000 n eps or so.
    torch.testing.assert_close(found, found[-1:].expand_as(found), rtol=1000 * 17 * EPS, atol=0)


def test_gradient_norms_in_double_are_right_below_single_precision():
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


def test_gradient_norms_of_a_mean_are_shared_among_the_sequences():
    net = net_of("lstm", 3, seed=0)
    x = inputs_of(net.rnn, 4, 5, seed=1)
    mean = theory.gradient_norms(net, lambda y: y.square().sum((0, 2)).mean(), x)
    alone = theory.gradient_norms(net, lambda y: y.square().sum((0, 2)).mean(), x[:, :1])
    torch.testing.assert_close(5 * mean[:, :1], alone)
