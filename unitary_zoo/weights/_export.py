"""plain_state_dict: the weights as they are, without parametrizations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unitary_zoo.weights._module_class import parametrizations_of


def plain_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """The ``state_dict`` of the same architecture without parametrizations.

    Args:
        module: A model with parametrized layers anywhere in it.

    Returns:
        The current value of every parametrized weight under its own name, contiguous, and
        everything else as in ``module.state_dict()``.
    """
    state = dict(module.state_dict())
    for path, layer in module.named_modules():
        prefix = path + "." if path else ""
        for name in parametrizations_of(layer) if parametrize.is_parametrized(layer) else ():
            inner = f"{prefix}parametrizations.{name}."
            state = {key: value for key, value in state.items() if not key.startswith(inner)}
            weight = getattr(layer, name).detach().resolve_conj()
            state[prefix + name] = weight.clone(memory_format=torch.contiguous_format)
    return state
