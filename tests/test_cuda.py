"""The library on a CUDA device equals itself on the CPU.

Every test runs on the CPU as well, where it compares the CPU with itself: so that the tests are
exercised where there is no device.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unitary_zoo import (
    Parametrization,
    UnitaryGRU,
    UnitaryRNN,
    UnitaryRNNCell,
    as_real,
    attach,
    nonlinearities,
    parameter_groups,
    theory,
)
from unitary_zoo.linalg import unitarity_defect
from unitary_zoo.scan import gated_scan, recurrent_scan
from unitary_zoo.testing.subject import Subject, haar, normal

T, B, M, N = 6, 3, 2, 7
DTYPES = [torch.float32, torch.float64]
DEVICE = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
SCHEMES = pytest.mark.parametrize(
    ("name", "field"),
    [(name, field) for name in Parametrization.names()
     for field in Parametrization.get(name).info.fields],
)  # fmt: skip
ACTIVATIONS = [(name, "real") for name in nonlinearities.NONLINEARITIES.names()]
ACTIVATIONS += [("modrelu", "complex"), ("identity", "complex")]


@pytest.fixture(autouse=True)
def _single_precision_is_single() -> Iterator[None]:
    """The default, stated: no TF32, which keeps 10 bits of a product."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def assert_near(got: Tensor, wanted: Tensor, terms: int, device: str) -> None:
    """Equal but for the rounding of ``terms`` sums in another order, and computed on ``device``."""
    assert got.device.type == device
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    got, wanted = got.detach().cpu(), wanted.detach()
    assert torch.isfinite(got).all()
    size = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
    error = float((got - wanted).abs().max()) if wanted.numel() else 0.0
    assert error <= 16 * terms * torch.finfo(wanted.dtype).eps * size


def size_for(name: str) -> int:
    """N, or where the scheme does not accept it, the next size that it does."""
    return Subject(Parametrization.get(name)).sizes(N)[0]


def build(name: str, field: str, dtype: torch.dtype) -> Parametrization:
    """On the CPU, with a matrix whose coordinates are of order 1 where it can be chosen."""
    p = Subject(Parametrization.get(name)).build(size_for(name), field, dtype)
    if p.info.assignable:
        # Angles below pi/2, so that the Cayley map, which has a pole at pi, is well conditioned.
        p.reset_parameters("cayley", generator=torch.Generator().manual_seed(3))
    return p


def twin(module: nn.Module, device: str) -> Any:
    return copy.deepcopy(module).to(device)


