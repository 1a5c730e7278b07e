import math

import numpy as np
import pytest
import torch
from torch import nn

from comparisons.models import SequenceModel
from comparisons.records import Optimizer
from comparisons.tasks import TASKS
from comparisons.training.optimizers import OPTIMIZERS, NormalizedGradient, build_optimizers
from comparisons.training.trainer import train
from unitary_zoo import Parametrization, attach

NORMALIZED = {
    "options": (("rms_normalize", True),),
    "unitary_optimizer": Optimizer("sgd", lr=1e-2),
}


def gradient(w, target):
    """The gradient of sum |w - target|^2 + Re sum (w target)^2 in Re w and Im w."""
    return 2 * (w - target) + 2 * np.conj(w * target**2)


def cost(w, target):
    return (w - target).abs().square().sum() + (w * target).square().real.sum()


def wisdom(w, target, rate, steps, scales, decay=0.9, eps=1e-8):
    """Wisdom's normalised update in numpy."""
    square, found, one = 0.0, [], np.eye(len(w))
    for scale in scales[:steps]:
        g = scale * gradient(w, target)
        parts = np.stack([g.real, g.imag])
        square = decay * square + (1 - decay) * parts**2
        parts = parts / (np.sqrt(square) + eps)
        g = parts[0] + 1j * parts[1]
        a = g @ w.conj().T - w @ g.conj().T
        w = np.linalg.solve(one + rate / 2 * a, (one - rate / 2 * a) @ w)
        found.append(w)
    return found


@pytest.mark.parametrize("n", [1, 3, 7])
@pytest.mark.parametrize("how", ["read once", "read twice", "two backward passes", "clipped"])
def test_normalized_gradient_gives_the_steps_of_the_formula(n, how):
    draw = torch.Generator().manual_seed(n)
    target = torch.randn(n, n, dtype=torch.complex128, generator=draw)
    p = Parametrization.create("full_capacity", n, dtype=torch.float64)
    p.reset_parameters(generator=draw)
    optimizer = torch.optim.SGD(p.parameters(), lr=1e-2)
    optimizer.register_step_pre_hook(NormalizedGradient(p))
    attach(p, optimizer)
    start, found, scales = p.matrix().detach().numpy(), [], []
    for k in range(4):
        optimizer.zero_grad()
        w, scale = p.prepare().matrix(), 1.0
        if how == "read twice":  # as by a cell that is called at every time step
            other = p.prepare().matrix()
            (cost(w, target) - (w * target).real.sum() + (other * target).real.sum()).backward()
        elif how == "two backward passes":
            (cost(w, target) - (w * target).real.sum()).backward()
            (p.prepare().matrix() * target).real.sum().backward()
        else:
            cost(w, target).backward()
        if how == "clipped":
            norm = nn.utils.clip_grad_norm_(p.parameters(), 10.0**-k)
            scale = min(1.0, 10.0**-k / (float(norm) + 1e-6))  # what torch multiplies by
        scales.append(scale)
        optimizer.step()
        with torch.no_grad():
            found.append(p.matrix().numpy())
    for w, wanted in zip(found, wisdom(start, target.numpy(), 1e-2, 4, scales), strict=True):
        # G / sqrt(square) divides rounding of 1e-14 by entries of G down to 1e-3 or so.
        assert np.abs(w - wanted).max() <= 1e-11


def test_rms_normalize_changes_step_of_unitary_weight(make_run):
    def learned(**setting):
        run = make_run("full_capacity", unitary_optimizer=Optimizer("sgd", lr=1e-2), **setting)
        task = TASKS.get(run.task)(run.length)
        torch.manual_seed(0)
        model = SequenceModel(run.model, run.setting, task)
        optimizers = build_optimizers(model, run.setting)
        batch = next(task.train_batches(4, torch.Generator().manual_seed(0)))
        task.loss(model(batch.inputs)[0], batch.targets).backward()
        (scheme,) = model.schemes()
        before = scheme.matrix().detach()
        for optimizer in optimizers:
            optimizer.step()
        return (scheme.matrix() - before).abs().max()

    # After the first step every entry of the normalised G is 1 / sqrt(0.1).
    assert learned(options=(("rms_normalize", True),)) > 10 * learned()


@pytest.mark.parametrize(
    ("model", "setting"),
    [("expm", {}), ("full_capacity", {"clip": 1.0}), ("lie_exp", {})],
)
def test_rms_normalize_refuses_unfit_setting(make_run, model, setting):
    run = make_run(model, **NORMALIZED, **setting)
    with pytest.raises(ValueError, match="rms_normalize"):
        build_optimizers(SequenceModel(model, run.setting, TASKS.get("copying")(5)), run.setting)


