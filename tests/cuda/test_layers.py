"""The library on a CUDA device equals itself on the CPU: cells and layers."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from tests.cuda.helpers import (
    DEVICE,
    DTYPES,
    SCHEMES,
    B,
    M,
    N,
    OnlyOnTheDevice,
    T,
    assert_near,
    copy_on,
    functional,
    gradients,
    size_for,
)
from unitary_zoo import (
    UnitaryGRU,
    UnitaryRNN,
)
from unitary_zoo.testing.subject import normal


@SCHEMES
def test_layer_equals_the_cpu(name, field, device):
    """Two layers, both directions, learned starts: outputs, last states and all gradients."""
    n = size_for(name)
    here = UnitaryRNN(
        M, n, 2, name, bidirectional=True, learn_h0=True, dtype=torch.float64, field=field
    )
    with torch.no_grad():
        for cell in here.cells:
            if cell.recurrent.info.assignable:
                cell.recurrent.reset_parameters("cayley")
            cell.threshold.neg_().clamp_(max=0.0)
    there = copy_on(here, device)
    x = normal(T, B, M, dtype=torch.float64)
    for reset in (False, True):
        here.return_sequence = there.return_sequence = not reset
        wanted, wanted_h_n = here(x)
        with OnlyOnTheDevice(device):
            output, h_n = there(x.to(device))
        # Two layers of T steps; the input weights grow an error by at most 4.
        assert_near(h_n, wanted_h_n, 10 * 4 * T * 4 * n, device)
        if reset:
            assert output is None
            continue
        assert_near(output, wanted, 10 * 4 * T * 4 * n, device)
        theirs = gradients(functional(wanted), here)
        for key, grad in gradients(functional(output), there).items():
            assert_near(grad, theirs[key], 10 * 4 * T * B * T * 4 * n, device)


@DEVICE
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("scheme", ["expm", "arjovsky"])
@pytest.mark.parametrize("lengths", [[6, 4, 1], [2, 6, 2]])
def test_layer_packed_equals_the_cpu(lengths, scheme, both, device):
    here = UnitaryRNN(M, N, 2, scheme, "identity", bidirectional=both, dtype=torch.float64)
    there = copy_on(here, device)
    x = normal(max(lengths), len(lengths), M, dtype=torch.float64)
    results = []
    for module, leaf in ((here, x.clone()), (there, x.to(device))):
        leaf.requires_grad_()
        output, h_n = module(pack_padded_sequence(leaf, lengths, enforce_sorted=False))
        assert isinstance(output, PackedSequence)
        assert output.batch_sizes.device.type == "cpu"
        loss = functional(output.data) + functional(h_n, seed=6)
        results.append([output.data, h_n, *torch.autograd.grad(loss, leaf)])
        if module is there:
            assert output.sorted_indices.device.type == device
    for wanted, got in zip(*results, strict=True):
        assert_near(got, wanted, 4 * T * B * T * 4 * N, device)


@DEVICE
@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
def test_layer_equals_torch_on_the_device(nonlinearity, device):
    rnn = UnitaryRNN(M, N, nonlinearity=nonlinearity, device=device, dtype=torch.float64)
    ref = nn.RNN(M, N, nonlinearity=nonlinearity, device=device, dtype=torch.float64)
    with torch.no_grad():
        rnn.cells[0].bias.copy_(normal(N, dtype=torch.float64))
        ref.weight_hh_l0.copy_(rnn.cells[0].recurrent.matrix())
        ref.weight_ih_l0.copy_(rnn.cells[0].weight_ih)
        ref.bias_ih_l0.copy_(rnn.cells[0].bias)
        ref.bias_hh_l0.zero_()
    x = normal(T, B, M, dtype=torch.float64).to(device)
    leaves = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [module(leaf) for module, leaf in zip((rnn, ref), leaves, strict=True)]
    for got, wanted in zip(*outputs, strict=True):
        assert_near(got, wanted.cpu(), 2 * T * (N + M), device)
    for output, _ in outputs:
        functional(output).backward()
    assert_near(leaves[0].grad, leaves[1].grad.cpu(), T * T * (N + M), device)
    assert_near(
        rnn.cells[0].weight_ih.grad, ref.weight_ih_l0.grad.cpu(), T * B * T * (N + M), device
    )


@DEVICE
@pytest.mark.parametrize("gates", ["all", "candidate"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gated_layer_equals_the_cpu_and_torch(dtype, gates, device):
    """Outputs and gradients equal those on the CPU, and outputs those of nn.GRU on the device."""
    options = {"bidirectional": True, "learn_h0": True, "gates": gates, "dtype": dtype}
    here = UnitaryGRU(M, N, 2, **options)
    with torch.no_grad():
        for cell in here.cells:
            cell.bias_hn.copy_(normal(N, dtype=dtype))
    there = copy_on(here, device)
    x = normal(T, B, M, dtype=dtype)
    wanted, wanted_h_n = here(x)
    with OnlyOnTheDevice(device):
        output, h_n = there(x.to(device))
    # Two layers of T steps; the slope of a step in its inputs and in h is below 4.
    assert_near(h_n, wanted_h_n, 10 * 4 * T * 4 * N, device)
    assert_near(output, wanted, 10 * 4 * T * 4 * N, device)
    theirs = gradients(functional(wanted), here)
    for key, grad in gradients(functional(output), there).items():
        assert_near(grad, theirs[key], 10 * 4 * T * B * T * 4 * N, device)
    ref = nn.GRU(M, N, 2, bidirectional=True, device=device, dtype=dtype)
    with torch.no_grad():
        ends = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
        for cell, end in zip(there.cells, ends, strict=True):
            getattr(ref, f"weight_hh{end}").copy_(cell.weight_hh)
            getattr(ref, f"weight_ih{end}").copy_(cell.weight_ih)
            getattr(ref, f"bias_ih{end}").copy_(cell.bias)
            getattr(ref, f"bias_hh{end}").zero_()[2 * N :] = cell.bias_hn
    start = torch.stack([cell.h0.detach().expand(B, N) for cell in there.cells])
    assert_near(output, ref(x.to(device), start)[0].cpu(), 10 * 4 * T * 4 * N, device)


@DEVICE
@pytest.mark.parametrize("scheme", ["expm", "arjovsky"])
def test_layer_under_autocast_keeps_single_precision(scheme, device):
    rnn = UnitaryRNN(M, N, 2, scheme, device=device)
    x = normal(T, B, M, dtype=torch.float32).to(device)
    wanted = rnn(x)
    for low in (torch.bfloat16, torch.float16):
        with torch.autocast(device, dtype=low):
            got = rnn(x)
        for a, b in zip(got, wanted, strict=True):
            assert a.real.dtype == torch.float32
            # The same kernels on the same numbers.
            assert torch.equal(a, b)


@DEVICE
def test_layer_with_dropout_and_its_cell_run_on_the_device(device):
    rnn = UnitaryRNN(M, N, 2, "expm", "tanh", dropout=0.5, device=device)
    x = normal(T, B, M, dtype=torch.float32).to(device)
    with OnlyOnTheDevice(device):
        output, _ = rnn(x)
        h = rnn.cells[0](x[0])
    assert output.device.type == h.device.type == device
    assert not torch.equal(output, rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])


@DEVICE
@pytest.mark.parametrize("kind", [UnitaryRNN, UnitaryGRU])
def test_layer_is_exchanged_with_torch_on_the_device(kind, device):
    options = {"nonlinearity": "tanh"} if kind is UnitaryRNN else {}
    layer = kind(M, N, 2, "cayley", dtype=torch.float64, device=device, **options)
    x = normal(T, B, M, dtype=torch.float64).to(device)
    exported = layer.to_torch()
    again = kind.from_torch(exported, "cayley")
    wanted = layer(x)[0].cpu()
    for module in (exported, again):
        assert {q.device.type for q in module.parameters()} == {device}
        # assign_ moves W by up to 100 n eps; two layers of T steps, whose input weights grow that
        # by at most 4.
        assert_near(module(x)[0], wanted, 100 * N * 4 * T * 4, device)
