"""The tensors of a model, bit by bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def exact_state(model: nn.Module) -> dict[str, Any]:
    """The state of a model, with the buffers that ``state_dict`` leaves out.

    It shares its tensors with the model.
    """
    state = dict(model.state_dict())
    return {"state": state, "buffers": _other_buffers(model, state)}


def load_exactly_(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Set a model to a state that :func:`exact_state` gave, without any repair.

    ``load_state_dict`` of a scheme returns a weight to the group that seems rounded. A model that
    goes on as if it had never stopped must get the rounding back, too.

    Raises:
        RuntimeError: The model has other tensors.
    """
    model.load_state_dict(state["state"])
    own: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, x in {**state["state"], **state["buffers"]}.items():
            if name in own and isinstance(x, Tensor):
                own[name].copy_(x)


def _other_buffers(model: nn.Module, state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: x.detach() for name, x in model.named_buffers() if name not in state}
