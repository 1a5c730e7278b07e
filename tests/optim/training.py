"""The optimizers of torch, and the training of an attached scheme with a gradient scaler."""

import torch

from tests.oracles import as_numpy
from tests.schemes.descent import cost

OPTIMIZERS = {
    name: cls
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type)
    and issubclass(cls, torch.optim.Optimizer)
    and name not in ("Optimizer", "SparseAdam")  # sparse gradients only
}


def train_scaled(p, optimizer, steps, target, scaler):
    """W after each of some steps of an attached scheme, the cost scaled by ``scaler``."""
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        scaler.scale(cost(p.matrix(), target)).backward()
        scaler.step(optimizer)
        scaler.update()
        found.append(as_numpy(p.matrix()))
    return found
