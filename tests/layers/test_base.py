"""What both kinds of layers refuse and show."""

import math

import pytest
import torch

from tests.recurrent import B, M, N, T
from unitary_zoo import Parametrization, UnitaryGRU, UnitaryRNN


def test_layers_have_an_abstract_base():
    base = UnitaryGRU.__mro__[1]
    assert base is UnitaryRNN.__mro__[1]
    with pytest.raises(TypeError, match="abstract"):
        base(lambda width: None, "expm", {}, M, N, 1)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2"])
def test_rnn_refuses_a_bad_number_of_layers(bad):
    with pytest.raises((ValueError, TypeError), match=f"num_layers={bad!r}"):
        UnitaryRNN(M, N, bad)


@pytest.mark.parametrize("bad", [-0.1, 1.1, 1.5, math.nan, True, "a", None])
def test_rnn_refuses_a_bad_dropout(bad):
    with pytest.raises(ValueError, match=rf"dropout={bad!r}.*\[0, 1\]"):
        UnitaryRNN(M, N, 2, dropout=bad)


def test_rnn_warns_of_dropout_with_one_layer():
    x = torch.ones(T, B, M)
    with pytest.warns(UserWarning, match=r"dropout=0\.5.*num_layers=1.*num_layers=2 or more"):
        rnn = UnitaryRNN(M, N, dropout=0.5)
    assert torch.equal(rnn.train()(x)[0], rnn.eval()(x)[0])


@pytest.mark.parametrize("options", [{"num_layers": 2}, {"bidirectional": True}])
def test_rnn_refuses_one_ready_scheme_for_two_cells(options):
    ready = Parametrization.create("cayley", N)
    with pytest.raises(ValueError, match=r"'cayley' cannot serve 2 cells.*by name"):
        UnitaryRNN(M, N, scheme=ready, **options)
    assert UnitaryRNN(M, N, scheme=ready).cells[0].recurrent is ready
    rnn = UnitaryRNN(M, N, 2, Parametrization.get("cayley"))
    assert len({id(cell.recurrent) for cell in rnn.cells}) == 2


@pytest.mark.parametrize("shape", [(M,), (2, T, B, M), (T, B, M + 1), (T, M + 1), (T, B, 0)])
def test_rnn_refuses_bad_input_shapes(shape):
    with pytest.raises(ValueError, match=rf"x has shape .*{M} features"):
        UnitaryRNN(M, N)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("x", "h_0", "wanted"),
    [
        ((T, B, M), (2, B + 1, N), (2, B, N)),
        ((T, B, M), (1, B, N), (2, B, N)),
        ((T, B, M), (2, B, N + 1), (2, B, N)),
        ((T, B, M), (B, N), (2, B, N)),
        ((T, M), (2, N + 1), (2, N)),
        ((T, M), (1, N), (2, N)),
        ((T, M), (2, 1, N), (2, N)),
    ],
)
def test_rnn_refuses_bad_initial_states(x, h_0, wanted):
    with pytest.raises(ValueError, match=rf"h_0 has shape .*pass \({', '.join(map(str, wanted))}"):
        UnitaryRNN(M, N, 2)(torch.zeros(x), torch.zeros(h_0))


def test_rnn_refuses_an_empty_sequence():
    with pytest.raises(ValueError, match="T = 0"):
        UnitaryRNN(M, N)(torch.zeros(0, B, M))


def test_rnn_refuses_a_bad_checkpoint():
    with pytest.raises(ValueError, match="checkpoint=0"):
        UnitaryRNN(M, N, checkpoint=0)(torch.zeros(T, B, M))


def test_rnn_repr_tells_the_options():
    text = repr(UnitaryRNN(M, N, 2, "cayley", bidirectional=True, dropout=0.5))
    for part in (f"{M}, {N}", "num_layers=2", "bidirectional=True", "dropout=0.5", "Cayley"):
        assert part in text
    assert "batch_first" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"num_layers": 2, "dropout": 1.1}, r"dropout=1\.1"),
        ({"input_size": 0}, "input_size=0"),
        ({"hidden_size": 0}, "n=0"),
        ({"scheme": "caylay"}, "cayley"),
    ],
)
def test_gru_refuses_bad_options(options, message):
    with pytest.raises((ValueError, LookupError), match=message):
        UnitaryGRU(**{"input_size": M, "hidden_size": N, **options})


def test_gru_refuses_bad_inputs():
    gru = UnitaryGRU(M, N, 2)
    with pytest.raises(ValueError, match=rf"x has shape .*{M} features"):
        gru(torch.zeros(T, B, M + 1))
    with pytest.raises(ValueError, match=rf"h_0 has shape .*pass \(2, {B}, {N}\)"):
        gru(torch.zeros(T, B, M), torch.zeros(1, B, N))
    with pytest.raises(ValueError, match="T = 0"):
        gru(torch.zeros(0, B, M))
    with pytest.raises(ValueError, match=rf"x has shape .*pass \(B, {M}\)"):
        gru.cells[0](torch.zeros(T, B, M))
    with pytest.raises(ValueError, match=r"W has shape \(5, 5\)"):
        gru.cells[0](torch.zeros(B, M), None, torch.eye(N))


def test_gru_repr_tells_the_options():
    text = repr(UnitaryGRU(M, N, 2, "cayley", bidirectional=True, gates="candidate"))
    for part in (f"{M}, {N}", "num_layers=2", "bidirectional=True", "gates='candidate'", "Cayley"):
        assert part in text
