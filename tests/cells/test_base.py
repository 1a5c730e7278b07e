"""What a cell refuses: sizes, schemes, options and shapes."""

import pytest
import torch
from torch import nn

from tests.cells.rnn_helpers import F64, B, M, N
from unitary_zoo import Parametrization, UnitaryRNNCell


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, "3", None])
def test_cell_refuses_a_bad_input_size(bad):
    with pytest.raises((ValueError, TypeError), match=rf"input_size={bad!r}"):
        UnitaryRNNCell(bad, N)


@pytest.mark.parametrize(("bad", "error"), [(0, ValueError), (-2, ValueError), (2.0, TypeError)])
def test_cell_refuses_a_bad_hidden_size(bad, error):
    with pytest.raises(error, match=str(bad)):
        UnitaryRNNCell(M, bad)


def test_cell_refuses_a_ready_scheme_of_another_size():
    with pytest.raises(ValueError, match=r"n=4.*hidden_size=5"):
        UnitaryRNNCell(M, 5, Parametrization.create("cayley", 4))


@pytest.mark.parametrize(
    "options", [{"dtype": F64}, {"device": "cpu"}, {"field": "complex"}, {"determinant": -1}]
)
def test_cell_refuses_options_beside_a_ready_scheme(options):
    (name,) = options
    with pytest.raises(TypeError, match=f"'{name}'.*ready 'cayley'"):
        UnitaryRNNCell(M, N, Parametrization.create("cayley", N), **options)


@pytest.mark.parametrize("bad", [None, 3, dict, nn.Linear(2, 2)])
def test_cell_refuses_a_scheme_of_another_type(bad):
    with pytest.raises(TypeError, match="registered name, a class or a Parametrization"):
        UnitaryRNNCell(M, N, bad)


def test_cell_suggests_names_for_an_unknown_scheme():
    with pytest.raises(LookupError, match="cayley"):
        UnitaryRNNCell(M, N, "caylay")


def test_cell_refuses_an_unknown_option():
    with pytest.raises(TypeError, match="tunable"):
        UnitaryRNNCell(M, N, "cayley", tunable=True)


@pytest.mark.parametrize("nonlinearity", ["relu", "leaky_relu", "abs", "tanh", "sigmoid"])
def test_cell_refuses_a_real_nonlinearity_of_a_complex_scheme(nonlinearity):
    ready = Parametrization.create("full_capacity", N)
    for scheme in ("full_capacity", ready):
        with pytest.raises(ValueError, match=f"'{nonlinearity}'.*modrelu.*real scheme"):
            UnitaryRNNCell(M, N, scheme, nonlinearity)


@pytest.mark.parametrize("shape", [(), (M + 1,), (B, M + 1), (2, B, M), (B, 0)])
def test_cell_refuses_wrong_input_shapes(shape):
    with pytest.raises(ValueError, match=rf"x has shape .*pass \(B, {M}\) or \({M},\)"):
        UnitaryRNNCell(M, N)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(N,), (B, N + 1), (B + 1, N), (1, N), (1, B, N)])
def test_cell_refuses_wrong_state_shapes(shape):
    with pytest.raises(ValueError, match=rf"h.* has shape .*pass \({B}, {N}\)"):
        UnitaryRNNCell(M, N)(torch.zeros(B, M), torch.zeros(shape))


def test_cell_refuses_a_map_of_another_size():
    with pytest.raises(ValueError, match="has shape"):
        UnitaryRNNCell(M, N)(
            torch.zeros(B, M), None, Parametrization.create("expm", N + 1).prepare()
        )
