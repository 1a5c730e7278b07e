"""The library on a CUDA device equals itself on the CPU: training and theory."""

import copy

import pytest
import torch
from torch import nn

from tests.cuda.helpers import DEVICE, SCHEMES, B, M, N, OnlyOnTheDevice, T, assert_near, size_for
from tests.oracles import named_learned
from unitary_zoo import (
    UnitaryRNN,
    as_real,
    attach,
    parameter_groups,
    theory,
)
from unitary_zoo.linalg import unitarity_defect
from unitary_zoo.testing.subject import haar, normal


@SCHEMES
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.RMSprop])
def test_training_stays_on_the_group(name, field, optimizer, device):
    n = size_for(name)
    rnn = UnitaryRNN(
        M, n, scheme=name, return_sequence=False, device=device, dtype=torch.float64, field=field
    )
    readout = nn.Linear(rnn.output_size, 1, device=device, dtype=torch.float64)
    model = nn.ModuleList([rnn, readout])
    train = optimizer(parameter_groups(model, lr=1e-2, unitary_lr=1e-3))
    attach(model, train)
    x = normal(T, B, M, dtype=torch.float64).to(device)
    p = rnn.cells[0].recurrent
    start = p.matrix().detach()
    for _ in range(10):
        train.zero_grad()
        readout(as_real(rnn(x)[1][-1])).square().mean().backward()
        for key, q in named_learned(model):
            assert q.grad.device.type == device, key
            assert torch.isfinite(q.grad).all(), key
        with OnlyOnTheDevice(device):
            train.step()
    w = p.matrix().detach()
    assert float((w - start).abs().max()) > 1e-6  # it moved
    if p.info.exact:
        assert float(unitarity_defect(w)) <= p.info.tolerance(n, p.dtype)


PROBED = {
    "lstm": lambda: nn.LSTM(M, N, 2, dtype=torch.float64),
    "gru": lambda: nn.GRU(M, N, bias=False, dtype=torch.float64),
    "complex": lambda: UnitaryRNN(M, N, scheme="arjovsky", dtype=torch.float64),
}


@DEVICE
@pytest.mark.parametrize("kind", PROBED)
def test_probes_equal_the_cpu(kind, device):
    rnn = PROBED[kind]()
    there = copy.deepcopy(rnn).to(device)
    x = normal(T, B, M, dtype=torch.float64)
    terms = 100 * T * N

    def loss(result):
        return as_real(result[0]).square().sum()

    for probe in (theory.state_norms, theory.state_distances, theory.jacobian_norms):
        assert_near(probe(there, x.to(device)), probe(rnn, x), terms, device)
    wanted = theory.gradient_norms(rnn, loss, x)
    assert_near(theory.gradient_norms(there, loss, x.to(device)), wanted, terms, device)
    # Other rows are drawn on another device.
    few = theory.jacobian_norms(there, x.to(device), vectors=2).cpu()
    assert (few <= theory.jacobian_norms(rnn, x) * (1 + 1e-12)).all()


@DEVICE
def test_bounds_stay_on_the_device_and_equal_the_cpu(device):
    w, z = haar(N, torch.complex128), normal(T, B, N, dtype=torch.complex128)
    b = -normal(N, dtype=torch.float64).abs()
    for there, here in (
        (theory.gradient_bounds(w.to(device), (0.5, 1.0), [1, 9]),
         theory.gradient_bounds(w, (0.5, 1.0), [1, 9])),
        (theory.trajectory_bounds(w.to(device), z.to(device), "modrelu", b.to(device)),
         theory.trajectory_bounds(w, z, "modrelu", b)),
    ):  # fmt: skip
        assert_near(there.lower, here.lower, 100 * N, device)
        assert_near(there.upper, here.upper, 100 * N, device)
