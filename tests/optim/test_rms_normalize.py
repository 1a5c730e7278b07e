"""full_capacity with rms_normalize: Wisdom's normalised update."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from tests.optim.training import build, cost, gradient, tangent, target_for, train
from tests.oracles import as_numpy
from unitary_zoo import attach


def rms_reference(w, target, rate, steps, decay=0.9, eps=1e-8, scales=None):
    """Wisdom's normalised update in numpy."""
    square, found, one = 0.0, [], np.eye(len(w))
    for k in range(steps):
        g = gradient(w, target) * (1.0 if scales is None else scales[k])
        parts = np.stack([g.real, g.imag])
        square = decay * square + (1 - decay) * parts**2
        parts = parts / (np.sqrt(square) + eps)
        a = tangent(parts[0] + 1j * parts[1], w)
        w = np.linalg.solve(one + rate / 2 * a, (one - rate / 2 * a) @ w)
        found.append(w)
    return found


RMS = {"rate": 1e-2, "steps": 4}


# G / sqrt(square) divides rounding of 1e-14 by entries of G down to 1e-3 or so.
RMS_LIMIT = 1e-11


def rms_scheme(n=4, **options):
    p = build("full_capacity", n, rms_normalize=True, **options)
    optimizer = torch.optim.SGD(p.parameters(), lr=RMS["rate"])
    attach(p, optimizer)
    return p, optimizer, target_for(p)


@pytest.mark.parametrize("options", [{}, {"rms_decay": 0.5, "rms_eps": 1e-3}])
@pytest.mark.parametrize("n", [1, 3, 7])
def test_rms_normalize_step_is_the_formula(n, options):
    p, optimizer, target = rms_scheme(n, **options)
    own = {key.removeprefix("rms_"): value for key, value in options.items()}
    wanted = rms_reference(as_numpy(p.matrix()), target, **RMS, **own)
    for found, w in zip(train(p, optimizer, RMS["steps"], target), wanted, strict=True):
        assert np.abs(found - w).max() <= RMS_LIMIT


def test_rms_normalize_step_ignores_a_gradient_scaler():
    p, optimizer, target = rms_scheme()
    wanted = rms_reference(as_numpy(p.matrix()), target, **RMS)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=2)
    for found, w in zip(train(p, optimizer, RMS["steps"], target, scaler), wanted, strict=True):
        assert np.abs(found - w).max() <= RMS_LIMIT


def test_rms_normalize_step_follows_gradient_clipping():
    p, optimizer, target = rms_scheme()
    start, scales = as_numpy(p.matrix()), []
    found = []
    for k in range(RMS["steps"]):
        optimizer.zero_grad()
        cost(p.matrix(), target).backward()
        norm = nn.utils.clip_grad_norm_(p.parameters(), 10.0**-k)
        scales.append(min(1.0, 10.0**-k / (float(norm) + 1e-6)))  # what torch multiplies by
        optimizer.step()
        found.append(as_numpy(p.matrix()))
    assert min(scales) < 0.1
    wanted = rms_reference(start, target, **RMS, scales=scales)
    for w, v in zip(found, wanted, strict=True):
        assert np.abs(w - v).max() <= RMS_LIMIT


def split_cost(p, target, how):
    """The gradient of the cost as that of two terms, of which each alone points elsewhere."""
    other = 10 * target_for(p, seed=2)

    def first(w):
        return cost(w, target) - (w * other).real.sum()

    def second(w):
        return (w * other).real.sum()

    if how == "read once":
        w = p.matrix()
        (first(w) + second(w)).backward()
    elif how == "read twice":
        (first(p.matrix()) + second(p.matrix())).backward()
    elif how == "two backward passes":
        first(p.matrix()).backward()
        second(p.matrix()).backward()
    elif how == "read once more without a gradient":
        w = p.matrix()
        with torch.no_grad():
            p.matrix()
        p.matrix()  # and once without a use
        (first(w) + second(w)).backward()


@pytest.mark.parametrize(
    "how",
    ["read once", "read twice", "two backward passes", "read once more without a gradient"],
)
@pytest.mark.parametrize("set_to_none", [True, False])
def test_rms_normalize_step_depends_on_the_sum_of_the_gradients(how, set_to_none):
    # A cell that is called at every time step reads W as often.
    p, optimizer, target = rms_scheme()
    wanted = rms_reference(as_numpy(p.matrix()), target, **RMS)
    for w in wanted:
        optimizer.zero_grad(set_to_none=set_to_none)
        split_cost(p, target, how)
        optimizer.step()
        assert np.abs(as_numpy(p.matrix()) - w).max() <= RMS_LIMIT


def test_rms_normalize_step_by_closure():
    p, optimizer, target = rms_scheme()
    wanted = rms_reference(as_numpy(p.matrix()), target, **RMS)

    def closure():
        optimizer.zero_grad()
        loss = cost(p.matrix(), target)
        loss.backward()
        return loss

    for w in wanted:
        optimizer.step(closure)
        assert np.abs(as_numpy(p.matrix()) - w).max() <= RMS_LIMIT


def test_rms_normalize_refuses_a_gradient_clipped_by_value():
    # Clipped entry by entry, theta's gradient is no longer that of the G whose entries are
    # normalised; scaled as a whole it is.
    for clip, fits in ((torch.nn.utils.clip_grad_norm_, True), (nn.utils.clip_grad_value_, False)):
        p, optimizer, target = rms_scheme()
        cost(p.matrix(), target).backward()
        clip(p.parameters(), 0.1 * float(p.theta.grad.abs().max()))
        with contextlib.nullcontext() if fits else pytest.raises(ValueError, match="clip by norm"):
            optimizer.step()


def test_rms_normalize_without_attach_raises():
    p = build("full_capacity", 3, rms_normalize=True)
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    p.matrix().real.sum().backward()
    optimizer.step()
    with pytest.raises(ValueError, match="attach"):
        p.step_()
