"""Explicit recurrences, and their Jacobians by autograd through all steps at once."""

import torch
from torch import Tensor

from unitary_zoo import linalg, nonlinearities
from unitary_zoo.testing.subject import normal

SIZES = [1, 2, 3, 7]


def real(h: Tensor) -> Tensor:
    """Convert complex (n) to real (2n), with real and imaginary parts interleaved."""
    return torch.view_as_real(h).flatten() if h.is_complex() else h


def unreal(h: Tensor, is_complex: bool) -> Tensor:
    return torch.view_as_complex(h.view(-1, 2)) if is_complex else h


def pre_activations(w, inputs, h, name, threshold=None):
    """z_t = W h_{t-1} + inputs_t, h_t = phi(z_t): all z, (T, n)."""
    phi = nonlinearities.get(name).function
    found = []
    for x in inputs:
        found.append(w @ h + x)
        h = phi(found[-1], threshold)
    return torch.stack(found)


def jacobian(w, inputs, h, name, threshold=None) -> Tensor:
    """The real Jacobian of the state after all inputs in the state h before them."""
    phi = nonlinearities.get(name).function

    def last(flat: Tensor) -> Tensor:
        z = pre_activations(w, inputs, unreal(flat, w.is_complex()), name, threshold)[-1]
        return real(phi(z, threshold))

    return torch.autograd.functional.jacobian(last, real(h).clone())


def problem(n, steps, scale, seed, is_complex):
    """A random W, inputs (steps, n) and a state (n)."""
    dtype = torch.complex128 if is_complex else torch.float64
    w = normal(n, n, dtype=dtype, seed=seed) * (scale / n**0.5)
    return w, normal(steps, n, dtype=dtype, seed=seed + 1), normal(n, dtype=dtype, seed=seed + 2)


def rounding(n: int, steps: int, norm: float) -> float:
    """The rounding of the SVD of a product of ``steps`` matrices of 2n rows, of norm ``norm``.

    Each product rounds sums of 2n terms, and the SVD is that of a matrix within O(n) eps.
    """
    return 8 * (steps + 1) * 2 * n * linalg.eps(torch.float64) * norm
