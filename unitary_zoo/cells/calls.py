"""The arguments of a call, as nn.RNN and nn.RNNCell take and refuse them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def input_and_state(
    inputs: Mapping[str, Any], states: Mapping[str, Any]
) -> tuple[Any, Tensor | None]:
    """Return the input and the state of a call, each passed by one of its names or as None.

    Raises:
        TypeError: There is no input, one of the two is passed by two names, or the state is no
            tensor.
    """
    x, h = _one_of(inputs), _one_of(states)
    if x is None:
        raise TypeError(f"{next(iter(inputs))} is missing; pass a tensor")
    if h is not None and not isinstance(h, Tensor):
        raise TypeError(
            f"{next(iter(states))} is a {type(h).__name__}; pass one tensor, since there are no "
            "cell states as those of nn.LSTM"
        )
    return x, h


def read_layer_call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Tensor | None]:
    """Return the sequence and the initial state of a layer's call, as a forward hook sees it."""
    call = {**dict(zip(("input", "hx"), args, strict=False)), **kwargs}
    return input_and_state(
        {name: call.get(name) for name in ("input", "x")},
        {name: call.get(name) for name in ("hx", "h_0")},
    )


def _one_of(arguments: Mapping[str, Any]) -> Any:
    given = [name for name, value in arguments.items() if value is not None]
    if len(given) > 1:
        raise TypeError(f"{' and '.join(given)} are names of one argument; pass one of them")
    return arguments[given[0]] if given else None


def check_state(name: str, h: Tensor | None, shape: Sequence[int]) -> None:
    """Raise ValueError unless the state, if there is one, has the shape."""
    if h is not None and h.shape != torch.Size(shape):
        raise ValueError(f"{name} has shape {tuple(h.shape)}; pass {tuple(shape)}")


def check_dtype(name: str, x: Tensor, dtypes: Collection[torch.dtype]) -> None:
    """Raise ValueError unless ``x`` has one of the dtypes, the first of which is the weights'.

    Autocast lets single and half precision pass, as in torch.
    """
    if x.dtype in dtypes or (x.dtype in _AUTOCAST and _is_autocast(x.device)):
        return
    own, *_ = dtypes
    if x.is_complex():
        remedy = "pass the real features as_real(...), or build the layer with a complex scheme"
        if any(dtype.is_complex for dtype in dtypes):
            remedy = "convert one of them"
    else:
        remedy = f"convert the {name} by .to({own})"
        if x.is_floating_point():
            remedy += f", or the layer by .to({x.dtype})"
    raise ValueError(f"the {name} is {x.dtype}, and the weights are {own}; {remedy}")


_AUTOCAST = (torch.float32, torch.bfloat16, torch.float16)


def _is_autocast(device: torch.device) -> bool:
    kind = device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
