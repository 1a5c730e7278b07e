"""Weights of nn.RNN and nn.GRU, loaded into layers and exported: torch's outputs are the oracle."""

import copy
import warnings

import pytest
import torch
from torch import nn

from tests.layers.rnn_helpers import F64, STACKS
from tests.recurrent import B, M, N, T, size_for
from unitary_zoo import Parametrization, UnitaryGRU, UnitaryRNN, orthogonal
from unitary_zoo.testing.subject import haar, normal

F32 = torch.float32
PAIRS = [(UnitaryRNN, nn.RNN), (UnitaryGRU, nn.GRU)]
pair = pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=["rnn", "gru"])
REAL = Parametrization.names(fields="real")


def suffixes(ref):
    ends = ("", "_reverse") if ref.bidirectional else ("",)
    return [f"_l{layer}{end}" for layer in range(ref.num_layers) for end in ends]


@torch.no_grad()
def torch_layer(cls, n=N, dtype=F64, unitary=True, **options):
    """A layer of torch whose recurrent matrices are rotations, or as torch draws them."""
    ref = cls(M, n, dtype=dtype, **options)
    for seed, end in enumerate(suffixes(ref) if unitary else ()):
        for i, block in enumerate(getattr(ref, f"weight_hh{end}").split(n)):
            block.copy_(haar(n, F64, determinant=1, seed=10 * seed + i))
    return ref


def limit(dtype, layers=1, n=N):
    """Rounding of two routes to one output in [-1, 1].

    W is off by assign_'s 100 n eps, each step adds a sum of 2n + m + 2 terms, T steps add up, and
    the slopes of a gated step are below 2; a further layer multiplies by the norm of V, below 4.
    """
    return T * (100 * n + 2 * n + M + 2) * 8**layers * torch.finfo(dtype).eps


def assert_same_outputs(a, b, dtype=F64, layers=1, n=N):
    x = normal(T, B, M, dtype=F64).to(dtype)
    for got, wanted in zip(a(x), b(x), strict=True):
        assert got.shape == wanted.shape
        assert got.dtype == wanted.dtype
        assert float((got - wanted).detach().abs().max()) <= limit(dtype, layers, n)


# ---------------------------------------------------------------------------------- from torch


@pair
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"batch_first": True}], ids=str)
@pytest.mark.parametrize(("layers", "both"), STACKS)
def test_from_torch_computes_what_torch_does(ours, theirs, layers, both, options):
    ref = torch_layer(theirs, num_layers=layers, bidirectional=both, **options)
    layer = ours.from_torch(ref, "cayley")  # a warning is an error here
    for name in ("num_layers", "bidirectional", "batch_first", "bias", "mode"):
        assert getattr(layer, name) == getattr(ref, name)
    assert_same_outputs(layer, ref, layers=layers)


@pair
@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_from_torch_at_awkward_sizes(ours, theirs, n, dtype):
    ref = torch_layer(theirs, n, dtype)
    assert_same_outputs(ours.from_torch(ref, "dtriv"), ref, dtype, n=n)


@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
def test_from_torch_takes_the_nonlinearity(nonlinearity):
    ref = torch_layer(nn.RNN, nonlinearity=nonlinearity)
    layer = UnitaryRNN.from_torch(ref)
    assert layer.nonlinearity == nonlinearity
    assert type(layer.cells[0].recurrent) is type(UnitaryRNN(M, N).cells[0].recurrent)
    assert_same_outputs(layer, ref)


@pair
def test_from_torch_takes_mode_options_and_dropout(ours, theirs):
    layer = ours.from_torch(
        torch_layer(theirs, num_layers=2, dropout=0.5).eval(),
        "lie_exp", return_sequence=False, learn_h0=True, checkpoint=3, rebase_every=7,
    )  # fmt: skip
    assert (layer.dropout, layer.training, layer.checkpoint) == (0.5, False, 3)
    assert not layer.return_sequence
    for cell in layer.cells:
        assert not cell.h0.any()
        assert {p.rebase_every for p in cell._schemes()} == {7}
    with pytest.warns(UserWarning, match="dropout"):
        single = torch_layer(theirs, dropout=0.5)
    assert ours.from_torch(single).dropout == 0.5


