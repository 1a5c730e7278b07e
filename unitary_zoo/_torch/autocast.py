"""Turn autocast off."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from unitary_zoo._torch.tracing import is_traced


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which autocast is off on ``device``, if that device has autocast."""
    kind = device.type
    if not torch.amp.is_autocast_available(kind):
        return nullcontext()
    # A context takes as long as a small product. Where it is off there is nothing to do, except
    # that a traced program has to be right inside autocast, too.
    if torch.is_autocast_enabled(kind) or is_traced():
        return torch.autocast(kind, enabled=False)
    return nullcontext()
