"""Checks of copies and files: pickle, deepcopy, ``state_dict``, plain checkpoints."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from unitary_zoo.testing.checks.registry import holds
from unitary_zoo.testing.layers.building import another_weight, batch, build, learn, plain, sgd
from unitary_zoo.testing.layers.measures import ASSIGNED, on_group, same
from unitary_zoo.testing.layers.registry import layer_check
from unitary_zoo.testing.layers.subject import SQUARE, TALL, LayerSubject
from unitary_zoo.testing.subject import Measure, distance


def _works_like(subject: LayerSubject, replica: Any, module: Any, where: str) -> Iterator[Measure]:
    """A replica has the same weight, and can be trained without a change of the original."""
    yield same(replica.weight, module.weight, where)
    before = module.weight.detach().clone()
    learn(subject, replica, sgd, 3)
    yield on_group(subject, replica.weight, f"{where}, trained")
    yield holds(distance(replica.weight, before) > 1e-4, f"{where} does not learn")
    yield same(module.weight, before, f"{where} was trained, and the original moved", 0.0)


@layer_check(scheme_shapes=(TALL,))
def pickled(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A module cannot be pickled, as processes and schedulers do, or comes back different."""
    module = build(subject, shape)
    return _works_like(subject, pickle.loads(pickle.dumps(module)), module, "the pickled module")


@layer_check(scheme_shapes=(TALL,))
def saved(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """torch.save of a module fails or loads as another one."""
    module, file = build(subject, shape), io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    return _works_like(subject, loaded, module, "the saved module")


@layer_check(scheme_shapes=(TALL,))
def copied(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A deep copy is not equal, or training it changes the original."""
    module = build(subject, shape)
    return _works_like(subject, copy.deepcopy(module), module, "the copy")


@layer_check(scheme_shapes=(TALL,))
def copy_made_plain(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """remove_parametrizations on a deep copy breaks the original."""
    module = build(subject, shape)
    before = module.weight.detach().clone()
    parametrize.remove_parametrizations(copy.deepcopy(module), "weight")
    yield same(module.weight, before, "the original")
    learn(subject, module, sgd)
    yield on_group(subject, module.weight, "the original, trained")


@layer_check(scheme_shapes=(TALL,))
def state_dict(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A state_dict that is saved and loaded gives another weight."""
    module, other, file = build(subject, shape), build(subject, shape), io.BytesIO()
    learn(subject, module, sgd, 3)
    torch.save(module.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    return _works_like(subject, other, module, "the module loaded")


@layer_check(scheme_shapes=(SQUARE,), may_refuse=True)
def plain_checkpoint(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """The checkpoint of a layer without scheme, its weight orthogonal, is not what one gets."""
    module, layer = build(subject, shape), plain(subject, shape)
    layer.weight.data = another_weight(subject, module)
    module.load_state_dict(layer.state_dict())
    yield same(module.weight, layer.weight, "the weight loaded", ASSIGNED)


@layer_check(scheme_shapes=(TALL,))
def plain_export(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """The plain weights that a layer exports compute something else."""
    module, layer = build(subject, shape), plain(subject, shape)
    learn(subject, module, sgd, 3)
    x = batch(module)
    wanted = module(x)
    layer.load_state_dict(subject.export(module))
    yield same(layer(x), wanted, "the output", 1e-5)


@layer_check(scheme_shapes=(TALL,))
def made_plain(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """remove_parametrizations leaves another weight, or no ordinary layer."""
    module = build(subject, shape)
    before = module.weight.detach().clone()
    parametrize.remove_parametrizations(module, "weight")
    yield holds(type(module) is nn.Linear, f"the layer is a {type(module).__name__}")
    yield holds(isinstance(module.weight, nn.Parameter), "the weight is no parameter")
    yield same(module.weight, before, "the weight", 0.0)
