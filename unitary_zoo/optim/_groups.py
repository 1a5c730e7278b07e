"""Parameter groups: free parameters, and those of schemes."""

from __future__ import annotations

from typing import Any

from torch import nn

from unitary_zoo.optim._stepping import schemes_of


def parameter_groups(
    model: nn.Module, lr: float, unitary_lr: float | None = None, **options: Any
) -> list[dict[str, Any]]:
    """Parameter groups for any ``torch.optim`` optimizer: free parameters, and those of schemes.

    The group of the schemes has no weight decay, which would pull W towards an arbitrary matrix.

    Args:
        model: The model.
        lr: Learning rate of the free parameters.
        unitary_lr: Learning rate of the parameters of schemes; None means ``lr``. Most papers use
            ``lr / 10``.
        options: More options of both groups, such as ``momentum``; a ``weight_decay`` applies to
            the free parameters only.

    Returns:
        One or two groups; an empty one is left out.
    """
    schemes = [scheme for _, scheme in schemes_of(model)]
    constrained = {id(p) for scheme in schemes for p in scheme.parameters()}
    learnable = {id(p): p for scheme in schemes for p in scheme.learnable_parameters()}
    free = [p for p in model.parameters() if id(p) not in constrained]
    unitary = {
        **options,
        "params": list(learnable.values()),
        "lr": lr if unitary_lr is None else unitary_lr,
        "weight_decay": 0.0,
    }
    groups = [{"params": free, "lr": lr, **options}, unitary]
    return [group for group in groups if group["params"]]