def test_from_torch_takes_a_ready_scheme():
    ready = Parametrization.create("cayley", N, dtype=F64)
    ref = torch_layer(nn.RNN)
    layer = UnitaryRNN.from_torch(ref, ready)
    assert layer.cells[0].recurrent is ready
    assert_same_outputs(layer, ref)


@pytest.mark.parametrize("seed", range(3))
def test_from_torch_keeps_free_gates_and_warns_of_the_candidate(seed):
    torch.manual_seed(seed)
    ref = torch_layer(nn.GRU, unitary=False)
    with pytest.warns(UserWarning, match="weight_hh_l0: .*spectral norm"):
        gru = UnitaryGRU.from_torch(ref, gates="candidate")
    assert torch.equal(gru.cells[0].weight_rz, ref.weight_hh_l0[: 2 * N])
    with torch.no_grad():
        ref.weight_hh_l0[2 * N :] = gru.cells[0].weight_hh[2 * N :]
    assert_same_outputs(gru, ref)


@pair
def test_from_torch_reads_a_computed_weight(ours, theirs):
    blocks = 3 if theirs is nn.GRU else 1
    ref = orthogonal(torch_layer(theirs), "weight_hh_l0", "householder", blocks=blocks)
    # Reflections have both determinants; cayley has one.
    assert_same_outputs(ours.from_torch(ref, "dtriv"), ref)


