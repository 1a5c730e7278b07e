"""Checks of what surrounds a step: averages, numbers that are not finite, autocast, lost hooks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unitary_zoo import linalg, optim
from unitary_zoo.base import Parametrization, Rebased
from unitary_zoo.errors import MissedStepWarning, NotFiniteError, NotProjectedError
from unitary_zoo.testing.checks.registry import FLOAT64, check, holds, refuses
from unitary_zoo.testing.subject import Measure, Subject, defect, distance, haar, normal


def _loss(p: Parametrization, target: Tensor) -> Tensor:
    return (p.matrix() - target).abs().square().sum()


def _learns(p: Parametrization) -> bool:
    return p.info.dimension(p.n) > 0 and any(q.numel() for q in p.learnable_parameters())


@torch.no_grad()
def _move(p: Parametrization, size: float) -> None:
    for q in p.learnable_parameters():
        q.add_(size * normal(*q.shape, dtype=q.dtype, seed=7))


# The average of the parameters and that of W differ by the curvature of the map: by half its second
# derivative, of order 1, times the square of the way that training went. The last W is off by a
# share of the way itself. So on a way of a few per cent the ratio of the two is of that order.
_WAY, _SHARE = 0.05, 0.2


@check()
def check_average(subject: Subject) -> Iterator[Measure]:
    """A moving average by the defaults of AveragedModel is near the polar factor of W's mean."""
    steps, decay = 8, 0.7
    for where, p in subject.cases(5, dtypes=FLOAT64):
        if not _learns(p):
            continue
        target = haar(p.n, p.dtype, determinant=p.initial_determinant)
        learned = list(p.learnable_parameters())
        _loss(p, target).backward()
        slope = float(torch.stack([q.grad.norm() for q in learned if q.grad is not None]).norm())
        opt = torch.optim.SGD(p.parameters(), lr=_WAY / (steps * slope))
        handle = optim.attach(p, opt)
        average: Any = AveragedModel(p, multi_avg_fn=get_ema_multi_avg_fn(decay))
        mean = None
        for _ in range(steps):
            opt.zero_grad()
            _loss(p, target).backward()
            opt.step()
            average.update_parameters(p)
            w = p.matrix().detach()
            mean = w if mean is None else torch.lerp(w, mean, decay)
        handle.remove()
        optim.retract_(average)
        assert mean is not None
        wanted = linalg.polar(mean) if p.info.exact else mean
        found, last = average.module.matrix(), p.matrix()
        share = _SHARE * distance(last, wanted)
        yield Measure(distance(found, wanted), share, f"{where}: against the last W")


@check()
def check_not_finite(subject: Subject) -> Iterator[Measure]:
    """Numbers that are not finite show in W, or their step is refused and undone."""
    for where, p in subject.cases(3, dtypes=(torch.float32,)):
        if not _learns(p):
            continue
        if p.info.family == "static":
            for key, q in p.named_parameters():
                yield holds(_shows_nan(p, q), f"{where}: NaN in {key} shows")
            continue
        yield from _refused_gradient(p, where)
        before = p.matrix().detach()
        for key, q in p.named_parameters():
            if q.requires_grad:
                p.begin_step_()
                with torch.no_grad():
                    q.view(-1)[0] = torch.inf
                yield refuses(f"{where}: infinite {key}", NotFiniteError, key, p.step_)
                yield Measure(distance(p.matrix(), before), 0.0, f"{where}: W after that")
        p.begin_step_()
        with torch.no_grad():  # finite, but their squares are not
            for q in p.learnable_parameters():
                q.copy_(torch.finfo(q.dtype).max * q.sign())
        try:
            p.step_()
        except NotFiniteError:
            yield Measure(distance(p.matrix(), before), 0.0, f"{where}: W after a refusal")
        yield holds(bool(p.matrix().isfinite().all()), f"{where}: W after an overflow is finite")
        if p.info.exact:
            yield Measure(defect(p), p.info.tolerance(p.n, p.dtype), f"{where}: after an overflow")


@torch.no_grad()
def _shows_nan(p: Parametrization, q: Tensor) -> bool:
    kept = q.clone()
    try:
        q.fill_(torch.nan)
        return not bool(p.matrix().isfinite().all())
    except (ValueError, RuntimeError):  # a refusal is as good
        return True
    finally:
        q.copy_(kept)


def _refused_gradient(p: Parametrization, where: str) -> Iterator[Measure]:
    before, target = p.matrix().detach(), normal(p.n, p.n, dtype=p.dtype)
    opt = torch.optim.Adam(p.parameters(), lr=1e-2)
    handle = optim.attach(p, opt)
    for key, q in p.named_parameters():
        if q.requires_grad:
            opt.zero_grad()
            _loss(p, target).backward()
            assert q.grad is not None
            q.grad.view(-1)[-1] = torch.inf
            yield refuses(f"{where}: infinite gradient", NotFiniteError, key, opt.step)
            yield Measure(distance(p.matrix(), before), 0.0, f"{where}: W after that gradient")
    opt.zero_grad()
    _loss(p, target).backward()
    opt.step()
    handle.remove()
    moved = bool(p.matrix().isfinite().all()) and distance(p.matrix(), before) > 0
    yield holds(moved, f"{where}: the next step is taken")


