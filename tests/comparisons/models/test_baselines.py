import math

import pytest
import torch

from comparisons.models import BASELINES, check_model, model_names
from unitary_zoo import Parametrization


def test_baselines_start_as_published(make_run):
    setting = make_run(hidden_size=5).setting
    irnn = BASELINES.get("irnn")(3, setting.model)
    assert torch.equal(irnn.weight_hh_l0, torch.eye(5))
    assert irnn.nonlinearity == "relu"
    lstm = BASELINES.get("lstm")(3, setting.model)
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).reshape(4, 5)
    expected = torch.tensor([0.0, 1.0, 0.0, 0.0])[:, None].expand(4, 5)  # the forget gate's
    assert torch.equal(bias, expected)
    bound = math.sqrt(6 / (5 + 5))  # Glorot, of each gate on its own
    assert lstm.weight_hh_l0.abs().max() <= bound
    assert lstm.weight_hh_l0.abs().max() > 0.8 * bound


def test_check_model_knows_schemes_and_baselines():
    assert check_model("gru") == "gru"
    assert set(Parametrization.names()) < set(model_names())
    with pytest.raises(LookupError, match="expm"):
        check_model("exppm")
