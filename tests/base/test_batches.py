"""One batch of schemes against each scheme by itself."""

import warnings

import pytest
import torch
from torch.func import functional_call

from tests.base.common import CASES, moved
from unitary_zoo import MissedStepWarning, Parametrization, attach
from unitary_zoo.base import DenseMap, NotProjectedError, batches, matrices
from unitary_zoo.schemes.expm import Expm

BATCHED = ("cayley", "dtriv", "expm", "householder", "lie_exp")
F32, F64 = torch.float32, torch.float64


def several(name, n, field="real", dtype=F64, **options):
    schemes = [moved(name, n, field, dtype, seed=i, **options) for i in range(3)]
    with torch.no_grad():
        for p in parameters(schemes):  # rebased schemes have taken in what they were moved by
            p.add_(0.1 * torch.randn_like(p))
    assert batches._kind(schemes[0]) == batches._kind(schemes[2])  # else nothing is compared
    return schemes


def each(schemes):
    return torch.stack([scheme.prepare().matrix() for scheme in schemes])


def parameters(schemes):
    return [p for s in schemes for p in s.learnable_parameters()]


def assert_near(found, wanted, limit):
    for x, y in zip(found, wanted, strict=True):
        x, y = x.detach(), y.detach()
        if y.numel():
            assert float((x - y).abs().max()) <= limit * max(1.0, float(y.abs().max()))


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 33])
@pytest.mark.parametrize(("name", "field"), [case for case in CASES if case[0] in BATCHED])
def test_matrices_equals_each_scheme(name, field, n, dtype):
    schemes = several(name, n, field, dtype)
    found, wanted = matrices(schemes), each(schemes)
    # Products and solves of both sum at most 2n terms in another order, about 20 times in a row.
    limit = 40 * (n + 1) * torch.finfo(dtype).eps
    assert_near(found, wanted, limit)
    g = torch.randn(found.shape, dtype=F64).to(found.dtype)
    leaves = parameters(schemes)
    assert_near(
        torch.autograd.grad(found, leaves, g, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(wanted, leaves, g, allow_unused=True, materialize_grads=True),
        limit * n,  # a coordinate has n^2 entries of G in its sum
    )


@pytest.mark.parametrize("name", BATCHED)
def test_matrices_equals_each_scheme_in_second_derivatives_and_under_torch_func(name):
    schemes = several(name, 3)
    g = torch.randn(3, 3, 3, dtype=F64)
    leaves = parameters(schemes)

    def second(read):
        first = torch.autograd.grad(read(schemes), leaves, g, create_graph=True)
        return torch.autograd.grad(sum(x.pow(2).sum() for x in first), leaves)

    model = torch.nn.ModuleList(schemes)
    state = {key: p.detach() for key, p in model.named_parameters() if p.requires_grad}

    def under_func(read):
        class Reading(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self):
                return read(list(self.model))

        def loss(values):
            values = {f"model.{key}": x for key, x in values.items()}
            return (functional_call(Reading(), values) * g).sum()

        return torch.func.grad(loss)(state).values()

    for derivatives in (second, under_func):
        # Gradients are of the order of n |g| = 10, with the rounding of some 100 operations.
        assert_near(derivatives(matrices), derivatives(each), 1e3 * torch.finfo(F64).eps)


def test_matrices_reads_one_after_the_other_what_makes_no_batch():
    class Shifted(Expm):
        shift = 0.0

        def _prepare(self):
            return DenseMap(super()._prepare().matrix() + self.shift)

    own = [Shifted(3, dtype=F64) for _ in range(2)]
    Shifted.shift = 1.0
    assert torch.equal(matrices(own), each(own))
    differing = [Parametrization.create("dtriv", 3, map=m, dtype=F64) for m in ("expm", "cayley")]
    differing += [Parametrization.create("expm", 3, dtype=F64)]
    for scheme in differing[:2]:
        torch.nn.init.normal_(scheme.theta)
    assert torch.equal(matrices(differing), each(differing))


@pytest.mark.parametrize("bad", [float("nan"), 2.0])
def test_matrices_keeps_a_changed_base_to_its_scheme(bad):
    schemes = several("lie_exp", 4)
    with torch.no_grad():
        schemes[1].base.mul_(bad)
    found, wanted = matrices(schemes), each(schemes)
    assert torch.equal(found.isnan(), wanted.isnan())
    # the rounding of products of orthogonal matrices of size 4
    assert_near(found.nan_to_num(), wanted.nan_to_num(), 40 * torch.finfo(F64).eps)


def test_matrices_warns_of_a_missed_step():
    schemes = several("lie_exp", 3)
    model = torch.nn.ModuleList(schemes)
    attach(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with torch.no_grad():
        schemes[2].theta.add_(0.1)
    with pytest.warns(MissedStepWarning):
        matrices(schemes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrices(schemes)


def test_matrices_refuses_an_unprojected_weight():
    schemes = [moved("svd_projection", 3, "real") for _ in range(2)]
    with torch.no_grad():
        schemes[1].weight.mul_(2)
    with pytest.raises(NotProjectedError, match="off the group"):
        matrices(schemes)
