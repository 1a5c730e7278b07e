"""A check acts in plain and in traced code."""

import pytest
import torch

from unitary_zoo import _torch


def refuse_distant(distance, limit, name):
    if not float(distance) <= limit:
        raise ValueError(f"{name}: {float(distance)} exceeds {limit}")


refused = _torch.traceable_check(
    "refuse_distant",
    "(Tensor x, Tensor distance, float limit, str name) -> Tensor",
    refuse_distant,
)


def test_traceable_check_raises_and_returns_its_argument():
    x = torch.ones(3, requires_grad=True)
    assert refused(x, torch.tensor(1.0), 2.0, "w") is x
    with pytest.raises(ValueError, match=r"w: 3\.0 exceeds 2\.0"):
        refused(x, torch.tensor(3.0), 2.0, "w")
    meta = x.to("meta")
    assert refused(meta, torch.tensor(3.0), 2.0, "w") is meta


def test_traceable_check_is_repeated_by_traced_code():
    def function(x, distance):
        return 3 * refused(2 * x, distance, 2.0, "w")

    x = torch.ones(3, requires_grad=True)
    program = torch.compile(function, backend="aot_eager", fullgraph=True)
    (grad,) = torch.autograd.grad(program(x, torch.tensor(1.0)).sum(), x)
    assert torch.equal(grad, torch.full((3,), 6.0))
    with pytest.raises(ValueError, match=r"w: 3\.0 exceeds 2\.0"):
        program(x, torch.tensor(3.0))
