"""The optimizers of torch inside an object that wraps one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.optim import Optimizer

from unitary_zoo._torch import runs_step_hooks
from unitary_zoo.errors import AttachError


def hooked_optimizers(given: Any) -> list[Optimizer]:
    """Return the optimizers that run step hooks: ``given``, and those inside it.

    Wrappers such as accelerate's hold the optimizer in an attribute. Those that are optimizers of
    torch themselves run their own hooks around those of the optimizer inside.

    Raises:
        AttachError: ``given`` or a wrapper inside it runs no hooks and holds no optimizer.
        TypeError: ``given`` is no optimizer and wraps none.
    """
    found: list[Optimizer] = [x for x in layers_of(given) if runs_step_hooks(x)]
    if found:
        return found
    kind = type(given).__name__
    if isinstance(given, Optimizer):
        raise AttachError(
            f"{kind} runs no step hooks, because its constructor does not call that of "
            "torch.optim.Optimizer, and no attribute of it holds an optimizer that does; pass the "
            "optimizer that it wraps, often its attribute .optimizer"
        )
    raise TypeError(
        f"{given!r} is not a torch.optim.Optimizer, and no attribute of it holds one; if it wraps "
        "one, pass that, often its attribute .optimizer"
    )


def layers_of(given: Any) -> Iterator[Any]:
    """Yield ``given`` and the objects inside it, as far as they have a method ``step``."""
    seen: set[int] = set()
    stack = [given]
    while stack:
        x = stack.pop()
        if id(x) in seen or not callable(getattr(x, "step", None)):
            continue
        seen.add(id(x))
        yield x
        for value in getattr(x, "__dict__", {}).values():
            stack += value if isinstance(value, list | tuple) else [value]


def exchanges_parameters(given: Any) -> bool:
    """Whether ``train()`` and ``eval()`` exchange the parameters, as in schedule-free training."""
    return any(
        callable(getattr(x, "train", None))
        and callable(getattr(x, "eval", None))
        and (hasattr(x, "train_mode") or any("train_mode" in g for g in _groups(x)))
        for x in layers_of(given)
    )


def _groups(x: Any) -> list[dict[str, Any]]:
    return getattr(x, "param_groups", [])
