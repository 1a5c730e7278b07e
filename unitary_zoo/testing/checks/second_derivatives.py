"""The check of second derivatives: right in every mode, or refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp

from unitary_zoo.base import Parametrization, Projected
from unitary_zoo.testing.checks.registry import FLOAT64, check
from unitary_zoo.testing.subject import Measure, Subject, distance, generic_point, normal

Tensors = dict[str, Tensor]


@check()
def check_second_derivatives(subject: Subject) -> Iterator[Measure]:
    """The product of the Hessian with a vector agrees with central differences, in every mode."""
    for where, p in subject.cases(1, 3, dtypes=FLOAT64):
        generic_point(p)
        if isinstance(p, Projected):
            p.begin_step_()  # until step_, reading projects, differentiably
        learned = ((k, q) for k, q in p.named_parameters() if q.requires_grad and q.numel())
        point = {k: q.detach().clone() for k, q in learned}
        if not point:
            continue
        direction = {k: normal(*q.shape, dtype=q.dtype, seed=9) for k, q in point.items()}
        functional = Functional(p)

        def gradient(point: Tensors, functional: Functional = functional) -> Tensors:
            leaves = {k: q.clone().requires_grad_() for k, q in point.items()}
            found = torch.autograd.grad(functional(leaves), list(leaves.values()))
            return dict(zip(leaves, found, strict=True))

        step = 1e-5
        above, below = (
            gradient({k: q + t * direction[k] for k, q in point.items()}) for t in (step, -step)
        )
        wanted = _flat({k: (above[k] - below[k]) / (2 * step) for k in point})
        # Truncation, step^2 times two derivatives more, and rounding, eps/step, are both near
        # 1e-10 times the size of the derivatives, which grows by order.
        limit = 1e-7 * max(1.0, float(wanted.abs().max()))
        for mode, product in MODES.items():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # torch warns of its own forward mode
                    found = _flat(product(functional, point, direction))
            except (RuntimeError, NotImplementedError):
                continue  # an error is no wrong number
            yield Measure(distance(found, wanted), limit, f"{where}: {mode}")


class Functional:
    """A smooth function of the parameters of a scheme, quadratic in W."""

    def __init__(self, p: Parametrization) -> None:
        self.p = p
        self.weight = normal(p.n, p.n, dtype=p.dtype, seed=3)
        self.rows = torch.eye(p.n, dtype=p.dtype)

    def __call__(self, point: Tensors) -> Tensor:
        wt = functional_call(self.p, point, (self.rows,))  # W^T
        return (wt * self.weight).real.sum() + 0.3 * (wt * wt.roll(1, 0)).real.sum()


def _flat(tensors: Tensors) -> Tensor:
    return torch.cat([x.reshape(-1) for x in tensors.values()])


def _along(gradient: Tensors, direction: Tensors) -> Tensor:
    return torch.stack([(gradient[k] * v).sum() for k, v in direction.items()]).sum()


def _reverse_twice(f: Functional, point: Tensors, direction: Tensors) -> Tensors:
    leaves = {k: q.clone().requires_grad_() for k, q in point.items()}
    first = torch.autograd.grad(f(leaves), list(leaves.values()), create_graph=True)
    along = _along(dict(zip(leaves, first, strict=True)), direction)
    if not along.requires_grad:  # the functional is linear in the parameters, or claims to be
        return {k: torch.zeros_like(q) for k, q in point.items()}
    second = torch.autograd.grad(along, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, second, strict=True))


def _reverse_of_reverse(f: Functional, point: Tensors, direction: Tensors) -> Tensors:
    found: Tensors = grad(lambda x: _along(grad(f)(x), direction))(point)
    return found


def _forward_over_reverse(f: Functional, point: Tensors, direction: Tensors) -> Tensors:
    found: Tensors = jvp(grad(f), (point,), (direction,))[1]
    return found


MODES: dict[str, Callable[[Functional, Tensors, Tensors], Tensors]] = {
    "autograd twice": _reverse_twice,
    "torch.func.grad twice": _reverse_of_reverse,
    "torch.func.jvp of grad": _forward_over_reverse,
}
