"""UnitaryRNN: layers and directions, initial states, dropout, precision, training and errors."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from tests.layers.rnn_helpers import CASES, F64, STACKS, assert_near, compare, rnn_of
from tests.oracles import learned, named_learned
from tests.recurrent import B, M, N, T, check_serialises, check_trains, size_for
from unitary_zoo import Parametrization, UnitaryRNN, as_real, attach, parameter_groups
from unitary_zoo.linalg import unitarity_defect
from unitary_zoo.testing import strategies
from unitary_zoo.testing.subject import normal


@given(
    case=st.sampled_from(CASES),
    seed=strategies.seeds(),
    shape=st.tuples(st.integers(2, 9), st.integers(1, 4)),
    data=st.data(),
    both=st.booleans(),
)
def test_rnn_computes_rows_and_halves_of_a_sequence_independently(case, seed, shape, data, both):
    scheme, options = case
    steps, batch = shape
    rnn = rnn_of(scheme, "modrelu", bidirectional=both, **options)
    x = normal(steps, batch, M, dtype=F64, seed=seed)
    output, h_n = rnn(x)
    row = data.draw(st.integers(0, batch - 1))
    alone, last = rnn(x[:, row : row + 1])
    assert_near(output[:, row : row + 1], alone, 2)
    assert_near(h_n[:, row : row + 1], last, 2)
    if not both:
        cut = data.draw(st.integers(1, steps - 1))
        first, state = rnn(x[:cut])
        second, end = rnn(x[cut:], state)
        assert_near(torch.cat([first, second]), output, 2)
        assert_near(end, h_n, 2)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize(("scheme", "options"), CASES)
def test_rnn_layers_are_cells_on_real_features(scheme, options, both):
    """Layer 2 reads [Re h, Im h] of both directions of layer 1, as a loop over cells does."""
    rnn = rnn_of(scheme, "modrelu", num_layers=2, bidirectional=both, **options)
    x = normal(T, B, M, dtype=F64)
    output, h_n = rnn(x)
    cells, ends = iter(rnn.cells), iter(h_n)
    for _ in range(2):
        outs = []
        for direction in range(1 + both):
            cell, h, states = next(cells), None, []
            for x_t in x.flip(0) if direction else x:
                h = cell(x_t, h)
                states.append(h)
            assert_near(next(ends), h, 2)
            outs.append(torch.stack(states[::-1] if direction else states))
        states = torch.cat(outs, -1)
        x = torch.cat([states.real, states.imag], -1) if states.is_complex() else states
        assert x.shape[-1] == N * (1 + both) * (2 if states.is_complex() else 1)
    assert_near(output, states, 2)
    assert rnn.output_size == x.shape[-1]
    assert_near(as_real(output), x, 2)
    assert rnn.cells[-1].input_size == rnn.output_size


def test_as_real_puts_real_parts_before_imaginary_ones():
    h = torch.tensor([[1 + 2j, 3 - 4j]])
    assert as_real(h).tolist() == [[1.0, 3.0, 2.0, -4.0]]
    assert as_real(h.real) is h.real or torch.equal(as_real(h.real), h.real)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("layers", "both"), STACKS)
@pytest.mark.parametrize(("scheme", "options"), [CASES[0], CASES[3]])
def test_rnn_last_states_are_the_same_without_the_sequence(
    scheme, options, layers, both, batch_first
):
    rnn = rnn_of(
        scheme, "modrelu", num_layers=layers, bidirectional=both, batch_first=batch_first, **options
    )
    inputs = [
        normal(B, T, M, dtype=F64),
        normal(T, M, dtype=F64),
        pack_padded_sequence(normal(T, 3, M, dtype=F64), [2, 7, 4], enforce_sorted=False),
    ]
    for x in inputs:
        rnn.return_sequence = True
        _, wanted = rnn(x)
        grads = torch.autograd.grad(wanted.abs().square().sum(), learned(rnn))
        rnn.return_sequence = False
        output, h_n = rnn(x)
        assert output is None
        assert_near(h_n, wanted, layers)
        again = torch.autograd.grad(h_n.abs().square().sum(), learned(rnn))
        for mine, theirs in zip(again, grads, strict=True):
            assert_near(mine, theirs, layers + 1)


@pytest.mark.parametrize(("scheme", "options"), CASES)
def test_rnn_starts_from_its_learned_states(scheme, options):
    rnn = rnn_of(scheme, "modrelu", num_layers=2, bidirectional=True, learn_h0=True, **options)
    x = normal(T, B, M, dtype=F64)
    h_0 = torch.stack([cell.h0.expand(B, N) for cell in rnn.cells])
    output, h_n = rnn(x)
    for got, wanted in zip((output, h_n), rnn(x, h_0), strict=True):
        assert torch.equal(got, wanted)
    zero = rnn(x, torch.zeros_like(h_0))[0]
    assert not torch.equal(output, zero)  # what is given goes before what is learned
    h_n.abs().square().sum().backward()
    for cell in rnn.cells:
        assert float(cell.h0_parts.grad.abs().min()) > 0


@pytest.mark.parametrize("dropout", [0.3, 0.7])
def test_rnn_dropout_drops_between_layers_only(dropout, monkeypatch):
    rnn = UnitaryRNN(M, N, 3, nonlinearity="tanh", dropout=dropout, bidirectional=True)
    x = normal(50, 20, M, dtype=torch.float32)
    seen = []
    for cell in rnn.cells:

        def scan(x, *args, original=cell.scan, **kwargs):
            out = original(x, *args, **kwargs)
            seen.append((x.detach(), out.detach()))
            return out

        monkeypatch.setattr(cell, "scan", scan)
    output, _ = rnn(x)
    assert torch.equal(seen[0][0], x)
    for layer in (1, 2):
        (_, forward), (_, backward) = seen[2 * layer - 2 : 2 * layer]
        before = torch.cat([forward, backward.flip(0)], -1)
        after = seen[2 * layer][0]
        assert torch.equal(seen[2 * layer + 1][0], after.flip(0))  # both directions: one mask
        kept = after != 0
        # What is kept is scaled by 1/(1 - p) so that the mean stays; one rounding.
        torch.testing.assert_close(after[kept], before[kept] / (1 - dropout), rtol=1e-6, atol=0)
        # 50 x 20 x 10 coins: five standard deviations, missed once in two million.
        deviation = math.sqrt(dropout * (1 - dropout) / kept.numel())
        assert abs(float(kept.float().mean()) - (1 - dropout)) < 5 * deviation
        # Each entry its own coin: no row, column or step is dropped as a whole.
        for dim in range(3):
            assert float(kept.float().mean(dim).min()) > 0 or kept.shape[dim] < 20
    (_, forward), (_, backward) = seen[4:]
    assert torch.equal(output, torch.cat([forward, backward.flip(0)], -1))


def test_rnn_dropout_is_off_in_evaluation():
    rnn = rnn_of(num_layers=3, dropout=0.5).eval()
    compare(rnn, lambda leaf: leaf, None, normal(T, B, M, dtype=F64))
    x = normal(T, B, M, dtype=F64)
    assert torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.train()
    assert not torch.equal(rnn(x)[0], rnn(x)[0])


@pytest.mark.parametrize(("scheme", "options"), [CASES[0], CASES[3]])
def test_rnn_dropout_follows_the_seed(scheme, options):
    rnn = rnn_of(scheme, "modrelu", num_layers=2, dropout=0.5, **options)
    x = normal(T, B, M, dtype=F64)
    first, second = (torch.manual_seed(3) and rnn(x)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_rnn_directions_have_their_own_cells():
    rnn = rnn_of(num_layers=2, bidirectional=True)
    assert len(rnn.cells) == 4
    matrices = [cell.recurrent.matrix() for cell in rnn.cells]
    for a, b in itertools.combinations(matrices, 2):
        assert not torch.equal(a, b)


@pytest.mark.parametrize(("scheme", "options"), CASES)
def test_rnn_serialises(scheme, options):
    def make():
        return rnn_of(scheme, "modrelu", num_layers=2, bidirectional=True, learn_h0=True, **options)

    check_serialises(make, normal(T, B, M, dtype=F64))
    with pytest.raises(RuntimeError, match="Missing key"):
        make().load_state_dict({})


def test_rnn_reset_is_reproducible_from_a_generator():
    rnn, x = rnn_of(num_layers=2, bidirectional=True, learn_h0=True), normal(T, B, M, dtype=F64)
    before, outputs = torch.random.get_rng_state(), []
    start = rnn(x)[0]
    for _ in range(2):
        rnn.reset_parameters(torch.Generator().manual_seed(5))
        outputs.append(rnn(x)[0])
    assert torch.equal(*outputs)
    assert not torch.equal(outputs[0], start)
    assert torch.equal(before, torch.random.get_rng_state())


def test_rnn_passes_device_and_dtype_to_every_cell():
    rnn = UnitaryRNN(M, N, 2, bidirectional=True, learn_h0=True, device="meta", dtype=F64)
    tensors = [*rnn.parameters(), *rnn.buffers()]
    assert {t.device.type for t in tensors} == {"meta"}
    assert {q.dtype for q in rnn.parameters()} == {F64}


@pytest.mark.parametrize(("scheme", "options"), CASES)
def test_rnn_under_autocast_changes_no_bit(scheme, options):
    rnn = UnitaryRNN(M, N, 2, scheme, "modrelu", bidirectional=True, learn_h0=True, **options)
    x = normal(T, B, M, dtype=torch.float32)
    wanted = rnn(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = rnn(x)
    for a, b in zip(got, wanted, strict=True):
        assert a.real.dtype == torch.float32
        assert torch.equal(a, b)
    parameters = learned(rnn)
    a = torch.autograd.grad(got[0].abs().square().sum(), parameters)
    b = torch.autograd.grad(wanted[0].abs().square().sum(), parameters)
    for mine, theirs in zip(a, b, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize(
    ("scheme", "field"),
    [(name, f) for name in Parametrization.names(exact=True)
     for f in Parametrization.get(name).info.fields],
)  # fmt: skip
def test_rnn_keeps_the_norm_in_low_precision(scheme, field, autocast, low):
    """Low parameters, or low activations under autocast: 500 linear steps at rest."""
    steps, n = 500, size_for(scheme)
    rnn = UnitaryRNN(M, n, scheme=scheme, nonlinearity="identity", bias=False, field=field)
    rnn = rnn if autocast else rnn.to(low)
    w = rnn.cells[0].recurrent.prepare().matrix().detach()
    assert w.real.dtype == torch.float32
    h_0 = normal(1, B, n, dtype=torch.complex64 if field == "complex" else low, seed=2)
    x = torch.zeros(steps, B, M, dtype=low)
    with torch.no_grad(), torch.autocast("cpu", dtype=low, enabled=autocast):
        output, h_n = rnn(x, h_0)
    assert output.dtype == (torch.complex64 if field == "complex" else low)
    ratio = h_n.norm(dim=-1).double() / h_0.norm(dim=-1).double()
    # What W itself does in that time (a matrix stored in half precision is not unitary), n
    # roundings of single precision a step, and one of the result to low precision; norms of low
    # tensors are rounded as well.
    singular = torch.linalg.svdvals(w.to(torch.complex128))
    slack = steps * n * torch.finfo(torch.float32).eps + 4 * torch.finfo(low).eps
    assert float(ratio.max()) <= float(singular.max()) ** steps * (1 + slack)
    assert float(ratio.min()) >= float(singular.min()) ** steps * (1 - slack)
    if rnn.cells[0].recurrent.info.family != "projected":
        assert abs(float(singular.max()) ** steps - 1) < 0.01


def test_rnn_trains_in_half_precision():
    rnn = UnitaryRNN(M, N, 2, nonlinearity="tanh", bidirectional=True, learn_h0=True).bfloat16()
    output, h_n = rnn(torch.ones(T, B, M, dtype=torch.bfloat16))
    assert output.dtype == h_n.dtype == torch.bfloat16
    output.sum().backward()
    for name, q in named_learned(rnn):
        assert torch.isfinite(q.grad).all(), name
        assert float(q.grad.abs().max()) > 0, name


@pytest.mark.parametrize(
    ("scheme", "field"),
    [(name, f) for name in Parametrization.names() for f in Parametrization.get(name).info.fields],
)
def test_rnn_trains_with_every_scheme(scheme, field):
    n = size_for(scheme)
    rnn = UnitaryRNN(
        M, n, 2, scheme, "modrelu", bidirectional=True, learn_h0=True, dtype=F64, field=field
    )
    with torch.no_grad():  # below zero the slopes of modReLU are at most 1
        for cell in rnn.cells:
            cell.threshold.fill_(-0.05)
    readout = nn.Linear(rnn.output_size, 2, dtype=F64)
    model = nn.ModuleList([rnn, readout])
    x, y = normal(T, B, M, dtype=F64), normal(B, 2, dtype=F64, seed=2)
    optimizer = torch.optim.SGD(parameter_groups(model, lr=1e-3, unitary_lr=1e-3))
    attach(model, optimizer)

    def loss() -> Tensor:
        return (readout(as_real(rnn(x)[0][-1])) - y).square().mean()

    check_trains(model, optimizer, loss)
    for cell in rnn.cells:
        if cell.recurrent.info.exact:
            defect = float(unitarity_defect(cell.recurrent.matrix()))
            assert defect <= cell.recurrent.info.tolerance(n, cell.recurrent.dtype)
