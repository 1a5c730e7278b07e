"""attach: every optimizer of torch and its gradient scaler keep the weight on the group."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.optim.training import OPTIMIZERS, train_scaled
from tests.oracles import as_numpy, defect
from tests.schemes.descent import build, cost, target_for, train
from unitary_zoo import attach

FAMILIES = [
    ("expm", {}),
    ("lie_exp", {"rebase_every": 3}),
    ("full_capacity", {}),
    ("svd_projection", {}),
    ("svd_projection", {"field": "complex"}),
    ("projunn_d", {"rank": 2}),
    ("projunn_t", {"rank": 2}),
    ("polar_newton_schulz", {}),
]


# Muon takes matrices only: real weights that are stored as such.
USABLE = [
    pytest.param(optimizer, name, options, id=f"{optimizer}-{name}-{'-'.join(options)}")
    for optimizer in OPTIMIZERS
    for name, options in FAMILIES
    if optimizer != "Muon" or (name, options) == ("svd_projection", {})
]


def test_common_optimizers_are_tested():
    assert {"SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "LBFGS"} <= set(OPTIMIZERS)


@pytest.mark.parametrize(("optimizer", "name", "options"), USABLE)
def test_optimizer_keeps_the_weight_on_the_group(optimizer, name, options):
    p = build(name, 6, torch.float32, **options)
    target, before = target_for(p), as_numpy(p.matrix())
    opt = OPTIMIZERS[optimizer](p.parameters(), lr=1e-2)
    attach(p, opt)
    losses = []

    def closure():
        opt.zero_grad()
        loss = (p.matrix() - target).abs().square().sum()
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(3 if optimizer == "LBFGS" else 12):  # LBFGS takes up to 20 steps in each
        opt.step(closure)
        assert defect(p.matrix()) <= p.info.tolerance(6, p.dtype)
    assert losses[-1] < losses[0]
    # Far above rounding; the slowest, Adadelta, starts at steps of lr * sqrt(1e-6).
    assert np.abs(as_numpy(p.matrix()) - before).max() > 1e-5


IMPLEMENTATIONS = [
    ("SGD", {"foreach": True}), ("SGD", {"fused": True}), ("SGD", {"maximize": True}),
    ("Adam", {"foreach": True}), ("Adam", {"fused": True}), ("Adam", {"amsgrad": True}),
    ("AdamW", {"fused": True, "weight_decay": 0.5}), ("Adagrad", {"fused": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.5}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.5}),
    ("LBFGS", {"line_search_fn": "strong_wolfe"}),
]  # fmt: skip


@pytest.mark.parametrize(("optimizer", "variant"), IMPLEMENTATIONS)
@pytest.mark.parametrize("name", ["expm", "lie_exp", "svd_projection"])
def test_optimizer_variant_keeps_the_weight_on_the_group(name, optimizer, variant):
    p = build(name, 6, torch.float32)
    target = target_for(p)
    opt = OPTIMIZERS[optimizer](p.parameters(), lr=1e-2, **variant)
    attach(p, opt)

    def closure():
        opt.zero_grad()
        loss = (p.matrix() - target).abs().square().sum()
        loss.backward()
        return loss

    for _ in range(5):
        opt.step(closure)
        assert defect(p.matrix()) <= p.info.tolerance(6, p.dtype)


@pytest.mark.parametrize("name", ["expm", "lie_exp", "svd_projection"])
def test_lbfgs_finds_the_nearest_rotation(name):
    # <W, T> is largest at the polar factor of T.
    p = build(name, 4)
    wanted = as_numpy(p.matrix()) + 0.3 * target_for(p).numpy()
    nearest = scipy.linalg.polar(wanted)[0]
    opt = torch.optim.LBFGS(p.parameters(), line_search_fn="strong_wolfe", tolerance_grad=1e-12)
    attach(p, opt)

    def closure():
        opt.zero_grad()
        loss = -(p.matrix() * torch.from_numpy(wanted)).sum()
        loss.backward()
        return loss

    for _ in range(8):
        opt.step(closure)
    # It stops where the loss, quadratic about its minimum, changes by less than 1e-9.
    assert np.abs(as_numpy(p.matrix()) - nearest).max() <= 1e-4


@pytest.mark.parametrize("name", ["expm", "lie_exp", "full_capacity", "svd_projection"])
def test_gradient_scaler_changes_no_step(name):
    plain, scaled = build(name), build(name)
    target = target_for(plain)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    optimizers = [torch.optim.SGD(p.parameters(), lr=0.02) for p in (plain, scaled)]
    attach(plain, optimizers[0])
    attach(scaled, optimizers[1])
    wanted = train(plain, optimizers[0], 5, target)
    found = train_scaled(scaled, optimizers[1], 5, target, scaler)
    # Powers of two scale without rounding.
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", ["expm", "lie_exp", "full_capacity", "svd_projection"])
def test_gradient_scaler_skipped_step_changes_nothing(name):
    p, fresh = build(name), build(name)
    target = target_for(p)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = torch.optim.SGD(p.parameters(), lr=0.02)
    attach(p, optimizer)
    before = {key: value.clone() for key, value in p.state_dict().items()}
    scaler.scale(cost(p.matrix(), target) * math.inf).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() < 4.0
    for key, value in p.state_dict().items():
        assert torch.equal(value, before[key])
    # The training goes on as if there had been no step.
    own = torch.optim.SGD(fresh.parameters(), lr=0.02)
    attach(fresh, own)
    found = train_scaled(p, optimizer, 3, target, scaler)
    wanted = train(fresh, own, 3, target)
    np.testing.assert_allclose(found[-1], wanted[-1], rtol=0, atol=1e-14)