def test_clip_bounds_every_entry(make_run, monkeypatch):
    seen = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            grads = [p.grad.abs().max().item() for g in self.param_groups for p in g["params"]]
            seen.append(max(grads))
            return super().step(closure)

    monkeypatch.setitem(OPTIMIZERS, "spy", lambda groups, spec: Spy(groups, lr=spec.lr))
    spy = Optimizer("spy", lr=0.0)
    train(make_run("tanh_rnn", optimizer=spy, unitary_optimizer=None, clip=1e-3, iterations=2))
    assert max(seen) <= 1.001e-3
    train(make_run("tanh_rnn", optimizer=spy, unitary_optimizer=None, iterations=2))
    assert max(seen) > 1.001e-3


def test_clip_norm_bounds_whole_gradient(make_run, monkeypatch):
    seen = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            grads = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
            seen.append(torch.cat(grads).norm().item())
            return super().step(closure)

    monkeypatch.setitem(OPTIMIZERS, "spy", lambda groups, spec: Spy(groups, lr=spec.lr))
    spy = Optimizer("spy", lr=0.0)
    train(make_run("tanh_rnn", optimizer=spy, unitary_optimizer=None, iterations=1))
    train(make_run("tanh_rnn", optimizer=spy, unitary_optimizer=None, clip_norm=1e-3, iterations=1))
    free, bounded = seen
    assert free > 1.001e-3
    assert bounded == pytest.approx(1e-3, rel=1e-3)  # torch adds 1e-6 to the norm it divides by


def test_theano_rmsprop_steps_equal_formula():
    gradients = [0.3, -2.0, 0.0, 1e-9]
    lr, decay = 1e-3, 0.9
    p = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = OPTIMIZERS["rmsprop_theano"]([{"params": [p]}], Optimizer("_", lr, decay))
    expected, square = 0.0, 1e-3
    for gradient in gradients:
        square = decay * square + (1 - decay) * gradient**2
        expected -= lr * gradient / math.sqrt(square)
        p.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    assert p.item() == pytest.approx(expected, rel=1e-12)
    # Until the accumulator of an entry without gradient is 0, at a decay that makes that soon.
    optimizer = OPTIMIZERS["rmsprop_theano"]([{"params": [p]}], Optimizer("_", lr, 0.1))
    p.grad = torch.tensor(0.0, dtype=torch.float64)
    for _ in range(350):
        optimizer.step()
    assert optimizer.state[p]["square_avg"].item() == 0.0
    assert math.isfinite(p.item())


def test_build_optimizers_partitions_parameters(make_run):
    run = make_run("lie_exp", unitary_optimizer=Optimizer("sgd", lr=0.5))
    model = SequenceModel("lie_exp", run.setting, TASKS.get("copying")(5))
    free, unitary = build_optimizers(model, run.setting)
    assert isinstance(free, torch.optim.RMSprop)
    assert isinstance(unitary, torch.optim.SGD)
    assert unitary.param_groups[0]["lr"] == 0.5
    (scheme,) = model.schemes()
    held = [{id(p) for g in o.param_groups for p in g["params"]} for o in (free, unitary)]
    assert held[1] == {id(p) for p in scheme.learnable_parameters()}
    assert held[0] | held[1] == {id(p) for p in model.parameters() if p.requires_grad}
    assert not held[0] & held[1]


@pytest.fixture
def rates(monkeypatch):
    """The learning rates of the steps of the optimizer "spy"."""
    found = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            found.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setitem(OPTIMIZERS, "spy", lambda groups, spec: Spy(groups, lr=spec.lr))
    return found


@pytest.mark.parametrize(("lr", "divisors"), [(1e-12, [1, 1, 4, 4, 16, 16]), (0.1, [1] * 6)])
def test_plateau_divisor_lowers_rates_without_improvement(make_run, rates, lr, divisors):
    run = make_run(
        "gru", task="char_lm", optimizer=Optimizer("spy", lr=lr), unitary_optimizer=None,
        plateau_divisor=4.0, eval_every=2,
    )  # fmt: skip
    losses = [point.valid_loss for point in train(run).curve]
    assert (losses[-1] < losses[0]) == (lr == 0.1)
    assert rates == pytest.approx([lr / divisor for divisor in divisors])


def test_lr_decay_follows_schedule(make_run, rates):
    spy = Optimizer("spy", lr=1e-3)
    train(
        make_run("gru", optimizer=spy, unitary_optimizer=None, lr_decay=0.5, decay_every=2,
                 iterations=5)
    )  # fmt: skip
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4])
