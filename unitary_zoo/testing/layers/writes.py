"""Checks of what is written to a weight from outside: kept, refused or said to be lost."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator

import torch
from torch import nn

from unitary_zoo.testing.checks.registry import holds
from unitary_zoo.testing.layers.building import another_weight, batch, build, learn, sgd
from unitary_zoo.testing.layers.measures import ASSIGNED, same
from unitary_zoo.testing.layers.registry import layer_check
from unitary_zoo.testing.layers.subject import SQUARE, TALL, LayerSubject
from unitary_zoo.testing.subject import Measure, distance


@layer_check(scheme_shapes=(TALL,))
def written_in_place(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A write into the weight, as by torch.nn.init, is neither kept nor refused nor noticed."""
    module = build(subject, shape)
    with warnings.catch_warnings(record=True) as seen, torch.no_grad():
        warnings.simplefilter("always")
        module(batch(module))
        yield holds(not seen, "there is a warning without any write")
        wanted = torch.zeros_like(module.weight)
        try:
            nn.init.zeros_(module.weight)
            module(batch(module))
        except (RuntimeError, ValueError):
            return
        kept = distance(module.weight, wanted) <= ASSIGNED
    yield holds(kept or bool(seen), "the write was lost without a word")


@layer_check(scheme_shapes=(TALL,))
def functional_call(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """functional_call with a plain weight computes something else, or changes the module."""
    module = build(subject, shape)
    learn(subject, module, sgd, 3)
    before = copy.deepcopy(module.state_dict())
    w, x = torch.randn_like(module.weight), batch(module)
    try:
        found = torch.func.functional_call(module, {"weight": w}, (x,))
    except (RuntimeError, ValueError, TypeError, KeyError):
        pass  # it refuses
    else:
        yield same(found, x @ w.mT, "the output", 1e-5)
    for key, value in module.state_dict().items():
        yield holds(torch.equal(value, before[key]), f"{key} is as before")


@layer_check(scheme_shapes=(SQUARE,), may_refuse=True)
def parameter_assigned(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A Parameter that is assigned is not taken as its values are."""
    module = build(subject, shape)
    wanted = another_weight(subject, module)
    module.weight = nn.Parameter(wanted.clone())
    yield same(module.weight, wanted, "the weight assigned", ASSIGNED)
    learn(subject, module, sgd)
    yield holds(distance(module.weight, wanted) > 1e-6, "the weight does not learn afterwards")
