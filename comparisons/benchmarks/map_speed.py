"""Forward and backward time of the maps onto the group, against PyTorch's and geotorch's.

A correctness check comes first: values and gradients in float64, and in float32 the largest error
of an entry at every size that is timed. Then the variants of a case take turns, round by round,
and medians are compared; the float32 error stands beside each time. geotorch's module is timed as
it is used, with the product by its base.

    python -m comparisons.benchmarks map_speed [--sizes 64 512] [--threads 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import geotorch
import torch
from torch import Tensor

from comparisons.benchmarks.timing import Row, medians
from comparisons.cli.console import say, show
from unitary_zoo import linalg

SIZES = (64, 128, 256, 512, 1024)
TINY_SIZES = (8, 9)
CHECKED_SIZES = (3, 100)
LIMIT = 2e-6  # largest error of an entry in float32

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """An argument, maps that all take it to the same W, and a target ratio of times.

    Attributes:
        title: Name of the map, and what characterizes the argument.
        x: The argument, float64.
        maps: Maps by name: ours, then the peer that the target is about, then others.
        target: The ratio of the peer's time to ours that is to be reached.
        part: Projection of a gradient on the matrices that the map is defined for.
        peer_differentiable: Whether the peer has finite and accurate gradients at ``x``.
    """

    title: str
    x: Tensor
    maps: dict[str, Map]
    target: float
    part: Map = torch.clone
    peer_differentiable: bool = True


def plain_cayley(a: Tensor) -> Tensor:
    """(I + A)^-1 (I - A)."""
    one = torch.eye(a.shape[-1], dtype=a.dtype)
    return torch.linalg.solve(one + a, one - a)


def product_of_reflectors(v: Tensor) -> Tensor:
    """PyTorch's product, of columns v that are unit lower trapezoidal, as LAPACK stores them."""
    n, k = v.shape  # columns of zeros make the result n x n
    full = torch.nn.functional.pad(v, (0, n - k))
    return torch.linalg.householder_product(full, 2 / v.square().sum(-2))


def polar_by_svd(x: Tensor) -> Tensor:
    """U V^H of the SVD X = U S V^H, differentiated through it."""
    u, _, vh = torch.linalg.svd(x)
    return u @ vh


def geotorch_so(n: int, triv: str, factor: float) -> Map:
    """The module of geotorch, with the identity as its base, as a map of the skew matrix A."""
    module = geotorch.SO(torch.Size((n, n)), triv=triv)
    module.base = torch.eye(n)
    # The module reads the triangle below the diagonal and makes a skew matrix of it.
    return lambda a: module.to(a.dtype)(factor * a)


def skew_part(x: Tensor) -> Tensor:
    """(X - X^T) / 2."""
    return (x - x.mT) / 2


def skew(n: int, norm: float) -> Tensor:
    """A random skew matrix of this spectral norm."""
    x = torch.randn(n, n, dtype=torch.float64)
    a = x - x.mT
    return a * (norm / torch.linalg.matrix_norm(a, 2))


