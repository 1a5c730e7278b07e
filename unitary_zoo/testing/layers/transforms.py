"""Checks of what PyTorch does to layers: compilers, the meta device, ensembles, complex weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from unitary_zoo._torch import reset_compiler
from unitary_zoo.testing.layers.building import batch, build, learn, loss_of, sgd
from unitary_zoo.testing.layers.measures import on_group, same
from unitary_zoo.testing.layers.registry import REAL, layer_check
from unitary_zoo.testing.layers.subject import SQUARE, TALL, LayerSubject, SchemeLayers
from unitary_zoo.testing.subject import Measure


@layer_check(shapes=(SQUARE,), slow=True)
def compiled(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """torch.compile breaks the graph, or computes another output or gradient."""
    module = build(subject, shape)
    loss = loss_of(module)
    loss().backward()
    wanted, grads = loss().detach(), [p.grad for p in module.parameters()]
    module.zero_grad()
    reset_compiler()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own code
        found = torch.compile(loss, fullgraph=True, backend="aot_eager")()
        found.backward()
    yield same(found, wanted, "the loss", 1e-5)
    for p, grad in zip(module.parameters(), grads, strict=True):
        if grad is not None:
            yield same(p.grad, grad, "a gradient", 1e-5)


@layer_check(shapes=(SQUARE,), slow=True)
def exported(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """torch.export fails or computes another output."""
    module = build(subject, shape)
    x = batch(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own code
        program = torch.export.export(module, (x,)).module()
    yield same(program(x), module(x), "the output", 1e-5)


@layer_check(scheme_shapes=(TALL,))
def meta_device(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A layer built on the meta device, filled and loaded, has another weight."""
    trained = build(subject, shape)
    learn(subject, trained, sgd, 3)
    with torch.device("meta"):
        module = build(subject, shape)
    module.to_empty(device="cpu")
    module.load_state_dict(trained.state_dict())
    yield same(module.weight, trained.weight, "the weight loaded")


@layer_check(scheme_shapes=(TALL,))
def ensemble(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """Two layers stacked for torch.func compute something else than each does."""
    pair = [build(subject, shape), build(subject, shape)]
    x = batch(pair[0])
    state = torch.func.stack_module_state(pair)

    def output(parameters: Any, buffers: Any) -> Tensor:
        out: Tensor = torch.func.functional_call(pair[0], (parameters, buffers), (x,))
        return out

    together = torch.vmap(output)(*state)
    yield same(together, torch.stack([module(x) for module in pair]), "the outputs", 1e-5)


def _may_be_complex(subject: LayerSubject) -> bool:
    return not isinstance(subject, SchemeLayers) or "complex" in subject.scheme.info.fields


@layer_check(scheme_shapes=(SQUARE,), fields=REAL, applies=_may_be_complex)
def complex_weight(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A complex weight has W^T W = I, or nothing, instead of W^H W = I."""
    module = build(subject.with_field("complex"), shape)
    yield on_group(subject, module.weight, "at the start")
    learn(subject, module, sgd, 3)
    yield on_group(subject, module.weight, "after 3 steps")
