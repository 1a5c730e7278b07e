"""A layer of each family."""

import pytest
import torch

from tests.weights.layers import FAMILIES, linear


@pytest.fixture(params=FAMILIES)
def layer(request):
    torch.manual_seed(0)
    return linear(5, 3, request.param)
