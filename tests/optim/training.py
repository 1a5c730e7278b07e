"""A cost of W, its gradient, and the training of an attached scheme."""

import torch

from tests.oracles import F64, as_numpy
from unitary_zoo import Parametrization

OPTIMIZERS = {
    name: cls
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type)
    and issubclass(cls, torch.optim.Optimizer)
    and name not in ("Optimizer", "SparseAdam")  # sparse gradients only
}


def build(name, n=4, dtype=F64, seed=0, **options):
    torch.manual_seed(seed)
    return Parametrization.create(name, n, dtype=dtype, **options)


def target_for(p, seed=1):
    return torch.randn(p.n, p.n, dtype=p.dtype, generator=torch.Generator().manual_seed(seed))


def cost(w, target):
    """A function of W that is neither linear nor invariant."""
    return (w - target).abs().square().sum() + 0.3 * (w @ w * target).real.sum()


def gradient(w, target):
    """G = dC / d Re W + i dC / d Im W at the matrix ``w``, by autograd on a plain tensor."""
    w = torch.from_numpy(w).requires_grad_()
    cost(w, target).backward()
    return w.grad.numpy()


def tangent(g, w):
    """G W^H - W G^H."""
    return g @ w.conj().T - w @ g.conj().T


def train(p, optimizer, steps, target, scaler=None):
    """W after each of some steps of an attached scheme."""
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cost(p.matrix(), target)
        if scaler is None:
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        found.append(as_numpy(p.matrix()))
    return found
