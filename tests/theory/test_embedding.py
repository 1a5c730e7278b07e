"""The unitary network around a given one: its options, its weights, and the networks it refuses."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.theory.contractive import F32, F64, contractive, inputs, shared
from unitary_zoo import (
    Parametrization,
    UnitaryRNN,
    UnitaryRNNCell,
    attach,
    orthogonal,
    parameter_groups,
)
from unitary_zoo.linalg import unitarity_defect
from unitary_zoo.testing.subject import Subject
from unitary_zoo.theory import BoundExceededError, unitary_equivalent


@pytest.mark.parametrize("name", Parametrization.names(exact=True, fields="real"))
def test_embedding_of_an_orthogonal_network_is_itself(name):
    scheme = Parametrization.get(name)
    (n,) = Subject(scheme).sizes(8)
    rnn = UnitaryRNN(2, n, scheme=name, nonlinearity="relu", field="real", dtype=F64)
    unitary = unitary_equivalent(rnn, 1.0, steps=10, minimal=True)
    assert torch.equal(unitary.cells[0].recurrent.matrix(), rnn.cells[0].recurrent.matrix())
    assert torch.equal(unitary.cells[0].bias, rnn.cells[0].bias)


def test_embedding_decouples_units_that_a_cell_does_not_need():
    rnn = contractive(2, 3, [1.0, 1.0, 0.5], num_layers=2)
    with torch.no_grad():
        rnn.weight_hh_l1.copy_(torch.tensor(np.diag([1.0, 0.5, 0.5])))
    unitary = unitary_equivalent(rnn, 1.0, 20, minimal=True)
    assert unitary.hidden_size == 3 + 2
    w = unitary.cells[0].recurrent.matrix()
    assert torch.equal(w[4:, :], torch.eye(5, dtype=F64)[4:])
    assert float(unitarity_defect(w)) < 1e-14
    x = inputs(20, 4, 2, bound=1.0)
    old, new = shared(unitary(x)[0], 3)
    assert not new.any()
    torch.testing.assert_close(old, rnn(x)[0], rtol=0, atol=1e-12)  # 20 steps, sums up to 100


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("minimal", [True, False])
def test_embedding_of_layers_and_directions_for_all_forms_of_input(bias, bidirectional, minimal):
    n, directions = 5, 1 + bidirectional
    rnn = contractive(
        2, n, 0.8, num_layers=3, bidirectional=bidirectional, bias=bias, batch_first=True
    )
    unitary = unitary_equivalent(rnn, 1.0, minimal=minimal, initial_bound=1.0)
    assert (unitary.num_layers, unitary.bidirectional) == (3, bidirectional)
    assert unitary.batch_first
    x = inputs(4, 12, 2, bound=1.0)
    h_0 = inputs(3 * directions, 4, n, bound=1.0)
    padded = functional.pad(h_0, (0, unitary.hidden_size - n))
    near = {"rtol": 0, "atol": 1e-11}  # the states of the third layer are of order 100
    for args, theirs in (((x,), (x,)), ((x, padded), (x, h_0)), ((x[0],), (x[0],))):
        for got, wanted, d in zip(unitary(*args), rnn(*theirs), (directions, 1), strict=True):
            old, new = shared(got, n, d)
            assert old.shape == wanted.shape
            torch.testing.assert_close(old, wanted, **near)
            assert not new.any()
    packed = pack_padded_sequence(x, [5, 12, 1, 7], batch_first=True, enforce_sorted=False)
    got, wanted = (pad_packed_sequence(f(packed)[0])[0] for f in (unitary, rnn))
    old, new = shared(got, n, directions)
    torch.testing.assert_close(old, wanted, **near)
    assert not new.any()


def test_embedding_reads_parametrized_weights():
    rnn = orthogonal(nn.RNN(2, 6, nonlinearity="relu", dtype=F64), "weight_hh_l0", "cayley")
    unitary = unitary_equivalent(rnn, 1.0, steps=20, minimal=True)
    assert unitary.hidden_size == 6
    x = inputs(20, 3, 2, bound=1.0)
    torch.testing.assert_close(unitary(x)[0], rnn(x)[0], rtol=0, atol=1e-12)  # 20 steps of order 10


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [F32, F64])
def test_embedding_is_on_the_device_of_its_network(dtype):
    rnn = contractive(2, 5, 0.9, dtype, num_layers=2, bidirectional=True).to("cuda")
    unitary = unitary_equivalent(rnn, 1.0)
    assert {q.device.type for q in (*unitary.parameters(), *unitary.buffers())} == {"cuda"}
    x = inputs(40, 3, 2, bound=1.0, dtype=dtype).to("cuda")
    old, new = shared(unitary(x)[0], 5, 2)
    assert not new.any()
    # Two layers of 40 steps, states of order 100.
    limit = 1e4 * torch.finfo(dtype).eps
    assert float((old - rnn(x)[0]).detach().abs().max()) <= limit
    with pytest.raises(BoundExceededError, match=r"step 0"):
        unitary(x * 3)


def test_embedding_takes_the_options_of_its_network():
    rnn = contractive(2, 3, 0.5, F32, num_layers=2, dropout=0.5).eval()
    unitary = unitary_equivalent(rnn, 1.0)
    assert (unitary.dropout, unitary.training) == (0.5, False)
    assert {p.dtype for p in unitary.parameters()} == {F32}
    ours = UnitaryRNN(
        2, 3, nonlinearity="relu", return_sequence=False, checkpoint=4, learn_h0=True, bias=False
    )
    unitary = unitary_equivalent(ours, 1.0, steps=9)
    assert (unitary.return_sequence, unitary.checkpoint, unitary.training) == (False, 4, True)
    h0 = ours.cells[0].h0
    assert torch.equal(unitary.cells[0].h0, functional.pad(h0, (0, 3)))
    assert torch.equal(unitary.cells[0].bias[:3], torch.zeros(3))
    assert unitary(inputs(9, 2, 2, bound=1.0, dtype=F32))[0] is None


def test_embedding_ignores_dropout_of_a_single_layer_as_torch():
    with pytest.warns(UserWarning, match="dropout"):
        rnn = nn.RNN(2, 3, nonlinearity="relu", dropout=0.5, dtype=F64)
    with torch.no_grad():
        rnn.weight_hh_l0.mul_(0.5 / torch.linalg.matrix_norm(rnn.weight_hh_l0, 2))
    x = inputs(9, 2, 2, bound=1.0)
    unitary = unitary_equivalent(rnn, 1.0)  # in training mode
    torch.testing.assert_close(unitary(x)[0][..., :3], rnn(x)[0], rtol=0, atol=1e-13)


def test_embedding_leaves_the_network_and_the_random_state_alone():
    rnn = contractive(2, 3, 0.5)
    before, random = copy.deepcopy(rnn.state_dict()), torch.random.get_rng_state()
    unitary = unitary_equivalent(rnn, 1.0)
    assert torch.equal(random, torch.random.get_rng_state())
    with torch.no_grad():
        for p in unitary.parameters():
            p.fill_(7.0)
    for name, p in rnn.state_dict().items():
        assert torch.equal(p, before[name])


def test_embedding_has_the_gradients_of_its_network_and_dead_units():
    rnn, n = contractive(2, 5, 0.9), 5
    unitary, x = unitary_equivalent(rnn, 1.0), inputs(10, 4, 2, bound=1.0)
    theirs = torch.autograd.grad(rnn(x)[0].square().sum(), rnn.weight_ih_l0)[0]
    unitary(x)[0].square().sum().backward()
    (cell,) = unitary.cells
    torch.testing.assert_close(cell.weight_ih_parts.grad[:n], theirs, rtol=1e-10, atol=1e-10)
    assert not cell.weight_ih_parts.grad[n:].any()
    assert not cell.bias_parts.grad[n:].any()
    optimizer = torch.optim.SGD(parameter_groups(unitary, lr=1e-3))
    attach(unitary, optimizer)
    optimizer.step()
    w = cell.recurrent.matrix()
    assert float(unitarity_defect(w)) < 1e-13
    assert not torch.equal(w[:n, :n], rnn.weight_hh_l0)


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
def test_embedding_refuses_other_networks(rnn, error, match):
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
def test_embedding_refuses_parameters_that_are_not_finite(name, where, bad):
    rnn = contractive(2, 3, 0.5, num_layers=2, bidirectional=True)
    with torch.no_grad():
        rnn.get_parameter(name).view(-1)[1] = bad
    with pytest.raises(ValueError, match=f"{where} has infinite or undefined entries"):
        unitary_equivalent(rnn, 1.0)


def test_embedding_refuses_an_initial_state_that_is_not_finite():
    rnn = UnitaryRNN(2, 3, nonlinearity="relu", learn_h0=True)
    with torch.no_grad():
        rnn.cells[0].h0_parts[1] = math.nan
    with pytest.raises(ValueError, match="h0 of layer 0 has infinite or undefined entries"):
        unitary_equivalent(rnn, 1.0, steps=3)


def test_embedding_refuses_dropout_of_everything():
    with pytest.raises(ValueError, match=r"dropout=1\.0 .*below 1"):
        unitary_equivalent(contractive(2, 3, 0.5, num_layers=2, dropout=1.0), 1.0)
