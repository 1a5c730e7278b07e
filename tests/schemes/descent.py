"""A cost of W, its gradient in numpy, the training of a scheme on it, and skew coordinates."""

import math

import numpy as np
import torch

from tests.oracles import as_numpy
from unitary_zoo import Parametrization, attach


def build(name, n=4, dtype=torch.float64, seed=0, **options):
    """The scheme called ``name``, started from this seed."""
    torch.manual_seed(seed)
    return Parametrization.create(name, n, dtype=dtype, **options)


def target_for(p, seed=1):
    """A random matrix of the shape and dtype of W."""
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


def train(p, optimizer, steps, target):
    """W after each of some steps of an attached scheme."""
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        cost(p.matrix(), target).backward()
        optimizer.step()
        found.append(as_numpy(p.matrix()))
    return found


def first_order_decrease(name):
    """The change of the cost by a step of SGD, divided by its rate, and |G W^H - W G^H|.

    Two rates extrapolate the quotient to the rate 0.
    """
    changes = []
    for rate in (1e-4, 2e-4):
        p = build(name, 5)
        target = target_for(p)
        w = as_numpy(p.matrix())
        start = float(cost(torch.from_numpy(w), target))
        optimizer = torch.optim.SGD(p.parameters(), lr=rate)
        attach(p, optimizer)
        (w_next,) = train(p, optimizer, 1, target)
        changes.append((float(cost(torch.from_numpy(w_next), target)) - start) / rate)
    slope = 2 * changes[0] - changes[1]  # the curvature, linear in the rate, taken out
    return slope, np.linalg.norm(tangent(gradient(w, target), w))


def coordinate_basis(n, field):
    """The documented basis of the tangent space, matrices of norm sqrt(2), entry by entry."""
    above = [(i, j) for i in range(n) for j in range(i + 1, n)]
    basis = []
    for i, j in above:
        e = np.zeros((n, n))
        e[i, j], e[j, i] = 1, -1
        basis.append(e)
    if field == "complex":
        for i, j in above:
            e = np.zeros((n, n), complex)
            e[i, j] = e[j, i] = 1j
            basis.append(e)
        for k in range(n):
            e = np.zeros((n, n), complex)
            e[k, k] = 1j * math.sqrt(2)
            basis.append(e)
    return np.stack(basis)


def skew(coordinates, n, field):
    """A with these coordinates in the documented basis."""
    if not len(coordinates):
        return np.zeros((n, n))
    return np.tensordot(coordinates, coordinate_basis(n, field), 1)