@check()
def check_autocast_steps(subject: Subject) -> Iterator[Measure]:
    """Steps, retractions, assignments and starts inside autocast are those outside."""
    for where, p in subject.cases(4, dtypes=(torch.float32,)):
        twins = [p, copy.deepcopy(p)]
        target = normal(p.n, p.n, dtype=p.dtype)
        optimizers = [torch.optim.SGD(q.parameters(), lr=1e-2) for q in twins]
        handles = [optim.attach(q, opt) for q, opt in zip(twins, optimizers, strict=True)]
        other = subject.build(p.n, p.field, torch.float32, seed=3).matrix().detach()
        generator = torch.Generator()

        def step(i: int, opts: list[torch.optim.SGD] = optimizers) -> None:
            opts[i].step()

        actions: dict[str, Callable[[int], object]] = {
            "five steps": step,
            "retract_": lambda i, qs=twins: qs[i].retract_(),  # type: ignore[misc]
            "assign_": lambda i, qs=twins, w=other: qs[i].assign_(w, nearest=True),  # type: ignore[misc]
            "reset_parameters": lambda i, qs=twins, g=generator: qs[i].reset_parameters(  # type: ignore[misc]
                generator=g.manual_seed(0)
            ),
        }
        for name, action in actions.items():
            for i, q in enumerate(twins):
                for _ in range(5 if name == "five steps" else 1):
                    if name == "five steps":
                        optimizers[i].zero_grad()
                        _loss(q, target).backward()
                    if name == "retract_":
                        _move(q, 0.1)
                    with torch.autocast("cpu", torch.bfloat16, enabled=i == 1):
                        action(i)
            # The same operations on the same numbers.
            yield Measure(distance(*(q.matrix() for q in twins)), 0.0, f"{where}: {name}")
        if isinstance(p, Rebased):
            _move(p, 0.3)
            x = normal(*p.theta.shape, dtype=p.theta.dtype)
            with torch.autocast("cpu", torch.bfloat16):
                inside = p.transport(x)
            yield Measure(distance(inside, p.transport(x)), 0.0, f"{where}: transport")
        for handle in handles:
            handle.remove()


@check(lambda info: info.family != "static")
def check_missed_steps(subject: Subject) -> Iterator[Measure]:
    """A change whose step was missed is noticed at the next reading, and no other change is."""
    for where, p in subject.cases(3, dtypes=FLOAT64):
        never_rebased = isinstance(p, Rebased) and p.rebase_every is None  # a step does nothing
        if not _learns(p) or never_rebased:
            continue
        other = copy.deepcopy(p)
        _move(other, 0.2)
        other.retract_()
        state = other.state_dict()
        p.begin_step_()
        _move(p, 0.1)
        p.step_()
        yield holds(not _noticed(p), f"{where}: silent when never attached")
        opt = torch.optim.SGD(p.parameters(), lr=1e-2)
        handle = optim.attach(p, opt)
        w = p.matrix().detach()
        (w.real.sum() + _loss(p, haar(p.n, p.dtype))).backward()
        opt.step()
        yield holds(not _noticed(p), f"{where}: silent after a step")
        for _ in range(2):
            _move(p, 0.1)
            yield holds(_noticed(p), f"{where}: a missed step is noticed")
            yield holds(not _noticed(copy.deepcopy(p)) or p.info.family == "projected", where)
            p.retract_()
            yield holds(not _noticed(p), f"{where}: silent after retract_")
        p.assign_(w, nearest=True)
        yield holds(not _noticed(p), f"{where}: silent after assign_")
        p.load_state_dict(state)
        yield holds(not _noticed(p), f"{where}: silent after load_state_dict")
        p.reset_parameters()
        yield holds(not _noticed(p), f"{where}: silent after reset_parameters")
        p.to(torch.float32)
        yield holds(not _noticed(p), f"{where}: silent after a conversion")
        other = subject.build(p.n, p.field, torch.float32, seed=5)
        with warnings.catch_warnings():
            warnings.simplefilter("error", MissedStepWarning)
            torch.func.functional_call(p, other.state_dict(), normal(2, p.n, dtype=p.dtype))
        handle.remove()


def _noticed(p: Parametrization) -> bool:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            p.matrix()
        except NotProjectedError:
            return True
    return any(issubclass(warning.category, MissedStepWarning) for warning in seen)
