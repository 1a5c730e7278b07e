"""The layers take, refuse and warn of what torch's layers do; torch is the oracle in each case."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from tests.recurrent import B, M, N, T
from unitary_zoo import UnitaryGRU, UnitaryRNN
from unitary_zoo.testing.subject import normal

F32, F64 = torch.float32, torch.float64
PAIRS = [(UnitaryRNN, nn.RNN), (UnitaryGRU, nn.GRU)]
ERRORS = (ValueError, TypeError, RuntimeError)
pair = pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=["rnn", "gru"])


def outcome(call):
    """The kinds of warnings and whether the call is refused; a refusal by accident is raised."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except ERRORS:
            return "refused", []
    return "taken", [w.category for w in caught]


# ------------------------------------------------------------------------------ the constructor

OPTIONS = [
    {"dropout": 0.5},
    {"dropout": 1.0},
    {"dropout": 0},
    {"dropout": 0.5, "num_layers": 2},
    {"dropout": 1.0, "num_layers": 2},
    {"dropout": 1, "num_layers": 2},
    {"dropout": -0.1},
    {"dropout": 1.1},
    {"dropout": float("nan")},
    {"dropout": True},
    {"dropout": "a"},
    {"bias": 1},
    {"bias": None},
    {"bias": False},
    {"batch_first": 1},
    {"batch_first": None},
    {"bidirectional": 1},
    {"num_layers": 0},
    {"num_layers": -1},
    {"num_layers": 1.5},
    {"num_layers": "2"},
    {"proj_size": 0},
    {"proj_size": 2},
    {"input_size": 0},
    {"input_size": -1},
    {"input_size": 3.0},
    {"hidden_size": 0},
    {"hidden_size": -1},
    {"hidden_size": 5.0},
    {"hidden_size": 1},
    {"dtype": F64},
    {"device": "meta"},
]


@pair
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_layer_takes_and_refuses_the_options_that_torch_does(ours, theirs, options):
    options = {"input_size": M, "hidden_size": N, **options}
    assert outcome(lambda: ours(**options)) == outcome(lambda: theirs(**options))


@pair
def test_layer_refuses_proj_size_with_the_remedy(ours, theirs):
    with pytest.raises(ValueError, match=r"proj_size=2 .*nn\.LSTM.*nn\.Linear"):
        ours(M, N, proj_size=2)


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_layer_refuses_a_nonlinearity_at_the_place_of_the_scheme(name):
    assert nn.RNN(M, N, 1, name).nonlinearity == name
    with pytest.raises(ValueError, match=f"scheme='{name}' is a nonlinearity.*nonlinearity="):
        UnitaryRNN(M, N, 1, name)


# --------------------------------------------------------------------------------- the attributes

ATTRIBUTES = (
    "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
    "proj_size", "mode",
)  # fmt: skip


@pair
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "dropout": 0.5, "bidirectional": True}, {"bias": False},
     {"batch_first": True}],
    ids=str,
)  # fmt: skip
def test_layer_has_the_attributes_of_torch(ours, theirs, options):
    more = {"nonlinearity": "tanh"} if ours is UnitaryRNN else {}
    layer, ref = ours(M, N, **more, **options), theirs(M, N, **more, **options)
    for name in (*ATTRIBUTES, *more):
        assert getattr(layer, name) == getattr(ref, name), name
        assert type(getattr(layer, name)) is type(getattr(ref, name)), name


@pytest.mark.parametrize(
    ("nonlinearity", "mode"), [("relu", "RNN_RELU"), ("modrelu", "RNN_MODRELU")]
)
def test_rnn_mode_names_the_nonlinearity(nonlinearity, mode):
    rnn = UnitaryRNN(M, N, nonlinearity=nonlinearity)
    assert (rnn.mode, rnn.nonlinearity) == (mode, nonlinearity)