def cases(n: int) -> Iterator[Case]:
    """Yield all cases of one size."""
    for norm in (0.1, math.pi, 20.0):
        yield Case(
            f"exp, |A| = {norm:.3g}",
            skew(n, norm),
            {
                "ours": linalg.expm_skew,
                "torch.matrix_exp": torch.matrix_exp,
                "geotorch.SO expm": geotorch_so(n, "expm", 1.0),
            },
            6.0,
            part=skew_part,
        )
    for norm in (0.1, 1.0, 10.0):
        yield Case(
            f"Cayley, |A| = {norm:.3g}",
            skew(n, norm),
            {
                "ours": linalg.cayley,
                "torch.linalg.solve": plain_cayley,
                "geotorch.SO cayley": geotorch_so(n, "cayley", -2.0),
            },
            1.0,
            part=skew_part,
        )
    for k in (n, n // 2, n // 8):
        columns = torch.randn(n, k, dtype=torch.float64).tril(-1)
        columns.diagonal().fill_(1.0)
        yield Case(
            f"Householder, k = {k}",
            columns,
            {"ours": linalg.householder, "torch.linalg.householder_product": product_of_reflectors},
            5.0,
            part=lambda v: v.tril(-1),
        )
    for off in (1e-3, 1e-2, 3e-2):
        q, noise = (torch.randn(n, n, dtype=torch.float64) for _ in range(2))
        q = torch.linalg.qr(q).Q
        yield Case(
            f"polar, {off:g} off",
            q + off * noise / torch.linalg.matrix_norm(noise, 2),
            {"ours": linalg.polar, "torch.linalg.svd": polar_by_svd},
            2.0,
            peer_differentiable=False,
        )


def value_and_gradient(function: Map, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """W(x), and the gradient of the inner product with ``weight``, of size one."""
    x = x.clone().requires_grad_()
    w = function(x)
    (gradient,) = torch.autograd.grad((w * weight).sum(), x)
    return w.detach(), gradient


def check_maps() -> None:
    """Raise an AssertionError unless values and gradients in float64 equal those of plain maps."""
    for n in CHECKED_SIZES:
        for case in cases(n):
            ours, peer = list(case.maps.values())[:2]
            if not case.x.numel():  # no column is left in an eighth of very few
                continue
            weight = torch.randn(n, n, dtype=torch.float64) / n
            found, gradient = value_and_gradient(ours, case.x, weight)
            torch.testing.assert_close(found, peer(case.x), rtol=0, atol=1e-11)
            if case.peer_differentiable:
                gradient = case.part(gradient)
                wanted = case.part(value_and_gradient(peer, case.x, weight)[1])
            else:
                direction = torch.randn(case.x.shape, dtype=torch.float64) / n
                step = 1e-5
                ends = [peer(case.x + sign * step * direction) for sign in (1, -1)]
                wanted = ((ends[0] - ends[1]) * weight).sum() / (2 * step)
                gradient = (gradient * direction).sum()
            torch.testing.assert_close(gradient, wanted, rtol=1e-7, atol=1e-9)


def error(function: Map, x: Tensor, wanted: Tensor) -> float:
    """The largest error of an entry of W(x) in float32."""
    return float((function(x.float()).double() - wanted).abs().max())


def training_step(function: Map, x: Tensor, weight: Tensor) -> Callable[[], None]:
    """Forward and backward of the inner product of W with ``weight``."""

    def step() -> None:
        x.grad = None
        function(x).backward(weight)

    return step


def measure(sizes: Sequence[int], rounds: int) -> list[Row]:
    """Times and errors of all cases."""
    rows: list[Row] = []
    for n in sizes:
        for case in cases(n):
            ours, peer = list(case.maps)[:2]
            # The argument as float32 holds it, so that its rounding is no error of the map.
            wanted = case.maps[peer](case.x.float().double())
            errors = {name: error(f, case.x, wanted) for name, f in case.maps.items()}
            assert errors[ours] <= LIMIT, f"{case.title}, n = {n}: off by {errors[ours]:.2g}"
            leaf, weight = case.x.float().requires_grad_(), torch.randn(n, n) / n

            found = medians(
                {name: training_step(f, leaf, weight) for name, f in case.maps.items()}, rounds
            )
            for name, seconds in found.items():
                ratio, target = seconds / found[ours], case.target if name == peer else None
                rows.append(
                    {
                        "map": case.title,
                        "n": n,
                        "variant": name,
                        "ms": seconds * 1e3,
                        "error_1e-6": errors[name] * 1e6,
                        "ratio": ratio,
                        "target": target,
                        "met": None if target is None else ratio >= target,
                    }
                )
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this benchmark."""
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))


def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Check the maps, then time them; a missed target is shown, a wrong value raises."""
    torch.manual_seed(0)
    check_maps()
    say("correctness check passed: values and gradients in float64")
    rows = measure(TINY_SIZES if options.tiny else options.sizes, options.rounds)
    show("forward + backward of W in float32; ratio = time / time of ours", rows)
    targets = [row for row in rows if row["target"] is not None]
    say(f"{sum(row['met'] for row in targets)} of {len(targets)} targets met")
    return {"maps": rows}
