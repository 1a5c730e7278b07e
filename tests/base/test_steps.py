"""What surrounds the steps of a scheme: what is refused, undone, averaged and noticed."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.base.common import build, same, state
from tests.oracles import as_numpy, defect
from unitary_zoo import Parametrization, UnitaryRNN, attach, parameter_groups, retract_
from unitary_zoo.errors import MissedStepWarning, NotFiniteError

STEPPING = [
    ("lie_exp", "real"), ("dtriv", "complex"), ("full_capacity", "complex"), ("landing", "real"),
    ("svd_projection", "complex"), ("projunn_d", "real"), ("projunn_t", "real"),
]  # fmt: skip
every_stepping = pytest.mark.parametrize(("name", "field"), STEPPING)


def train(p, optimizer, steps=1, seed=0):
    target = torch.randn(p.n, p.n, dtype=p.dtype, generator=torch.Generator().manual_seed(seed))
    for _ in range(steps):
        optimizer.zero_grad()
        (p.matrix() - target).abs().square().sum().backward()
        optimizer.step()


# --------------------------------------------------------------------- numbers that are not finite


@every_stepping
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_step_refuses_a_gradient_and_names_it(name, field, value):
    model = nn.ModuleDict({"core": build(name, 4, field)})
    p, optimizer = model["core"], torch.optim.Adam(model.parameters(), lr=0.1)
    attach(model, optimizer)
    train(p, optimizer, 2)
    before, moments = state(p), copy.deepcopy(optimizer.state_dict()["state"])
    p.matrix().real.sum().backward()
    (learned, q), *_ = ((key, q) for key, q in p.named_parameters() if q.requires_grad)
    q.grad.view(-1)[1] = value
    with pytest.raises(
        NotFiniteError, match=rf"{name} at 'core'.*gradient of {learned}.*GradScaler"
    ):
        optimizer.step()
    assert same(state(p), before)
    # The optimizer has not begun its step, so its averages are as before too.
    for now, then in zip(optimizer.state_dict()["state"].values(), moments.values(), strict=True):
        assert torch.equal(now["exp_avg"], then["exp_avg"])
    train(p, optimizer)
    assert not same(state(p), before)


def test_step_refuses_what_the_optimizer_stores():
    # A rate near the largest number of single precision, times a gradient above 1, is infinite.
    p = build("svd_projection", 3, "real", torch.float32)
    optimizer = torch.optim.SGD(p.parameters(), lr=3e38)
    attach(p, optimizer)
    before = p.matrix().detach()
    with pytest.raises(NotFiniteError, match="weight after the step of the optimizer"):
        train(p, optimizer)
    assert torch.equal(p.matrix(), before)


@every_stepping
def test_step_is_undone_by_any_error(name, field, monkeypatch):
    p = build(name, 4, field)
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    attach(p, optimizer)
    before = state(p)

    def fail():
        p.weight.data.zero_() if hasattr(p, "weight") else p.base.data.zero_()
        raise torch.linalg.LinAlgError("no convergence")

    monkeypatch.setattr(p, "_step", fail)
    with pytest.raises(torch.linalg.LinAlgError):
        train(p, optimizer)
    assert same(state(p), before)
    monkeypatch.undo()
    train(p, optimizer)
    assert not same(state(p), before)


def test_other_schemes_end_their_steps_when_one_is_refused():
    model = nn.ModuleList([build("svd_projection", 4, "real"), build("svd_projection", 4, "real")])
    groups = [{"params": model[0].parameters(), "lr": torch.inf}, {"params": model[1].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    attach(model, optimizer)
    before = [as_numpy(p.matrix()) for p in model]
    sum((p.matrix() * torch.randn(4, 4)).sum() for p in model).backward()
    with pytest.raises(NotFiniteError, match="at '0'"):
        optimizer.step()
    np.testing.assert_array_equal(as_numpy(model[0].matrix()), before[0])
    assert np.abs(as_numpy(model[1].matrix()) - before[1]).max() > 1e-3
    assert defect(model[1].matrix()) <= model[1].info.tolerance(4, torch.float64)


def test_moments_stay_when_a_rebase_is_refused():
    p = build("dtriv", 3, "real", rebase_every=2)
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1, momentum=0.9)
    attach(p, optimizer)
    train(p, optimizer)
    optimizer.param_groups[0]["lr"] = torch.inf
    with pytest.raises(NotFiniteError):
        train(p, optimizer)
    assert optimizer.state[p.theta]["momentum_buffer"].isfinite().all()


def test_stale_gradient_is_no_obstacle_to_a_closure():
    p = build("svd_projection", 4, "real")
    optimizer = torch.optim.LBFGS(p.parameters(), max_iter=3)
    attach(p, optimizer)
    p.weight.grad = torch.full_like(p.weight, torch.inf)
    target, before = torch.eye(4, dtype=torch.float64), p.matrix().detach()

    def closure():
        optimizer.zero_grad()
        loss = (p.matrix() - target).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert not torch.equal(p.matrix(), before)


def test_gradient_scaler_skips_a_step_of_a_fused_optimizer():
    p = build("dtriv", 4, "real", torch.float32, rebase_every=3)
    optimizer = torch.optim.Adam(p.parameters(), lr=0.1, fused=True)
    attach(p, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    before = state(p)
    scaler.scale((p.matrix() * torch.inf).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert same(state(p), before)  # the count of steps included
    assert scaler.get_scale() == 2.0**9
    optimizer.zero_grad()
    scaler.scale((p.matrix() * torch.randn(4, 4)).sum()).backward()
    scaler.step(optimizer)
    assert int(p.steps) == 1


@every_stepping
def test_retract_refuses_what_is_not_finite(name, field):
    p = build(name, 4, field)
    with torch.no_grad():
        next(p.learnable_parameters()).view(-1)[0] = torch.nan
    before = state(p)
    with pytest.raises(NotFiniteError, match="load a finite state"):
        p.retract_()
    assert all(
        torch.equal(x.nan_to_num(7.0), before[k].nan_to_num(7.0)) for k, x in state(p).items()
    )


# ---------------------------------------------------------------------------------- the frozen base


def test_base_of_a_rebased_scheme_never_learns():
    p = build("lie_exp", 4, "real", rebase_every=3)
    for q in p.parameters():
        q.requires_grad_(True)
    groups = parameter_groups(p, lr=0.1)
    assert [q is p.theta for q in groups[0]["params"]] == [True]
    optimizer = torch.optim.AdamW(p.parameters(), lr=0.1, weight_decay=0.5)
    attach(p, torch.optim.SGD(groups)).remove()  # the base is in no group
    p.base.requires_grad_(True)
    attach(p, optimizer)
    p.base.requires_grad_(True)
    before = p.base.detach().clone()
    train(p, optimizer, 2)
    assert p.base.grad is None
    assert torch.equal(p.base, before)


def test_base_is_not_counted():
    p = build("lie_exp", 5, "real")
    assert p.describe().parameters == 10
    assert [q is p.theta for q in p.learnable_parameters()] == [True]


@pytest.mark.parametrize("name", ["lie_exp", "full_capacity"])
def test_state_of_a_base_in_a_buffer_is_loaded(name):
    field = Parametrization.get(name).info.field
    p, q = build(name, 4, field), build(name, 4, field, seed=1)
    assert list(p.state_dict()) == ["theta", "base", "steps"]
    q.load_state_dict({key: x.clone() for key, x in p.state_dict().items()})
    assert torch.equal(p.matrix(), q.matrix())


def test_frozen_layer_is_left_alone_by_steps():
    p = build("lie_exp", 4, "real").requires_grad_(False)
    other = nn.Linear(2, 2)
    model = nn.ModuleList([p, other])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, optimizer)
    before = state(p)
    other(torch.ones(2)).sum().backward()
    optimizer.step()
    assert same(state(p), before)


# --------------------------------------------------------------------------------- averages


@pytest.mark.parametrize("every", [1, 7, None])
@pytest.mark.parametrize("field", ["real", "complex"])
def test_average_of_a_rebased_scheme_is_the_mean_to_second_order(every, field):
    gaps = []
    for rate in (0.004, 0.002):
        p = build("dtriv", 5, field, rebase_every=every)
        optimizer = torch.optim.SGD(p.parameters(), lr=rate)
        attach(p, optimizer)
        average = AveragedModel(p, multi_avg_fn=get_ema_multi_avg_fn(0.8))
        mean = None
        for _ in range(15):
            train(p, optimizer)
            average.update_parameters(p)
            w = as_numpy(p.matrix())
            mean = w if mean is None else 0.8 * mean + 0.2 * w
        retract_(average)
        assert defect(average.module.matrix()) <= p.info.tolerance(5, p.dtype)
        u, _, vh = np.linalg.svd(mean)
        gaps.append(np.abs(as_numpy(average.module.matrix()) - u @ vh).max())
    if every == 1:
        assert max(gaps) <= 1e-13  # the bases are the W themselves
    else:
        assert gaps[1] < gaps[0] / 3  # halved moves, a quarter of the gap


def test_retract_keeps_the_determinant_asked_for():
    p = build("lie_exp", 4, "real", determinant=-1)
    with torch.no_grad():
        p.base.add_(0.3 * torch.randn(4, 4))
    p.retract_()
    assert np.linalg.det(as_numpy(p.matrix())) == pytest.approx(-1, abs=1e-12)
    assert defect(p.base) <= p.info.tolerance(4, torch.float64)


# ------------------------------------------------------------------------------------- missed steps


def missed(model, optimizer):
    """Take a step of an optimizer whose hooks do not run."""
    p = next(x for x in model.modules() if isinstance(x, Parametrization))
    for q in p.learnable_parameters():
        q.data.add_(0.1)


@pytest.mark.parametrize("options", [{}, {"rebase_every": 5}])
def test_missed_step_warns_once(options):
    model = nn.ModuleDict({"core": build("lie_exp", 4, "real", **options)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, optimizer)
    train(model["core"], optimizer, 2)
    missed(model, optimizer)
    with pytest.warns(MissedStepWarning, match=r"lie_exp at 'core'.*attach.*retract_"):
        model["core"].matrix()
    model["core"].matrix()
    model["core"].step_()
    model["core"].matrix()


def test_missed_step_is_silent_unless_attached():
    model = UnitaryRNN(2, 4, scheme="lie_exp")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(3, 1, 2)
    missed(model, optimizer)
    model(x)
    handle = attach(model, optimizer)
    model(x)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    copies.append(torch.load(buffer, weights_only=False))
    handle.remove()
    for other in (model, *copies):
        missed(other, optimizer)
        other(x)


def test_missed_step_is_noticed_while_one_of_two_handles_is_left():
    p = build("lie_exp", 3, "real")
    one, two = (torch.optim.SGD(p.parameters(), lr=0.1) for _ in range(2))
    first, second = attach(p, one), attach(p, two)
    first.remove()
    missed(p, two)
    with pytest.warns(MissedStepWarning):
        p.matrix()
    second.remove()
    missed(p, two)
    p.matrix()


def test_missed_step_raises_no_false_alarm_around_a_step():
    p = build("lie_exp", 4, "real", rebase_every=2)
    optimizer = torch.optim.LBFGS(p.parameters(), max_iter=4)
    attach(p, optimizer)
    target = torch.randn(4, 4, dtype=torch.float64)

    def closure():
        optimizer.zero_grad()
        loss = (p.matrix() - target).square().sum()
        loss.backward()
        return loss

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            optimizer.step(closure)
        p.begin_step_()
        missed(p, optimizer)
        p.cancel_step_()
        p.matrix()
        torch.func.functional_call(p, {"theta": p.theta + 1}, torch.ones(4, dtype=torch.float64))
        torch.func.vmap(
            lambda t: torch.func.functional_call(p, {"theta": t}, torch.ones(4, dtype=t.dtype))
        )(torch.stack([p.theta.detach()] * 2))