@pair
def test_layer_all_weights_are_the_parameters_of_each_cell(ours, theirs):
    layer, ref = (cls(M, N, 2, bidirectional=True) for cls in (ours, theirs))
    assert len(layer.all_weights) == len(ref.all_weights) == 4
    flat = [id(q) for weights in layer.all_weights for q in weights]
    assert sorted(flat) == sorted(id(q) for q in layer.parameters())


@pair
def test_layer_flatten_parameters_changes_nothing(ours, theirs):
    layer, x = ours(M, N), normal(T, B, M, dtype=F32)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    wanted = layer(x)[0]
    assert layer.flatten_parameters() is theirs(M, N).flatten_parameters() is None
    assert torch.equal(layer(x)[0], wanted)
    for key, value in layer.state_dict().items():
        assert torch.equal(value, before[key])


# -------------------------------------------------------------------------------------- the call


@pair
def test_layer_takes_both_names_of_each_argument(ours, theirs):
    layer, x = ours(M, N, learn_h0=True), normal(T, B, M, dtype=F32)
    h = normal(1, B, N, dtype=F32, seed=2)
    wanted = layer(x, h)[0]
    assert not torch.equal(wanted, layer(x)[0])
    for first in ({"input": x}, {"x": x}):
        for second in ({"hx": h}, {"h_0": h}):
            assert torch.equal(layer(**first, **second)[0], wanted)
            assert torch.equal(layer(x, **second)[0], wanted)
    assert torch.equal(layer(x, None, h_0=h)[0], wanted)
    packed = pack_padded_sequence(x, [T] * B)
    assert torch.equal(layer(input=packed, hx=h)[0].data, layer(packed, h)[0].data)


@pair
def test_layer_refuses_two_names_of_one_argument(ours, theirs):
    layer, x, h = ours(M, N), torch.zeros(T, B, M), torch.zeros(1, B, N)
    with pytest.raises(TypeError, match="hx and h_0 are names of one argument"):
        layer(x, h, h_0=h)
    with pytest.raises(TypeError, match="input and x are names of one argument"):
        layer(x, x=x)
    for call in (layer, theirs(M, N)):
        with pytest.raises(TypeError, match="missing"):
            call()


@pair
def test_layer_refuses_the_states_of_an_lstm(ours, theirs):
    x, h = torch.zeros(T, B, M), torch.zeros(1, B, N)
    assert nn.LSTM(M, N)(x, (h, h))[0].shape == (T, B, N)
    with pytest.raises(TypeError, match=r"hx is a tuple; .*one tensor"):
        ours(M, N)(x, (h, h))


def packed(x):
    return pack_padded_sequence(x, [T] * (B - 1) + [2])


SEQUENCE, STATE = torch.zeros(T, B, M), torch.zeros(1, B, N)
CALLS = {
    "batched": (SEQUENCE, STATE),
    "unbatched": (SEQUENCE[:, 0], STATE[:, 0]),
    "packed": (packed(SEQUENCE), STATE),
    "empty batch": (SEQUENCE[:, :0], None),
    "empty batch with a state": (SEQUENCE[:, :0], STATE[:, :0]),
    "no steps": (SEQUENCE[:0], None),
    "no steps unbatched": (SEQUENCE[:0, 0], None),
    "one dimension": (SEQUENCE[0, 0], None),
    "four dimensions": (SEQUENCE[None], None),
    "features": (torch.zeros(T, B, M + 1), None),
    "features unbatched": (torch.zeros(T, M + 1), None),
    "features packed": (packed(torch.zeros(T, B, M + 1)), None),
    "batch of the state": (SEQUENCE, torch.zeros(1, B + 1, N)),
    "state to be broadcast": (SEQUENCE, torch.zeros(1, 1, N)),
    "layers of the state": (SEQUENCE, torch.zeros(2, B, N)),
    "units of the state": (SEQUENCE, torch.zeros(1, B, N + 1)),
    "unbatched state": (SEQUENCE, STATE[:, 0]),
    "batched state": (SEQUENCE[:, 0], torch.zeros(1, 1, N)),
    "state of a packed one without batch": (packed(SEQUENCE), STATE[:, 0]),
    "state of a packed one": (packed(SEQUENCE), torch.zeros(1, B + 1, N)),
    "double": (SEQUENCE.double(), None),
    "bfloat16": (SEQUENCE.bfloat16(), None),
    "integers": (SEQUENCE.long(), None),
    "bools": (SEQUENCE.bool(), None),
    "complex": (SEQUENCE + 0j, None),
    "double packed": (packed(SEQUENCE.double()), None),
    "double state": (SEQUENCE, STATE.double()),
    "bfloat16 state": (SEQUENCE, STATE.bfloat16()),
    "complex state": (SEQUENCE, STATE + 0j),
    "double, both": (SEQUENCE.double(), STATE.double()),
    "another device": (SEQUENCE.to("meta"), None),
}