@pair
@pytest.mark.parametrize("scheme", REAL)
def test_from_torch_residual_is_the_distance_with_every_scheme(ours, theirs, scheme):
    n = size_for(scheme)
    torch.manual_seed(2)
    ref = torch_layer(theirs, n, unitary=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        layer = ours.from_torch(ref, scheme, field="real")
        residuals = layer.load_torch(ref)
    cell = layer.cells[0]
    w = cell.weight_hh if ours is UnitaryGRU else cell.recurrent.matrix()
    off = (w - ref.weight_hh_l0).detach().split(n)
    true = max(float(torch.linalg.matrix_norm(block, 2)) for block in off)
    assert residuals == {"weight_hh_l0": pytest.approx(true, abs=1e-10)}
    # What a scheme that holds any matrix takes as it is needs no warning.
    messages = [str(w.message) for w in caught if "weight_hh_l0" in str(w.message)]
    assert len(messages) == (2 if true > 1e-9 else 0)
    assert all(f"{true:.3g} away" in message for message in messages[1:])


@pair
def test_load_torch_takes_modules_and_states(ours, theirs):
    more = {"nonlinearity": "tanh"} if ours is UnitaryRNN else {}
    ref = torch_layer(theirs, num_layers=2, bidirectional=True)
    for source in (ref, ref.state_dict()):
        layer = ours(M, N, 2, "cayley", bidirectional=True, dtype=F64, **more)
        residuals = layer.load_torch(source)
        assert list(residuals) == [f"weight_hh{end}" for end in suffixes(ref)]
        assert max(residuals.values()) < 100 * N * torch.finfo(F64).eps
        assert_same_outputs(layer, ref, layers=2)


@pair
@pytest.mark.parametrize("assign", [False, True])
def test_load_state_dict_takes_the_state_of_torch(ours, theirs, assign):
    """The checkpoint of a whole model, in which torch's layer stood."""
    more = {"nonlinearity": "tanh"} if ours is UnitaryRNN else {}
    ref = nn.ModuleDict({"rnn": torch_layer(theirs, num_layers=2), "out": nn.Linear(N, 2)})
    model = nn.ModuleDict({"rnn": ours(M, N, 2, "cayley", dtype=F64, **more)})
    model["out"] = nn.Linear(N, 2)
    state = ref.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    model.load_state_dict(state, assign=assign)
    assert_same_outputs(model["rnn"], ref["rnn"], layers=2)
    assert torch.equal(model["out"].weight, ref["out"].weight)
    assert state.keys() == before.keys()
    with torch.no_grad():
        for q in model.parameters():
            q.add_(1.0)
    if not assign:  # with assign=True, torch shares what it can
        for key, value in state.items():
            assert torch.equal(value, before[key])
    assert all(isinstance(q, nn.Parameter) and q.requires_grad for q in model.parameters())


@pair
def test_load_state_dict_warns_of_matrices_that_no_scheme_has(ours, theirs):
    more = {"nonlinearity": "tanh"} if ours is UnitaryRNN else {}
    model = nn.ModuleDict({"rnn": ours(M, N, dtype=F64, **more)})
    ref = nn.ModuleDict({"rnn": torch_layer(theirs, unitary=False)})
    with pytest.warns(UserWarning, match=r"rnn\.cells\.0\.weight_hh: expm .* away"):
        model.load_state_dict(ref.state_dict())


# --------------------------------------------------------------------------------- refused sources


@pytest.mark.parametrize("nonlinearity", ["modrelu", "leaky_relu", "abs", "sigmoid", "identity"])
def test_weights_of_another_function_are_refused_both_ways(nonlinearity):
    rnn, ref = UnitaryRNN(M, N, nonlinearity=nonlinearity), nn.RNN(M, N)
    remedy = f"nonlinearity='{nonlinearity}' is not in nn.RNN; .*'relu', 'tanh' and a real scheme"
    with pytest.raises(ValueError, match=remedy):
        rnn.load_torch(ref.state_dict())
    with pytest.raises(ValueError, match=remedy):
        rnn.to_torch()
    with pytest.raises(RuntimeError, match=remedy):
        rnn.load_state_dict(ref.state_dict())
    with pytest.raises(ValueError, match=r"mode='RNN_TANH', and this one has .*from_torch"):
        rnn.load_torch(ref)
    with pytest.raises(ValueError, match="mode='RNN_TANH'"):
        UnitaryRNN(M, N, nonlinearity="relu").load_torch(ref)


def test_to_torch_refuses_a_complex_scheme():
    with pytest.raises(ValueError, match="real scheme"):
        UnitaryRNN(M, N, scheme="arjovsky").to_torch()


@pytest.mark.parametrize(
    ("ours", "source"),
    [(UnitaryRNN, nn.GRU), (UnitaryGRU, nn.RNN), (UnitaryGRU, nn.LSTM), (UnitaryRNN, nn.LSTM)],
)
def test_from_torch_refuses_another_layer(ours, source):
    for load in (ours.from_torch, ours(M, N).load_torch):
        with pytest.raises(TypeError, match=rf"a {source.__name__} was passed; pass an nn\."):
            load(source(M, N))
    more = {"nonlinearity": "tanh"} if ours is UnitaryRNN else {}
    with pytest.raises(ValueError, match="'_l0': weight_ih has shape"):
        ours(M, N, **more).load_torch(source(M, N).state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias": False}, r"weights are weight_hh, weight_ih, .*build it with bias=False"),
        ({"hidden_size": N + 1}, rf"weight_ih has shape \({N + 1}, {M}\).*sizes"),
        ({"input_size": M + 1}, r"weight_ih has shape"),
        ({"num_layers": 2}, "also .*weight_hh_l1.*num_layers=1"),
        ({"bidirectional": True}, "also .*weight_hh_l0_reverse.*bidirectional=False"),
    ],
    ids=str,
)
def test_load_torch_refuses_another_network_and_changes_nothing(options, message):
    options = {"input_size": M, "hidden_size": N, **options}
    layer = UnitaryRNN(M, N, scheme="lie_exp", nonlinearity="tanh")
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match=message):
        layer.load_torch(nn.RNN(**options))
    for key, value in layer.state_dict().items():
        assert torch.equal(value, before[key])
    # load_state_dict has read the first layer when it finds keys of a second one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError, match=r"l1|reverse|torch at"):
            layer.load_state_dict(nn.RNN(**options).state_dict())


