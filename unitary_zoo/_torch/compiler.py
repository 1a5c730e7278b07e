"""The compiler of torch: its module, and what it has compiled."""

import torch

COMPILER = "torch._dynamo"
"""The name of a module that every optimizer imports, and that is slow to import."""


def reset_compiler() -> None:
    """Forget what ``torch.compile`` compiled; it compiles only a few modules of one class."""
    torch._dynamo.reset()
