"""Checks of training: no optimizer takes a weight off the group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unitary_zoo import linalg
from unitary_zoo.testing.checks.registry import holds
from unitary_zoo.testing.layers.building import MakeOptimizer, build, learn, plain, sgd
from unitary_zoo.testing.layers.measures import on_group, same
from unitary_zoo.testing.layers.registry import layer_check, schemes_only
from unitary_zoo.testing.layers.subject import SQUARE, TALL, LayerSubject
from unitary_zoo.testing.subject import Measure


class MuonLike(Optimizer):
    """Muon's update with weight decay; matrices are orthogonalised, other tensors normalised.

    ``torch.optim.Muon`` takes matrices only, and the oldest torch that is supported lacks it.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    # The overloads of torch promise a loss for a closure; here nothing passes one.
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.dim() == 2:
                    u, _, vh = torch.linalg.svd(p.grad, full_matrices=False)
                    update = u @ vh
                else:
                    update = p.grad / (p.grad.norm() + 1e-12)
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * update)


@layer_check()
def adamw_step(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """One step of AdamW with its default weight decay zeroes the weight or leaves the group."""
    module = build(subject, shape)
    learn(subject, module, lambda p: AdamW(p))
    yield on_group(subject, module.weight, "after one step")


def _fifty_steps(
    subject: LayerSubject, shape: str, make_optimizer: MakeOptimizer
) -> Iterator[Measure]:
    module = build(subject, shape)
    before = linalg.double(module.weight.detach())
    learn(subject, module, make_optimizer, 50)
    yield on_group(subject, module.weight, "after 50 steps")
    keeps = subject.exact and subject.keeps_determinant
    if shape == SQUARE and subject.field == "real" and keeps:
        after = linalg.double(module.weight.detach())
        signs = [float(torch.linalg.det(w)) for w in (before, after)]
        where = f"the determinant went from {signs[0]:.2g} to {signs[1]:.2g}"
        yield holds(signs[0] * signs[1] > 0, where)


@layer_check(scheme_shapes=(SQUARE, TALL))
def sgd_weight_decay(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """50 steps of SGD with momentum and weight decay leave the group or change the determinant."""
    return _fifty_steps(subject, shape, lambda p: SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1))


@layer_check(scheme_shapes=(SQUARE, TALL))
def muon_weight_decay(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """50 steps like Muon's, with weight decay, leave the group or change the determinant."""
    return _fifty_steps(subject, shape, lambda p: MuonLike(p, lr=0.02, weight_decay=0.1))


@layer_check(scheme_shapes=(TALL,), applies=schemes_only)
def forgotten_hook(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A training loop that forgets what has to follow a step reads a weight off the group."""
    module = build(subject, shape)
    learn(subject, module, lambda p: AdamW(p, lr=0.05), attached=False)
    try:
        weight = module.weight
    except ValueError:
        return
    yield on_group(subject, weight, "after a step")


@layer_check(scheme_shapes=(TALL,))
def frozen(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A weight that was frozen before moves with the bias that is trained."""
    layer = plain(subject, shape, bias=True)
    layer.weight.requires_grad_(False)
    module: Any = subject.make_orthogonal(layer)
    before = module.weight.detach().clone()
    learn(subject, module, lambda p: AdamW(p, lr=0.1, weight_decay=0.1), 3)
    yield holds(not module.weight.requires_grad, "the weight requires a gradient")
    yield same(module.weight, before, "the weight", 0.0)


@layer_check(scheme_shapes=(TALL,))
def moving_average(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A moving average of a model (AveragedModel) reads as a weight off the group."""
    module = build(subject, shape)
    average: Any = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for _ in range(3):
        learn(subject, module, sgd, 3)
        average.update_parameters(module)
    subject.retract(average)
    yield on_group(subject, average.module.weight, "the average")
