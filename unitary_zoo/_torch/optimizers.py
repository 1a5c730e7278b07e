"""Read, remove and keep the step hooks of an optimizer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer


def runs_step_hooks(optimizer: object) -> bool:
    """Whether ``optimizer`` is one of torch whose ``step`` runs its step hooks.

    The constructor of ``torch.optim.Optimizer`` sees to it; some wrappers do not call it.
    """
    if not isinstance(optimizer, Optimizer) or not hasattr(optimizer, "_optimizer_step_pre_hooks"):
        return False
    return getattr(type(optimizer).step, "hooked", False)


def step_hooks(optimizer: Optimizer) -> list[Callable[..., object]]:
    """The hooks that run before and after a step of ``optimizer``."""
    before, after = optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks
    return [*before.values(), *after.values()]


def remove_step_hooks(optimizer: Optimizer, condition: Callable[[object], bool]) -> None:
    """Take the step hooks for which ``condition`` holds off ``optimizer``."""
    for hooks in (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks):
        for key in [key for key, hook in hooks.items() if condition(hook)]:
            del hooks[key]


def reduced_with_hooks(optimizer: Optimizer, condition: Callable[[object], bool]) -> Any:
    """What ``optimizer.__reduce_ex__(2)`` returns, with the step hooks for which a condition holds.

    torch drops all hooks of an optimizer when it is copied or pickled.
    """
    made = optimizer.__reduce_ex__(2)
    if not (isinstance(made, tuple) and len(made) > 2 and isinstance(made[2], dict)):
        return made  # a class with a state of its own kind
    state = dict(made[2])
    for name in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
        kept = filter(condition, getattr(optimizer, name, {}).values())
        # Keys of another type than torch's, so that no later hook takes the place of one.
        state[name] = OrderedDict((f"kept {i}", hook) for i, hook in enumerate(kept))
    return (*made[:2], state, *made[3:])
