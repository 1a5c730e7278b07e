"""The states of a network run step by step, against those of the module itself."""

import warnings

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
    build,
    each_kind,
    inputs_of,
    joint,
    parts_of,
    states_of,
)
from unitary_zoo import theory
from unitary_zoo.testing.subject import normal


@each_kind
@FEW
@given(**DRAWN)
def test_steps_have_the_states_of_the_module(kind, n, steps, batch, seed):
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


def test_steps_have_the_projections_of_an_lstm():
    rnn = nn.LSTM(M, 5, 2, proj_size=3, dtype=F64)
    x = torch.rand(4, 2, M, dtype=F64)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that oneDNN does not have them
        output, _ = rnn(x)
    norms = theory.state_norms(rnn, x)
    torch.testing.assert_close(norms, output.norm(dim=-1), rtol=100 * EPS, atol=0)
    assert next(theory.jacobians(rnn, x)).shape == (2, 16, 16)


@each_kind
def test_steps_take_unbatched_sequences_and_given_states(kind):
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

    def __init__(self, rnn: nn.Module, h_0: Tensor, names: tuple[str, str]) -> None:
        super().__init__()
        self.rnn, self.h_0, self.names = rnn, h_0, names

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(**{self.names[0]: x, self.names[1]: self.h_0})[0]


@pytest.mark.parametrize(
    ("kind", "names"),
    [("gru", ("input", "hx")), ("unitary", ("input", "hx")), ("unitary", ("x", "h_0"))],
)
def test_steps_take_arguments_by_their_names(kind, names):
    rnn = build(kind, 3, seed=0)
    x, h_0 = inputs_of(rnn, 4, 2, seed=1), normal(1, 2, 3, dtype=F64, seed=2)
    net = Named(rnn, h_0, names)
    # The gradient of half the squared norm of h is h itself, in the last state.
    found = theory.gradient_norms(net, lambda y: y[-1].square().sum() / 2, x)
    torch.testing.assert_close(found[-1], net(x)[-1].norm(dim=-1).detach())


def test_steps_take_states_in_a_list_in_either_precision():
    lstm = nn.LSTM(M, 3)
    x, h_0 = torch.rand(4, 2, M), [torch.rand(1, 2, 3), torch.rand(1, 2, 3)]
    for double in (False, True):
        found = theory.state_norms(lstm, x, h_0, double=double)
        assert torch.equal(found, theory.state_norms(lstm, x, tuple(h_0), double=double))
    assert not torch.equal(found, theory.state_norms(lstm, x, double=True))
