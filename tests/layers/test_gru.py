"""UnitaryGRU: its matrices, parameters, precision, training and errors."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from tests.layers.gru_helpers import F32, F64, GATES, REAL, compare, gru_of, plain
from tests.oracles import learned, named_learned
from tests.recurrent import B, M, N, T, check_serialises, check_trains, size_for
from unitary_zoo import (
    Parametrization,
    UnitaryGRU,
    UnitaryGRUCell,
    attach,
    parameter_groups,
)
from unitary_zoo.linalg import unitarity_defect
from unitary_zoo.testing import strategies
from unitary_zoo.testing.subject import normal

# One static, one rebased and one projected scheme.
SCHEMES = ["expm", "lie_exp", "svd_projection"]


@settings(max_examples=40)
@given(
    scheme=st.sampled_from(SCHEMES),
    dtype=strategies.dtypes(),
    seed=strategies.seeds(),
    n=st.integers(1, 9),
    shape=st.tuples(st.integers(2, 9), st.integers(1, 4)),
    data=st.data(),
)
def test_gru_computes_rows_and_halves_of_a_sequence_independently(
    scheme, dtype, seed, n, shape, data
):
    steps, batch = shape
    gru = gru_of(scheme, n, dtype)
    x = normal(steps, batch, M, dtype=dtype, seed=seed)
    output, h_n = gru(x)
    row, cut = data.draw(st.integers(0, batch - 1)), data.draw(st.integers(1, steps - 1))
    first, state = gru(x[:cut])
    second, end = gru(x[cut:], state)
    # Products of other shapes sum in another order: n + m terms below 10 a step, and the slope of
    # a step in h, of tanh and of the gates, is below 2.
    limit = 2**steps * (n + M + 2) * 10 * torch.finfo(dtype).eps
    for got, wanted in (
        (gru(x[:, row : row + 1])[0], output[:, row : row + 1]),
        (torch.cat([first, second]), output),
        (end, h_n),
    ):
        assert float((got - wanted).detach().abs().max()) <= limit


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("scheme", Parametrization.names(fields="real", exact=True))
def test_gru_gates_option_chooses_the_orthogonal_matrices(scheme, gates):
    n = size_for(scheme)
    cell = UnitaryGRUCell(M, n, scheme, dtype=F64, field="real", gates=gates)
    r, z, candidate = cell.weight_hh.detach().chunk(3)
    of = {"r": r, "z": z, "n": candidate}
    assert list(cell.recurrent) == (["r", "z", "n"] if gates == "all" else ["n"])
    for name, p in cell.recurrent.items():
        # One batch of matrices rounds in another order, by eps times the condition of I + A, below
        # 1e4 at these starts. The matrices differ from one another by order 1.
        assert float((p.matrix() - of[name]).detach().abs().max()) <= 1e4 * torch.finfo(F64).eps
        assert float(unitarity_defect(of[name])) <= p.info.tolerance(n, F64)
    if gates == "candidate":
        assert torch.equal(cell.weight_rz, torch.cat([r, z]))
        assert float(unitarity_defect(r)) > 0.1
        assert float(unitarity_defect(z)) > 0.1
    else:
        assert cell.weight_rz is None
        assert len({id(p) for p in cell.recurrent.values()}) == 3
        assert Parametrization.get(scheme)(n).matrix().numel() == 1 or not torch.equal(r, z)


@pytest.mark.parametrize("batch_first", [True, False])
def test_gru_last_states_are_the_same_without_the_sequence(batch_first):
    gru = gru_of(num_layers=2, bidirectional=True, batch_first=batch_first)
    inputs = [
        normal(B, T, M, dtype=F64),
        normal(T, M, dtype=F64),
        pack_padded_sequence(normal(T, 3, M, dtype=F64), [2, 7, 4], enforce_sorted=False),
    ]
    parameters = learned(gru)
    for x in inputs:
        found = []
        for gru.return_sequence in (True, False):
            output, h_n = gru(x)
            grads = torch.autograd.grad(h_n.square().sum(), parameters)
            found.append([h_n.detach(), *grads])
        assert output is None
        with torch.no_grad():
            # Two layers of T steps of sums of at most 2N + 2 terms, with slopes of order 1.
            torch.testing.assert_close(gru(x)[1], h_n, rtol=0, atol=1e-12)
        for mine, theirs in zip(*found, strict=True):
            # Gradients sum T B such terms.
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


def test_gru_starts_from_its_learned_states():
    gru = gru_of(num_layers=2, bidirectional=True, learn_h0=True)
    x = normal(T, B, M, dtype=F64)
    h_0 = torch.stack([cell.h0.expand(B, N) for cell in gru.cells])
    output, h_n = gru(x)
    for got, wanted in zip((output, h_n), gru(x, h_0), strict=True):
        assert torch.equal(got, wanted)
    zero = gru(x, torch.zeros_like(h_0))[0]
    assert not torch.equal(output, zero)  # what is given goes before what is learned
    h_n.square().sum().backward()
    for cell in gru.cells:
        assert float(cell.h0_parts.grad.abs().min()) > 0


def test_gru_packed_equals_each_sequence_alone():
    gru = gru_of(num_layers=2, bidirectional=True, learn_h0=True)
    sequences = [normal(length, M, dtype=F64, seed=length) for length in (2, 7, 4)]
    output, h_n = gru(pack_sequence(sequences, enforce_sorted=False))
    steps = output.data.split(output.batch_sizes.tolist())
    for i, x in enumerate(sequences):
        alone, last = gru(x)
        got = torch.stack([step[output.unsorted_indices[i]] for step in steps[: len(x)]])
        # Sums of at most 2N + 2 terms in another order, 7 steps in two layers.
        torch.testing.assert_close(got, alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(h_n[:, i], last, rtol=0, atol=1e-12)


def test_gru_dropout_acts_between_layers_in_training_only():
    gru = gru_of(num_layers=2, dropout=0.5)
    x = normal(T, B, M, dtype=F64)
    first, second = (torch.manual_seed(3) and gru(x)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, gru(x)[0])
    compare(gru.eval(), plain, None, x)


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_gru_serialises(scheme, gates):
    make = lambda: gru_of(scheme, num_layers=2, bidirectional=True, learn_h0=True, gates=gates)
    check_serialises(make, normal(T, B, M, dtype=F64))


@pytest.mark.parametrize("gates", GATES)
def test_gru_cell_parameters_and_how_they_start(gates):
    m, n = 40, 60
    cell = UnitaryGRUCell(m, n, "cayley", gates=gates, learn_h0=True)
    shapes = {
        name: tuple(q.shape) for name, q in cell.named_parameters() if "recurrent" not in name
    }
    assert shapes == {
        "weight_ih_parts": (3 * n, m),
        "bias_parts": (3 * n,),
        "bias_hn": (n,),
        "h0_parts": (n,),
        **({} if gates == "all" else {"weight_rz": (2 * n, n)}),
    }
    limits = {"weight_ih_parts": math.sqrt(6 / (m + n)), "weight_rz": 1 / math.sqrt(n)}
    for name in shapes.keys() & limits.keys():
        q, limit = getattr(cell, name).detach(), limits[name]
        assert float(q.abs().max()) <= limit
        # At least 7200 uniform numbers: the mean square has a relative deviation of 0.9 / 85.
        assert abs(float(q.square().mean()) / (limit**2 / 3) - 1) < 5 * 0.9 / 84
    assert not cell.bias.detach().any()
    assert not cell.bias_hn.detach().any()
    without = UnitaryGRUCell(M, N, "cayley", bias=False)
    assert (without.bias, without.bias_hn, without.h0) == (None, None, None)


def test_gru_reset_is_reproducible_from_a_generator():
    gru, x = gru_of(learn_h0=True, gates="candidate"), normal(T, B, M, dtype=F64)
    before, outputs = torch.random.get_rng_state(), []
    for seed in (5, 5, 6):
        gru.reset_parameters(torch.Generator().manual_seed(seed))
        outputs.append(gru(x)[0])
    assert torch.equal(*outputs[:2])
    assert not torch.equal(*outputs[1:])
    assert torch.equal(before, torch.random.get_rng_state())


def test_gru_passes_device_and_dtype_to_every_cell():
    options = {"learn_h0": True, "gates": "candidate"}
    gru = UnitaryGRU(M, N, 2, bidirectional=True, device="meta", dtype=F64, **options)
    assert {t.device.type for t in (*gru.parameters(), *gru.buffers())} == {"meta"}
    assert {q.dtype for q in gru.parameters()} == {F64}
    double = UnitaryGRU(M, N, **options).double()
    assert double(normal(T, B, M, dtype=F64))[0].dtype == F64
    ready = Parametrization.create("cayley", N, dtype=torch.bfloat16)
    cell = UnitaryGRUCell(M, N, ready, **options)
    assert cell.recurrent["n"] is ready
    assert {q.dtype for q in cell.parameters()} == {torch.bfloat16}


def test_gru_under_autocast_changes_no_bit():
    gru, x = gru_of(dtype=F32, num_layers=2, learn_h0=True), normal(T, B, M, dtype=F32)
    wanted = gru(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = gru(x)
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == F32
        assert torch.equal(a, b)


@pytest.mark.parametrize("gates", GATES)
def test_gru_trains_in_half_precision(gates):
    gru = UnitaryGRU(M, N, 2, bidirectional=True, learn_h0=True, gates=gates).bfloat16()
    assert gru.cells[0].weight_hh.dtype == F32
    output, h_n = gru(torch.ones(T, B, M, dtype=torch.bfloat16))
    assert output.dtype == h_n.dtype == torch.bfloat16
    output.sum().backward()
    for name, q in named_learned(gru):
        assert torch.isfinite(q.grad).all(), name
        assert float(q.grad.abs().max()) > 0, name


@pytest.mark.filterwarnings("ignore")  # of what the compiler itself calls
def test_gru_compiles_and_exports():
    gru, x = gru_of("cayley", gates="candidate"), normal(2, 2, M, dtype=F64)
    compiled = torch.compile(gru, backend="aot_eager", fullgraph=True)
    exported = torch.export.export(gru, (x,)).module()
    wanted = gru(x)[0]
    grads = torch.autograd.grad(wanted.square().sum(), learned(gru))
    torch.testing.assert_close(exported(x)[0], wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(compiled(x)[0], wanted, rtol=0, atol=1e-12)
    mine = torch.autograd.grad(compiled(x)[0].square().sum(), learned(gru))
    for a, b in zip(mine, grads, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("scheme", REAL)
def test_gru_trains_with_every_real_scheme(scheme, gates):
    n = size_for(scheme)
    gru = UnitaryGRU(M, n, 2, scheme, learn_h0=True, dtype=F64, field="real", gates=gates)
    readout = nn.Linear(gru.output_size, 2, dtype=F64)
    model = nn.ModuleList([gru, readout])
    x, y = normal(T, B, M, dtype=F64), normal(B, 2, dtype=F64, seed=2)
    groups = parameter_groups(model, lr=1e-3, unitary_lr=1e-3, weight_decay=0.1)
    of_schemes = {id(q) for cell in gru.cells for q in cell.recurrent.parameters()}
    for group in groups:
        assert {id(q) in of_schemes for q in group["params"]} == {group["weight_decay"] == 0}
    optimizer = torch.optim.SGD(parameter_groups(model, lr=1e-3, unitary_lr=1e-3))
    attach(model, optimizer)
    loss = lambda: (readout(gru(x)[0][-1]) - y).square().mean()
    check_trains(model, optimizer, loss)
    for cell in gru.cells:
        for p in cell.recurrent.values():
            if p.info.exact:
                assert float(unitarity_defect(p.matrix())) <= p.info.tolerance(n, F64)


class Counting(Parametrization.get("expm")):
    """expm that counts how often W is built."""

    built = 0

    def _prepare(self):
        self.built += 1
        return super()._prepare()


@pytest.mark.parametrize("checkpoint", [None, 2])
def test_gru_builds_every_matrix_once_per_forward(checkpoint):
    gru = UnitaryGRU(M, N, 2, Counting, bidirectional=True, checkpoint=checkpoint)
    schemes = [p for cell in gru.cells for p in cell.recurrent.values()]
    for p in schemes:
        p.built = 0
    gru(normal(T, B, M, dtype=F32))[0].sum().backward()
    assert [p.built for p in schemes] == [1] * 12


@pytest.mark.parametrize("cls", [UnitaryGRU, UnitaryGRUCell])
def test_gru_refuses_complex_schemes_with_the_remedy(cls):
    for name in Parametrization.names(field="complex"):
        remedy = "field='real'" if name in REAL else "choose one of .*cayley"
        with pytest.raises(ValueError, match=rf"'{name}' has field='complex'.*{remedy}"):
            cls(M, size_for(name), scheme=name)
    with pytest.raises(ValueError, match=r"'expm' has field='complex'.*build it with field='real'"):
        cls(M, N, scheme="expm", field="complex")
    with pytest.raises(ValueError, match=r"has field='complex'"):
        cls(M, N, scheme=Parametrization.create("arjovsky", N), gates="candidate")


@pytest.mark.parametrize("bad", ["none", "rz", "", None, 3])
def test_gru_refuses_unknown_gates(bad):
    with pytest.raises(ValueError, match=rf"gates={bad!r}; choose one of \('all', 'candidate'\)"):
        UnitaryGRU(M, N, gates=bad)


def test_gru_refuses_a_ready_scheme_for_several_matrices():
    ready = Parametrization.create("cayley", N)
    with pytest.raises(ValueError, match=r"'cayley' cannot serve the 3.*gates='candidate'"):
        UnitaryGRU(M, N, scheme=ready)
    with pytest.raises(ValueError, match=r"'cayley' cannot serve 2 cells.*by name"):
        UnitaryGRU(M, N, 2, ready, gates="candidate")
    gru = UnitaryGRU(M, N, scheme=ready, gates="candidate")
    assert gru.cells[0].recurrent["n"] is ready
