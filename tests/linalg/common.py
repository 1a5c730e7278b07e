"""Random matrices and closed forms that the tests of several maps share."""

import math

import numpy as np
import torch

from tests.oracles import C128, F64, as_numpy, haar, normal


def random_skew(n, dtype, norm, seed=0, batch=()):
    """Skew matrices of the given spectral norm, by no function of the library."""
    g = normal(*batch, n, n, dtype=C128 if dtype.is_complex else F64, seed=seed)
    a = g - g.mH
    size = torch.linalg.matrix_norm(a, 2)[..., None, None]
    return (a * (norm / torch.where(size > 0, size, 1.0))).to(dtype)


def random_unitary(n, dtype, seed=0):
    """A Haar distributed matrix, of determinant 1 if real."""
    return haar(n, dtype=dtype, seed=seed, determinant=None if dtype.is_complex else 1)


def with_singular_values(values, dtype):
    """A double-precision matrix with these singular values and random bases."""
    n = len(values)
    u, v = random_unitary(n, dtype, seed=5), random_unitary(n, dtype, seed=6)
    return (u * torch.tensor(values, dtype=F64)) @ v.mH


def plane_rotations(angles, n):
    """A block diagonal matrix of rotations by the angles, then ones."""
    w = np.eye(n)
    for k, t in enumerate(angles):
        c, s = math.cos(t), math.sin(t)
        w[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[c, -s], [s, c]]
    return w


def product_of_reflections(v):
    """H_1 ... H_k, one at a time."""
    v = as_numpy(v)
    w = np.eye(len(v), dtype=v.dtype)
    for x in v.T:
        size = np.linalg.norm(x)
        if size > 0:
            x = x / size
            w -= 2 * np.outer(w @ x, x.conj())
    return w
