"""Checks of training: W moves, descends, stays unitary, follows its geodesic."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from unitary_zoo import linalg, optim
from unitary_zoo.base import (
    NotProjectedError,
    Parametrization,
    Projected,
    Rebased,
)
from unitary_zoo.testing.checks.registry import FLOAT64, check, exact, holds, refuses, rounding
from unitary_zoo.testing.subject import (
    Measure,
    Subject,
    defect,
    distance,
    haar,
    normal,
)

_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": partial(torch.optim.SGD, lr=1e-2, weight_decay=1e-2),
    "RMSprop": partial(torch.optim.RMSprop, lr=1e-2),
    "AdamW": partial(torch.optim.AdamW, lr=1e-2, weight_decay=1e-2),
}


@check()
def check_training(subject: Subject) -> Iterator[Measure]:
    """60 steps of SGD, RMSprop and AdamW with weight decay keep W unitary and lower the loss."""
    for where, p in subject.cases(6, dtypes=(torch.float32,)):
        for name, optimizer in _OPTIMIZERS.items():
            q = copy.deepcopy(p)
            target = haar(q.n, q.dtype, determinant=q.initial_determinant)
            opt = optimizer(list(q.learnable_parameters()))
            handle = optim.attach(q, opt)
            losses = []
            for _ in range(60):
                opt.zero_grad()
                loss = (q.matrix() - target).abs().square().sum()
                loss.backward()
                opt.step()
                losses.append(float(loss.detach()))
            handle.remove()
            yield holds(losses[-1] < losses[0], f"{where}: {name} lowers the loss")
            if q.info.exact:
                yield Measure(defect(q), q.info.tolerance(q.n, q.dtype), f"{where}: {name} defect")


@check(exact)
def check_weight_decay(subject: Subject) -> Iterator[Measure]:
    """Weight decay without a gradient leaves W unitary: neither zero nor shrunk."""
    for where, p in subject.cases(2, 5, dtypes=(torch.float32,)):
        opt = torch.optim.AdamW(list(p.parameters()), lr=1e-1, weight_decay=1e-1)
        handle = optim.attach(p, opt)
        for _ in range(10):
            opt.zero_grad()
            (0.0 * p.matrix().abs().sum()).backward()
            opt.step()
        handle.remove()
        yield Measure(defect(p), p.info.tolerance(p.n, p.dtype), where)


@check()
def check_step_moves(subject: Subject) -> Iterator[Measure]:
    """W follows its parameters: a step changes it, a step of zero gradient does not."""
    for where, p in subject.cases(3, 5, dtypes=FLOAT64):
        opt = torch.optim.SGD(list(p.parameters()), lr=1e-2)
        handle = optim.attach(p, opt)
        before = p.matrix().detach()
        (0.0 * p.matrix().abs().sum()).backward()
        opt.step()
        yield Measure(
            distance(p.matrix(), before), rounding(p.n, p.dtype), f"{where}: zero gradient"
        )
        opt.zero_grad()
        weight = normal(p.n, p.n, dtype=p.dtype, seed=8)
        first = (p.matrix() * weight).real.sum()
        first.backward()
        opt.step()
        handle.remove()
        moved = distance(p.matrix(), before)
        yield holds(not p.info.dimension(p.n) or moved > 1e-6, f"{where}: moved {moved:.1e}")
        second = (p.matrix() * weight).real.sum()
        descends = not p.info.dimension(p.n) or bool(second < first)
        yield holds(descends, f"{where}: descends")


@check(lambda info: info.retraction_order is not None and info.exact)
def check_retraction(subject: Subject) -> Iterator[Measure]:
    """The step R(W, tX) meets the geodesic exp(tX) W to the order claimed, and R(W, 0) = W."""
    for where, p in subject.cases(5, dtypes=FLOAT64):
        order = p.info.retraction_order
        assert order is not None
        w = haar(p.n, p.dtype, determinant=p.initial_determinant)
        in_su = p.determinant is not None and p.field == "complex"
        w = linalg.with_unit_determinant(w) if in_su else w
        p.assign_(w)
        yield Measure(distance(p.matrix(), w), rounding(p.n, p.dtype), f"{where}: R(W, 0)")
        coordinates = normal(linalg.skew_dimension(p.n, p.field), dtype=torch.float64)
        x = linalg.skew_from_coordinates(coordinates / coordinates.norm(), p.n, p.field)
        x = linalg.traceless(x) if in_su else x
        errors, steps = [], (0.2, 0.1, 0.05)
        for t in steps:
            p.assign_(w)
            _move_tangent(p, t * x)
            p.step_()
            errors.append(distance(p.matrix(), torch.matrix_exp(torch.stack([t * x] * 2))[0] @ w))
        if math.isinf(order):
            limit = rounding(p.n, p.dtype)
            yield Measure(max(errors), limit, f"{where}: is the geodesic")
        else:
            slope = math.log(errors[0] / errors[-1]) / math.log(steps[0] / steps[-1])
            # The next order bends the slope by a few per cent at these steps.
            yield Measure(order + 1 - slope, 0.15, f"{where}: slope {slope:.2f}")


@torch.no_grad()
def _move_tangent(p: Parametrization, x: Tensor) -> None:
    """Move the parameters along X W, as plain gradient descent does; ``step_`` has to follow."""
    if isinstance(p, Rebased):
        p.theta.copy_(linalg.skew_to_coordinates(x))
    elif isinstance(p, Projected):
        p.weight.add_(linalg.view_as_real_parts(x @ p.matrix()))


@check(lambda info: info.family == "rebased")
def check_rebase(subject: Subject) -> Iterator[Measure]:
    """A rebase keeps W and zeroes the coordinates, and many rebases do not drift."""
    for where, p in subject.cases(2, 5):
        assert isinstance(p, Rebased)
        with torch.no_grad():
            p.theta.add_(0.3 * normal(*p.theta.shape, dtype=p.theta.dtype))
        before = p.matrix()
        for _ in range(int(p.rebase_every or 1)):
            p.step_()
        yield Measure(distance(p.matrix(), before), rounding(p.n, p.dtype), f"{where}: keeps W")
        never = p.rebase_every is None
        moved = bool(p.theta.any())
        yield holds(moved == (never and p.theta.numel() > 0), f"{where}: coordinates are zero")
        for seed in range(300):
            with torch.no_grad():
                p.theta.copy_(0.05 * normal(*p.theta.shape, dtype=p.theta.dtype, seed=seed))
            p.step_()
        yield Measure(defect(p), p.info.tolerance(p.n, p.dtype), f"{where}: 300 rebases")


@check(lambda info: info.family == "projected")
def check_stale_weight(subject: Subject) -> Iterator[Measure]:
    """A weight changed without step_() is refused with the remedy, also after a copy."""
    for where, p in subject.cases(2, 5):
        assert isinstance(p, Projected)
        with torch.no_grad():
            p.weight.mul_(1.1)
        yield refuses(where, NotProjectedError, "attach", p.matrix)
        yield refuses(f"{where}: deepcopy", NotProjectedError, "step_", copy.deepcopy(p).matrix)
        p.step_()
        yield Measure(
            distance(p.matrix(), p._project(p.matrix())),
            rounding(p.n, p.dtype),
            f"{where}: projected",
        )
