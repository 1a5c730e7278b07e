"""Parameters whose rows are spread over processes (DTensor), whole while a scheme uses them.

``torch.distributed.fsdp.fully_shard`` makes such parameters. They are whole inside the forward pass
of its module, but neither in a step of the optimizer nor in a read outside that pass. Gathering is
a collective operation: every process has to take part, and then computes the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo._torch import is_traced, own_parameters


def is_sharded(x: object) -> bool:
    """Whether ``x`` is a DTensor."""
    # Importing torch.distributed.tensor takes long; before someone has, there is no DTensor.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def whole(x: Tensor) -> Tensor:
    """Return ``x`` with the rows of all processes, differentiable; ``x`` if it is not sharded."""
    full: Any = x
    return full.full_tensor() if is_sharded(x) else x


@torch.no_grad()
def write_whole_(x: Tensor, value: Tensor) -> None:
    """Write ``value``, which has the rows of all processes, into ``x``."""
    x.copy_(_shard(value, x) if is_sharded(x) else value)


def _shard(value: Tensor, like: Any) -> Tensor:
    """Return ``value``, which all processes hold, as a DTensor that is spread as ``like`` is."""
    from torch.distributed.tensor import DTensor, Replicate

    mesh = like.device_mesh
    whole_on_all = [Replicate()] * mesh.ndim
    # Detached, since torch warns of a local tensor that requires a gradient.
    replicated = DTensor.from_local(value.detach(), mesh, whole_on_all, run_check=False)
    return replicated.redistribute(placements=like.placements)


_Place = tuple[dict[str, Any], str, nn.Parameter]
"""Where a parameter is kept, its name there, and itself."""


def _sharded_parameters(module: nn.Module) -> list[_Place]:
    if is_traced() or "torch.distributed.tensor" not in sys.modules:
        return []
    return [
        (own, name, p)
        for owner in module.modules()
        for own in [own_parameters(owner)]
        for name, p in own.items()
        if p is not None and is_sharded(p)
    ]


def shard_again(model: nn.Module) -> None:
    """Shard the parameters that a forward pass without a backward pass has left whole.

    An optimizer moves the sharded ones, and the next forward pass would use the whole ones of
    before.
    """
    # Importing it takes long; before someone has, no module is one.
    fsdp_module = getattr(sys.modules.get("torch.distributed.fsdp"), "FSDPModule", ())
    for module in model.modules():
        if isinstance(module, fsdp_module):
            module.reshard()


def has_sharded_parameters(module: nn.Module) -> bool:
    """Whether a parameter of ``module`` is sharded."""
    return bool(_sharded_parameters(module))


def read_whole(module: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which the parameters of ``module`` are whole.

    They are differentiable in the sharded ones.
    """
    sharded = _sharded_parameters(module)
    return _reading(sharded) if sharded else nullcontext()  # compilers know the latter


@contextmanager
def _reading(sharded: list[_Place]) -> Iterator[None]:
    full = {id(p): whole(p) for _, _, p in sharded}
    for own, name, p in sharded:
        own[name] = full[id(p)]
    try:
        yield
    finally:
        for own, name, p in sharded:
            own[name] = p


@contextmanager
def changed_whole(module: nn.Module) -> Iterator[Callable[[nn.Parameter], nn.Parameter]]:
    """Within the block parameters and gradients are whole; then their rows are written back.

    Yields:
        A function that takes a whole parameter and returns the one for which it stands.
    """
    sharded = _sharded_parameters(module)
    full = {id(p): _whole_parameter(p) for _, _, p in sharded}
    stored = {id(full[id(p)]): p for _, _, p in sharded}
    for own, name, p in sharded:
        own[name] = full[id(p)]
    try:
        yield lambda p: stored.get(id(p), p)
    finally:
        for own, name, p in sharded:
            own[name] = p
        # Also after an error, because a scheme may have put a parameter back before it raised.
        for p in stored.values():
            _write_back(p, full[id(p)])


@torch.no_grad()
def _whole_parameter(p: nn.Parameter) -> nn.Parameter:
    full = nn.Parameter(whole(p), requires_grad=p.requires_grad)
    if p.grad is not None:
        full.grad = whole(p.grad)
    return full


def _write_back(p: nn.Parameter, full: nn.Parameter) -> None:
    write_whole_(p, full)
    if full.grad is None:
        p.grad = None
    elif p.grad is not None:
        write_whole_(p.grad, full.grad)
    else:
        p.grad = _shard(full.grad, p)
