from dataclasses import replace

import pytest
import torch
from torch import nn

from comparisons.models import MODELS, CellLayer, SequenceModel, relevant_setting, traits_of
from comparisons.models.baselines import BASELINES
from comparisons.plan.fitting import field_of, fitted
from comparisons.plan.papers import own_or_borrowed
from comparisons.records import ModelSettings
from comparisons.tasks import TASKS
from unitary_zoo import UnitaryRNN, UnitaryRNNCell, orthogonal

pytestmark = pytest.mark.usefixtures("own_parts")


class Layer(nn.Module):
    """A layer whose recurrent parameters have names of their own."""

    def __init__(self, input_size, settings):
        super().__init__()
        self.gru = nn.GRU(input_size, settings.hidden_size)

    def forward(self, x, state=None):
        return self.gru(x, state)

    def recurrent_parameters(self):
        return [self.gru.bias_hh_l0]


def with_orthogonal_weight(input_size, settings):
    assert settings.nonlinearity
    return orthogonal(nn.RNN(input_size, settings.hidden_size), "weight_hh_l0", "cayley")


def complex_rnn(input_size, settings):
    return UnitaryRNN(input_size, settings.hidden_size, scheme="arjovsky")


def raises(input_size, settings):
    raise RuntimeError("no")


def test_traits_are_those_of_a_small_model():
    lstm = traits_of(BASELINES.get("lstm"))
    assert (lstm.reals, lstm.schemes, lstm.unitary) == (2, (), False)
    assert not traits_of(BASELINES.get("contractive_rnn")).unitary
    mine = traits_of(with_orthogonal_weight)
    assert (mine.reals, mine.schemes, mine.unitary) == (1, ("cayley",), True)
    assert mine.fields == {"hidden_size", "nonlinearity"}
    assert traits_of(complex_rnn).reals == 2
    assert traits_of(raises).reals == 1


def test_traits_draw_nothing_from_the_global_generator():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    traits_of.cache_clear()
    traits_of(BASELINES.get("gru"))
    assert torch.equal(torch.rand(3), expected)


def test_model_with_unitary_weight_is_fitted_and_measured_as_ours(make_run):
    MODELS.register("mine")(with_orthogonal_weight)
    setting = make_run(unitary_optimizer=None, hidden_size=16, bias=True).setting
    own = fitted(setting, "mine")
    assert own.model.hidden_size == 16
    assert own.training.unitary_optimizer == replace(setting.training.optimizer, lr=1e-4)
    assert field_of("mine") == "real"
    assert not relevant_setting("mine", own.changed(bias=True)).model.bias
    model = SequenceModel("mine", own, TASKS.get("adding")(10))
    assert model.unitarity_defect() < 1e-5
    assert model.recurrent_parameters() == 16 * 15 // 2
    (training,) = own_or_borrowed("first_term", "mine")[:1]
    assert training.setting.training.unitary_optimizer is not None


def test_model_with_complex_states_has_half_the_units_and_all_features(make_run):
    MODELS.register("mine")(complex_rnn)
    own = fitted(make_run(hidden_size=16).setting, "mine")
    assert own.model.hidden_size == 8
    model = SequenceModel("mine", own, TASKS.get("adding")(10))
    assert model.readout.in_features == 16
    assert model(torch.zeros(10, 2, 2))[0].shape == (2, 1)


def test_model_names_its_recurrent_parameters(make_run):
    MODELS.register("mine")(Layer)
    model = SequenceModel("mine", make_run().setting, TASKS.get("adding")(10))
    assert model.recurrent_parameters() == 3 * 8


@pytest.mark.parametrize(("cell", "layer"), [(nn.GRUCell, nn.GRU), (nn.LSTMCell, nn.LSTM)])
def test_cell_layer_agrees_with_the_layer_of_torch(cell, layer):
    states = 2 if layer is nn.LSTM else 1
    mine = CellLayer(cell, 3, ModelSettings(hidden_size=4, layers=2), states=states)
    theirs = layer(3, 4, 2)
    for i, own in enumerate(mine.cells):
        for name, parameter in own.named_parameters():
            parameter.data = theirs.get_parameter(f"{name}_l{i}").data
    x = torch.randn(5, 2, 3)
    torch.testing.assert_close(mine(x), theirs(x))
    state = theirs(x)[1]
    torch.testing.assert_close(mine(x, state), theirs(x, state))


def test_cell_layer_has_complex_states():
    def cell(width, n):
        return UnitaryRNNCell(width, n, scheme="arjovsky")

    layer = CellLayer(cell, 3, ModelSettings(hidden_size=4), dtype=torch.complex64)
    output, last = layer(torch.randn(5, 2, 3))
    assert output.dtype == torch.complex64
    assert torch.equal(last[-1], output[-1])
