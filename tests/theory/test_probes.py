"""The probes change nothing, take every scheme, and refuse what they cannot measure."""

import pytest
import torch
from torch import Tensor, nn

from tests.theory.probed import F64, M, Wrapped, each_kind, inputs_of, loss, net_of
from unitary_zoo import Parametrization, UnitaryRNN, theory


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


@each_kind
def test_probes_write_nothing(kind):
    net = net_of(kind, 3, seed=0).train(kind != "deep gru")
    x = inputs_of(net.rnn, 3, 2, seed=1)
    wanted = net(x)
    loss(wanted).backward()
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
    for (name, q), grad in zip(net.named_parameters(), grads, strict=True):
        assert q.requires_grad == (not name.endswith(".base"))
        assert (q.grad is None) == (grad is None)
        assert grad is None or torch.equal(q.grad, grad)
    assert torch.equal(net(x), wanted)  # a hook left on the module would refuse the call


def test_probes_leave_the_random_state_alone_with_dropout():
    net = Chain("rnn", "drop", rnn=nn.GRU(M, 3, dtype=F64), drop=nn.Dropout(0.5))
    x = torch.rand(4, 2, M, dtype=F64)
    state = torch.get_rng_state()
    theory.gradient_norms(net, torch.sum, x)
    assert torch.equal(state, torch.get_rng_state())


def test_probes_work_under_no_grad_and_on_frozen_networks():
    net = net_of("complex", 3, seed=0)
    x = inputs_of(net.rnn, 3, 2, seed=1)
    wanted = theory.gradient_norms(net, loss, x), theory.jacobian_norms(net.rnn, x)
    net.requires_grad_(False)
    with torch.no_grad():
        found = theory.gradient_norms(net, loss, x), theory.jacobian_norms(net.rnn, x)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert not any(a.requires_grad for a in found)


@pytest.mark.parametrize("name", Parametrization.names())
def test_probes_take_every_scheme(name):
    n = next(n for n in range(4, 9) if Parametrization.get(name).info.accepts(n))
    rnn = UnitaryRNN(M, n, scheme=name)
    x = torch.rand(3, 2, M)
    for double in (False, True):
        found = theory.gradient_norms(rnn, lambda y: y[1].abs().sum(), x, double=double)
        assert found.shape == theory.jacobian_norms(rnn, x, double=double).shape == (3, 2)
        assert (found > 0).all()


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
def test_probes_refuse_other_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_probes_refuse_a_module_called_twice_or_never():
    net = Chain("rnn", "rnn", rnn=nn.GRU(M, M), unused=nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"calls 'parts.rnn' twice"):
        theory.gradient_norms(net, torch.sum, X)
    with pytest.raises(ValueError, match=r"does not call 'parts.unused'"):
        theory.gradient_norms(net, torch.sum, X, rnn="parts.unused")
