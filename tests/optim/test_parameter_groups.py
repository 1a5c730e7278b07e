"""parameter_groups: free parameters and those of schemes."""

import pytest
import torch
from torch import nn

from tests.optim.training import OPTIMIZERS
from tests.schemes.descent import build
from unitary_zoo import attach, parameter_groups


def model_with_both():
    return nn.ModuleDict({"head": nn.Linear(4, 2), "core": nn.Sequential(build("expm"))})


def test_parameter_groups_separate_free_and_unitary():
    model = model_with_both()
    free, unitary = parameter_groups(model, lr=1e-3, unitary_lr=1e-4)
    assert list(map(id, free["params"])) == list(map(id, model["head"].parameters()))
    assert list(map(id, unitary["params"])) == list(map(id, model["core"].parameters()))
    assert free["lr"] == 1e-3
    assert unitary["lr"] == 1e-4
    assert unitary["weight_decay"] == 0.0
    assert "weight_decay" not in free  # the optimizer's own default


def test_parameter_groups_have_one_rate_by_default():
    assert [group["lr"] for group in parameter_groups(model_with_both(), lr=0.5)] == [0.5, 0.5]
    assert parameter_groups(model_with_both(), lr=0.5, unitary_lr=0.0)[1]["lr"] == 0.0


def test_parameter_groups_options_and_weight_decay():
    free, unitary = parameter_groups(model_with_both(), lr=1e-3, weight_decay=0.1, betas=(0.5, 0.6))
    assert (free["weight_decay"], unitary["weight_decay"]) == (0.1, 0.0)
    assert free["betas"] == unitary["betas"] == (0.5, 0.6)


def test_parameter_groups_leave_out_an_empty_group():
    (only,) = parameter_groups(build("expm"), lr=0.1)
    assert only["weight_decay"] == 0.0
    (only,) = parameter_groups(nn.Linear(2, 2), lr=0.1, weight_decay=0.3)
    assert only["weight_decay"] == 0.3


def test_parameter_groups_hold_every_parameter_once():
    shared = build("lie_exp")
    model = nn.ModuleList([nn.Sequential(shared), shared, nn.Linear(4, 4), build("arjovsky")])
    groups = parameter_groups(model, lr=0.1)
    found = sorted(id(q) for group in groups for q in group["params"])
    assert found == sorted(id(q) for q in model.parameters() if q.requires_grad)


def test_parameter_groups_weight_decay_moves_free_parameters_only():
    model = model_with_both()
    optimizer = torch.optim.SGD(parameter_groups(model, lr=0.1, weight_decay=1.0))
    attach(model, optimizer)
    before = {key: q.detach().clone() for key, q in model.named_parameters()}
    sum((q * 0).sum() for q in model.parameters()).backward()
    optimizer.step()
    for key, q in model.named_parameters():
        torch.testing.assert_close(q.detach(), before[key] * (0.9 if "head" in key else 1.0))


@pytest.mark.parametrize(
    "optimizer", [name for name in OPTIMIZERS if name not in ("LBFGS", "Muon")]
)
def test_parameter_groups_suit_the_optimizer(optimizer):
    # LBFGS takes one group only, and Muon matrices only.
    model = model_with_both()
    groups = OPTIMIZERS[optimizer](parameter_groups(model, lr=1e-3, unitary_lr=1e-4)).param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-4]