def test_load_torch_refuses_missing_and_undefined_weights():
    layer, state = UnitaryRNN(M, N, 2, nonlinearity="tanh"), nn.RNN(M, N, 2).state_dict()
    before = copy.deepcopy(layer.state_dict())
    missing = {key: w for key, w in state.items() if key != "weight_hh_l1"}
    undefined = {**state, "weight_hh_l1": torch.full((N, N), float("nan"))}
    for bad, message in ((missing, "'_l1': .*exactly these"), (undefined, "'_l1': .*not finite")):
        with pytest.raises(ValueError, match=message):
            layer.load_torch(bad)
        for key, value in layer.state_dict().items():
            assert torch.equal(value, before[key])
    with pytest.raises(ValueError, match=r"weight_ih.*exactly these"):
        layer.load_torch({})


def test_load_torch_refuses_the_meta_device_with_the_remedy():
    for layer, ref in (
        (UnitaryRNN(M, N, nonlinearity="tanh", device="meta"), nn.RNN(M, N)),
        (UnitaryRNN(M, N, nonlinearity="tanh"), nn.RNN(M, N, device="meta")),
    ):
        with pytest.raises(ValueError, match=r"meta device.*to_empty"):
            layer.load_torch(ref)


# ----------------------------------------------------------------------------------- to torch


@pair
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"batch_first": True}], ids=str)
@pytest.mark.parametrize(("layers", "both"), STACKS)
def test_to_torch_computes_what_the_layer_does(ours, theirs, layers, both, options):
    more = {"nonlinearity": "relu"} if ours is UnitaryRNN else {}
    layer = ours(M, N, layers, "cayley", bidirectional=both, dtype=F64, **more, **options)
    with torch.no_grad():
        for seed, cell in enumerate(layer.cells):
            for bias in (cell.bias_parts, getattr(cell, "bias_hn", None)):
                if bias is not None:  # biases start at 0, and would hide a mistake
                    bias.copy_(normal(*bias.shape, dtype=F64, seed=seed))
    before = torch.random.get_rng_state()
    ref = layer.to_torch()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert type(ref) is theirs
    for name in ("num_layers", "bidirectional", "batch_first", "bias", "mode", "training"):
        assert getattr(ref, name) == getattr(layer, name)
    assert_same_outputs(layer, ref, layers=layers)
    # A layer of its own, which learns and shares nothing.
    assert all(q.requires_grad and q.is_leaf for q in ref.parameters())
    wanted = layer(normal(T, B, M, dtype=F64))[0]
    with torch.no_grad():
        for q in ref.parameters():
            q.zero_()
    assert torch.equal(layer(normal(T, B, M, dtype=F64))[0], wanted)
    assert_same_outputs(ours.from_torch(layer.to_torch(), "cayley"), layer, layers=layers)


@pair
@pytest.mark.parametrize("dtype", [F32, torch.bfloat16])
def test_to_torch_keeps_the_dtype(ours, theirs, dtype):
    more = {"nonlinearity": "tanh"} if ours is UnitaryRNN else {}
    ref = ours(M, N, num_layers=2, dropout=0.5, **more).to(dtype).eval().to_torch()
    assert {q.dtype for q in ref.parameters()} == {dtype}
    assert (ref.dropout, ref.training) == (0.5, False)
    assert ref(torch.ones(T, B, M, dtype=dtype))[0].dtype == dtype


@pair
def test_to_torch_refuses_learned_initial_states(ours, theirs):
    more = {"nonlinearity": "tanh"} if ours is UnitaryRNN else {}
    layer = ours(M, N, learn_h0=True, dtype=F64, **more)
    with pytest.raises(ValueError, match=r"initial state is learned.*h0_parts"):
        layer.to_torch()
    with torch.no_grad():
        layer.cells[0].h0_parts.zero_()
    assert_same_outputs(layer.to_torch(), layer)
