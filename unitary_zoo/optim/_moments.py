"""The averages that an optimizer keeps, when the coordinates to which they refer change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from unitary_zoo.base import Rebased
from unitary_zoo.base.sharding import whole
from unitary_zoo.errors import AttachError

# Averages of past gradients or steps in the states of optimizers. Second moments stay as they are,
# because they scale each coordinate by itself, which cannot be transported. The mean gradient of
# the centered RMSprop stays too, because its square is subtracted from a second moment.
_FIRST_MOMENTS = ("exp_avg", "momentum_buffer", "prev")

# What optimizers compute the next coordinates from, instead of moving the present ones: the fast
# sequence of schedule-free optimizers, and the sum of FTRL.
_POSITIONS = ("z",)


def check_positions(scheme: Rebased, state: Mapping[str, Any]) -> None:
    """Refuse an optimizer that keeps coordinates of its own, which a rebase makes meaningless."""
    for name in _POSITIONS:
        if isinstance(state.get(name), Tensor) and state[name].shape == scheme.theta.shape:
            raise AttachError(
                f"the optimizer keeps coordinates of {scheme.info.name!r} in its state, {name!r}, "
                "which lose their meaning when the scheme rebases; pass rebase_every=None to the "
                "scheme, take a static one such as expm, or another optimizer"
            )


def transported_moments(
    scheme: Rebased, state: Mapping[str, Any]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the first moments of a scheme, and what they are after a rebase now.

    Args:
        scheme: The scheme; its coordinates are whole tensors.
        state: The optimizer's state of the coordinates.
    """
    for name in _FIRST_MOMENTS:
        moment = state.get(name)
        if isinstance(moment, Tensor) and moment.shape == scheme.theta.shape:
            yield moment, scheme.transport(whole(moment))
