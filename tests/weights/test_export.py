"""plain_state_dict, and loading the checkpoint of a layer without scheme."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.oracles import haar
from tests.weights.layers import linear
from unitary_zoo import plain_state_dict


def test_plain_state_dict_round_trip(layer):
    model = nn.Sequential(layer, nn.Tanh(), nn.Linear(5, 2))
    plain = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    state = plain_state_dict(model)
    assert state.keys() == plain.state_dict().keys()
    plain.load_state_dict(state)
    x = torch.randn(2, 3)
    torch.testing.assert_close(plain(x), model(x), rtol=0, atol=1e-6)
    name = layer.parametrizations.weight[0].schemes[0].info.name
    other = nn.Sequential(linear(5, 3, name), nn.Tanh(), nn.Linear(5, 2))
    assert not other.load_state_dict(plain.state_dict()).missing_keys
    torch.testing.assert_close(other(x), model(x), rtol=0, atol=1e-5)


def test_plain_checkpoint_off_the_group_is_projected_with_a_warning(layer):
    plain = nn.Linear(3, 5)
    u, _, vh = np.linalg.svd(plain.weight.detach().numpy(), full_matrices=False)
    with pytest.warns(UserWarning, match="weight: the plain weight loaded.*nearest"):
        layer.load_state_dict(plain.state_dict())
    np.testing.assert_allclose(layer.weight.detach().numpy(), u @ vh, atol=1e-5)


def test_plain_checkpoint_that_cannot_be_represented_is_an_error():
    layer, plain = linear(4, 4, "expm"), nn.Linear(4, 4)
    before = layer.weight.detach().clone()
    with torch.no_grad():
        plain.weight.copy_(haar(4, 4, determinant=-1))
    with pytest.raises(RuntimeError, match="weight: expm cannot represent"):
        layer.load_state_dict(plain.state_dict())
    with pytest.raises(RuntimeError, match=r"weight: the value has shape \(3, 4\)"):
        layer.load_state_dict(nn.Linear(4, 3).state_dict(), strict=False)
    assert torch.equal(layer.weight, before)


def test_plain_state_dict_is_contiguous(layer):
    # The columns of a tall weight, and the transpose of a wide one, are views.
    for value in plain_state_dict(layer).values():
        assert value.is_contiguous()
        assert not value.is_conj()
        assert value.untyped_storage().nbytes() == value.numel() * value.element_size()