def gradients(loss: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """Of the parameters that have entries."""
    named = {name: q for name, q in module.named_parameters() if q.numel()}
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def functional(output: Tensor, seed: int = 5) -> Tensor:
    """A fixed real functional of an output on any device."""
    weight = normal(*output.shape, dtype=output.dtype, seed=seed).to(output.device)
    return (weight.conj() * output).real.sum()


class NothingOnTheCPU(TorchDispatchMode):
    """Fails where an operation computes a CPU tensor of more than one number.

    Small integer tensors, such as the batch sizes of a packed sequence, belong there.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.operations = device, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        out = function(*args, **(kwargs or {}))
        self.operations += 1
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.numel() > 1:
                wrong = tensor.device.type != self.device
                if wrong and (tensor.is_floating_point() or tensor.is_complex()):
                    raise AssertionError(f"{function} computed on {tensor.device}")
        return out


# --------------------------------------------------------------------------------------- schemes


@DEVICE
@SCHEMES
@pytest.mark.parametrize("dtype", DTYPES)
def test_matrix_and_gradient(name, field, dtype, device):
    n = size_for(name)
    here = build(name, field, dtype)
    there = twin(here, device)
    # Products of a few matrices of order n; the maps have conditions of order 10.
    terms = 10 * n
    assert there.device.type == device
    with NothingOnTheCPU(device) as watch:
        w = there.matrix()
    assert watch.operations > 0
    assert_near(w, here.matrix(), terms, device)
    wanted = gradients(functional(here.matrix()), here)
    for key, grad in gradients(functional(w), there).items():
        # A coordinate moves up to n entries, weighed with numbers below 4.
        assert_near(grad, wanted[key], 4 * n * terms, device)


@DEVICE
@SCHEMES
def test_apply_adjoint_and_prepared_map(name, field, device):
    n = size_for(name)
    here = build(name, field, torch.float64)
    there = twin(here, device)
    h = normal(2, B, n, dtype=here.dtype)
    moved = h.to(device)
    with NothingOnTheCPU(device):
        results = there(moved), there.adjoint(moved), there.prepare()(moved)
    for got, wanted in zip(results, (here(h), here.adjoint(h), here.prepare()(h)), strict=True):
        assert_near(got, wanted, 10 * n, device)


@DEVICE
@SCHEMES
def test_built_on_the_device(name, field, device):
    """Constructed there, reset there, described there, assigned from the CPU."""
    n = size_for(name)
    options = {"field": field, "dtype": torch.float64, "device": device}
    p = Parametrization.create(name, n, **options)
    for tensor in (*p.parameters(), *p.buffers()):
        assert tensor.device.type == device
    assert p.matrix().device.type == device
    if p.info.exact:
        assert float(unitarity_defect(p.matrix())) <= p.info.tolerance(n, p.dtype)
    assert torch.isfinite(p.describe().eigenphases).all()
    wanted = Parametrization.create(name, n, **options).matrix().detach()
    if p.info.assignable and name != "eigenphase":  # each of which has a basis of its own
        p.assign_(wanted.cpu())
        limit = 100 * n * torch.finfo(p.dtype).eps  # the promise of assign_
        assert float(torch.linalg.matrix_norm(p.matrix().detach() - wanted, 2)) <= limit


@DEVICE
@SCHEMES
@pytest.mark.parametrize("source", ["cpu", "device"])
def test_generators_of_both_devices(name, field, source, device):
    """A generator of the CPU or of the device resets a module on the device, reproducibly."""
    n = size_for(name)
    kind = "cpu" if source == "cpu" else device
    cell = UnitaryRNNCell(M, n, name, device=device, field=field, learn_h0=True)
    states = []
    for seed in (5, 5, 6):
        cell.reset_parameters(torch.Generator(kind).manual_seed(seed))
        states.append({key: value.clone() for key, value in cell.state_dict().items()})
    for key, value in states[0].items():
        assert value.device.type == device
        assert torch.equal(value, states[1][key]), key
    assert not torch.equal(states[0]["weight_ih_parts"], states[2]["weight_ih_parts"])
    if cell.recurrent.info.exact:
        defect = float(unitarity_defect(cell.recurrent.matrix()))
        assert defect <= cell.recurrent.info.tolerance(n, cell.recurrent.dtype)


@DEVICE
@SCHEMES
def test_serialised_from_the_device(name, field, device):
    n = size_for(name)
    here = build(name, field, torch.float32)
    there = twin(here, device)
    for back in (copy.deepcopy(there).cpu(), twin(there, "cpu")):
        assert_near(back.matrix(), here.matrix(), 10 * n, "cpu")
    other = Parametrization.create(name, n, field=field, device=device)
    other.load_state_dict(here.state_dict())  # from the CPU to the device
    assert torch.equal(other.matrix(), there.matrix())


# ------------------------------------------------------------------------------------------- scan


@DEVICE
@pytest.mark.parametrize("backend", ["portable", "reference"])
@pytest.mark.parametrize("checkpoint", [None, 2])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize("v", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "field"), ACTIVATIONS)
def test_scan(name, field, dtype, v, return_sequence, checkpoint, backend, device):
    """Every backend there equals the plain loop here: states and all gradients."""
    state = dtype.to_complex() if field == "complex" else dtype
    tensors = {
        "x": normal(T, B, M if v else N, dtype=state, seed=1),
        "W": haar(N, state),
        "h0": normal(B, N, dtype=state, seed=3),
        **({"weight_ih": normal(N, M, dtype=state, seed=4)} if v else {}),
        "bias": normal(N, dtype=state, seed=5),
        # Below zero the slopes of modReLU are at most 1.
        **({"threshold": -0.1 * normal(N, dtype=dtype, seed=6).abs()} if name == "modrelu" else {}),
    }
    options = {"nonlinearity": name, "return_sequence": return_sequence}
    leaves = {key: t.clone().requires_grad_() for key, t in tensors.items()}
    moved = {key: t.to(device).requires_grad_() for key, t in tensors.items()}
    wanted = recurrent_scan(**leaves, **options, backend="reference")
    with NothingOnTheCPU(device):
        got = recurrent_scan(**moved, **options, backend=backend, checkpoint=checkpoint)
    # T steps of sums of N + M terms; gradients sum over steps and rows.
    assert_near(got, wanted, T * (N + M), device)
    mine = torch.autograd.grad(functional(got), list(moved.values()))
    theirs = torch.autograd.grad(functional(wanted), list(leaves.values()))
    for a, b in zip(mine, theirs, strict=True):
        assert_near(a, b, T * B * T * (N + M), device)
    with torch.no_grad(), NothingOnTheCPU(device):
        bare = recurrent_scan(**moved, **options, backend=backend)
    assert_near(bare, wanted, T * (N + M), device)


@DEVICE
@SCHEMES
def test_scan_with_the_map_of_a_scheme(name, field, device):
    n = size_for(name)
    here = build(name, field, torch.float64)
    there = twin(here, device)
    x, h0 = normal(T, B, n, dtype=here.dtype), normal(B, n, dtype=here.dtype, seed=2)
    wanted = recurrent_scan(x, here.matrix(), h0, "identity", backend="reference")
    got = recurrent_scan(x.to(device), there.prepare(), h0.to(device), "identity")
    assert_near(got, wanted, 10 * T * n, device)
    theirs = gradients(functional(wanted), here)
    for key, grad in gradients(functional(got), there).items():
        assert_near(grad, theirs[key], 10 * T * B * T * 4 * n, device)


@DEVICE
@pytest.mark.parametrize("name", ["tanh", "modrelu"])
def test_second_derivatives(name, device):
    field = torch.complex128 if name == "modrelu" else torch.float64
    results = []
    for where in ("cpu", device):
        x = normal(T, B, N, dtype=field).to(where).requires_grad_()
        w, h0 = haar(N, field).to(where).requires_grad_(), normal(B, N, dtype=field, seed=2)
        out = recurrent_scan(x, w, h0.to(where), name)
        first = torch.autograd.grad(functional(out.abs().square()), (x, w), create_graph=True)
        second = torch.autograd.grad(sum(g.abs().square().sum() for g in first), (x, w))
        results.append([*first, *second])
    for wanted, got in zip(*results, strict=True):
        # Of the order of the gradients' sums, twice.
        assert_near(got, wanted, (T * B * (N + M)) ** 2, device)


# -------------------------------------------------------------------------------- cells and layers


@DEVICE
@SCHEMES
def test_layer(name, field, device):
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
    there = twin(here, device)
    x = normal(T, B, M, dtype=torch.float64)
    for reset in (False, True):
        here.return_sequence = there.return_sequence = not reset
        wanted, wanted_h_n = here(x)
        with NothingOnTheCPU(device):
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
def test_packed_layer(lengths, scheme, both, device):
    here = UnitaryRNN(M, N, 2, scheme, "identity", bidirectional=both, dtype=torch.float64)
    there = twin(here, device)
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
def test_layer_equals_torch_there(nonlinearity, device):
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
def test_gated_layer(dtype, gates, device):
    """Itself here, and nn.GRU there: outputs, last states and all gradients."""
    options = {"bidirectional": True, "learn_h0": True, "gates": gates, "dtype": dtype}
    here = UnitaryGRU(M, N, 2, **options)
    with torch.no_grad():
        for cell in here.cells:
            cell.bias_hn.copy_(normal(N, dtype=dtype))
    there = twin(here, device)
    x = normal(T, B, M, dtype=dtype)
    wanted, wanted_h_n = here(x)
    with NothingOnTheCPU(device):
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
@pytest.mark.parametrize("checkpoint", [None, 2])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gated_scan(dtype, return_sequence, checkpoint, device):
    """Its backward pass there equals the plain loop here, first and second derivatives."""
    tensors = {
        "x": normal(T, B, M, dtype=dtype, seed=1),
        "W": torch.cat([haar(N, dtype, seed=seed) for seed in (2, 3, 4)]),
        "h0": normal(B, N, dtype=dtype, seed=5),
        "weight_ih": normal(3 * N, M, dtype=dtype, seed=6),
        "bias": normal(3 * N, dtype=dtype, seed=7),
        "bias_hn": normal(N, dtype=dtype, seed=8),
    }
    results = []
    for where, backend in (("cpu", "reference"), (device, "portable")):
        moved = {key: t.to(where, copy=True).requires_grad_() for key, t in tensors.items()}
        options = {"backend": backend, "return_sequence": return_sequence}
        with NothingOnTheCPU(where):
            out = gated_scan(**moved, **options, checkpoint=checkpoint)
        values = list(moved.values())
        first = torch.autograd.grad(functional(out), values, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), values)
        results.append([out, *first, *second])
    # Sums of N + M terms in T steps; gradients sum over steps and rows, and once more.
    terms = [T * (N + M)] + [T * B * T * (N + M)] * 6 + [(T * B * (N + M)) ** 2] * 6
    for wanted, got, count in zip(*results, terms, strict=True):
        assert_near(got, wanted, count, device)


@DEVICE
@pytest.mark.parametrize("scheme", ["expm", "arjovsky"])
def test_autocast_keeps_single_precision(scheme, device):
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
def test_dropout_and_cell_there(device):
    rnn = UnitaryRNN(M, N, 2, "expm", "tanh", dropout=0.5, device=device)
    x = normal(T, B, M, dtype=torch.float32).to(device)
    with NothingOnTheCPU(device):
        output, _ = rnn(x)
        h = rnn.cells[0](x[0])
    assert output.device.type == h.device.type == device
    assert not torch.equal(output, rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])


# --------------------------------------------------------------------------------------- training


@DEVICE
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
        for key, q in model.named_parameters():
            assert q.grad.device.type == device, key
            assert torch.isfinite(q.grad).all(), key
        with NothingOnTheCPU(device):
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
def test_probes_and_bounds(kind, device):
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
def test_bounds_stay_on_the_device(device):
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