@pair
@pytest.mark.parametrize("name", CALLS)
def test_layer_takes_and_refuses_the_tensors_that_torch_does(ours, theirs, name):
    layer, ref = ours(M, N), theirs(M, N)
    got, wanted = (outcome(lambda: module(*CALLS[name])) for module in (layer, ref))
    assert got == wanted
    if wanted[0] == "taken":
        for mine, other in zip(layer(*CALLS[name]), ref(*CALLS[name]), strict=True):
            assert getattr(mine, "data", mine).shape == getattr(other, "data", other).shape


@pair
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "name", ["batched", "integers", "double", "bfloat16", "bfloat16 state", "double state"]
)
def test_layer_takes_and_refuses_under_autocast_what_torch_does(ours, theirs, name, low):
    if (name, low) == ("bfloat16", torch.float16):
        pytest.skip("torch.stack of bfloat16 raises an internal error under float16 autocast")
    with torch.no_grad(), torch.autocast("cpu", dtype=low):
        got, wanted = (outcome(lambda: cls(M, N)(*CALLS[name])) for cls in (ours, theirs))
    assert got == wanted


@pair
def test_layer_names_both_dtypes_and_the_remedy(ours, theirs):
    layer, x = ours(M, N), torch.zeros(T, B, M)
    with pytest.raises(
        ValueError,
        match=r"input is torch\.float64, .*weights are torch\.float32; .*\.to\(torch\.float32\), "
        r"or the layer by \.to\(torch\.float64\)",
    ):
        layer(x.double())
    with pytest.raises(ValueError, match=r"initial state is torch\.float64, .*torch\.float32"):
        layer(x, torch.zeros(1, B, N, dtype=F64))
    with pytest.raises(ValueError, match=r"torch\.int64.*by \.to\(torch\.float32\)$"):
        layer(x.long())
    with pytest.raises(ValueError, match=r"torch\.complex64, .*as_real.*complex scheme"):
        layer(x + 0j)


@pytest.mark.parametrize("low", [None, torch.bfloat16])
def test_complex_layer_takes_real_and_complex_numbers_of_its_precision(low):
    rnn = UnitaryRNN(M, N, field="complex")
    x, h = torch.ones(T, B, M, dtype=low), torch.zeros(1, B, N, dtype=torch.complex64)
    rnn = rnn if low is None else rnn.to(low)
    wanted = rnn(x)[0]
    # Ones and zeros are exact in every dtype.
    for args in ((x, h), (x, h.real), (x.float(), h), (x + 0j, None)):
        assert torch.equal(rnn(*args)[0], wanted)
    for bad in (x.double(), x.to(torch.complex128), x.long()):
        with pytest.raises(ValueError, match=rf"input is {bad.dtype}"):
            rnn(bad)
    with pytest.raises(ValueError, match=r"initial state is torch\.complex128"):
        rnn(x, h.to(torch.complex128))


@pair
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, F64])
def test_layer_after_a_conversion_takes_the_dtype_that_torch_does(ours, theirs, dtype):
    for given in (F32, F64, torch.bfloat16, torch.float16):
        x = torch.zeros(T, B, M, dtype=given)
        got, wanted = (outcome(lambda: cls(M, N).to(dtype)(x)) for cls in (ours, theirs))
        assert got == wanted == ("taken" if given == dtype else "refused", [])
