"""What every map of matrices does in batches, large, traced, and under transforms."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx

from tests.linalg.common import product_of_reflections, random_skew, random_unitary
from tests.oracles import C64, C128, DTYPES, F32, F64, as_numpy, gap, normal, rounding
from unitary_zoo import linalg
from unitary_zoo.testing.strategies import batch_shapes, seeds

NAMES = ["expm_skew", "cayley", "householder", "polar", "gram_schmidt", "contract"]
MAPS = [linalg.expm_skew, linalg.cayley, linalg.householder]


@given(
    shape=batch_shapes(), n=st.integers(1, 9), dtype=st.sampled_from(DTYPES),
    scale=st.sampled_from([1e-8, 1e-2, 0.5, 3.0, 1e2]), seed=seeds(),
)  # fmt: skip
@settings(max_examples=40)
def test_map_of_a_batch_equals_that_of_its_members(shape, n, dtype, scale, seed):
    a = scale * random_skew(n, dtype, 1.0, seed=seed, batch=shape)
    for function in (linalg.expm_skew, linalg.cayley):
        together = function(a)
        assert together.shape == a.shape
        assert together.dtype == dtype
        one_by_one = torch.stack([function(x) for x in a.reshape(-1, n, n)]).reshape(a.shape)
        # Both are right within the bound on the error, so they differ by no more than twice that.
        limit = 2 * rounding(n, dtype, 10) * max(1.0, scale)
        assert (together - one_by_one).abs().max() <= limit


# torch's own forward mode compiles its formulas by what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("function", MAPS)
@pytest.mark.parametrize("dtype", [F64, C128])
def test_map_derivatives_in_forward_mode_and_torch_func_equal_differences(dtype, function):
    a, direction = random_skew(5, dtype, 2.0), random_skew(5, dtype, 1.0, seed=1)
    step = 1e-5
    wanted = (function(a + step * direction) - function(a - step * direction)) / (2 * step)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(a, direction)
        forward = torch.autograd.forward_ad.unpack_dual(function(dual)).tangent
    # Central differences: step^2 times a third derivative, and eps / step.
    assert gap(forward, wanted) <= 1e-9
    assert gap(torch.func.jvp(function, (a,), (direction,))[1], wanted) <= 1e-9
    weight = normal(5, 5, dtype=dtype, seed=2)
    grad = torch.func.grad(lambda x: (weight.conj() * function(x)).real.sum())(a)
    found = np.vdot(as_numpy(grad), as_numpy(direction)).real
    assert abs(found - np.vdot(as_numpy(weight), as_numpy(wanted)).real) <= 1e-8


@pytest.mark.parametrize("name", NAMES)
def test_map_is_one_operator_where_traced_and_has_a_shape_on_meta(name):
    function = getattr(linalg, name)
    a = random_skew(5, F64, 2.0) + 0.01 * torch.eye(5, dtype=F64)
    program = make_fx(function)(a)
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert targets == [f"unitary_zoo.{name}.default"]
    assert torch.equal(program(2 * a), function(2 * a))
    assert function(a.to("meta")).shape == (5, 5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [F64, C128])
def test_map_gradient_where_traced_equals_that_of_eager_mode(dtype, name):
    function = getattr(linalg, name)
    a = random_skew(5, dtype, 2.0) + 0.01 * torch.eye(5, dtype=dtype)
    weight = normal(5, 5, dtype=dtype, seed=2)

    def gradient(x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad((weight.conj() * function(x)).real.sum(), x)[0]

    wanted = gradient(a)
    # polar and gram_schmidt divide by what the matrix of norm 2 has at least, some 0.1.
    assert gap(make_fx(gradient)(a)(a), wanted) <= rounding(5, F64, 1000)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [F64, C128])
def test_map_of_a_batch_is_one_operator_where_traced(dtype, name):
    function = getattr(linalg, name)
    a = random_skew(5, dtype, 2.0, batch=(3,)) + 0.01 * torch.eye(5, dtype=dtype)
    weight = normal(5, 5, dtype=dtype, seed=2)

    def value_and_gradient(x, function):
        x = x.detach().requires_grad_()
        value = function(x)
        return value, torch.autograd.grad((weight.conj() * value).real.sum(), x)[0]

    program = make_fx(value_and_gradient)(a, torch.vmap(function))
    targets = [str(node.target) for node in program.graph.nodes]
    for operator in (name, f"{name}_backward"):
        assert targets.count(f"unitary_zoo.{operator}.default") == 1
    values, grads = program(a, None)
    for x, *found in zip(a, values, grads, strict=True):
        for y, wanted in zip(found, value_and_gradient(x, function), strict=True):
            assert gap(y, wanted) <= rounding(5, F64, 1000)  # as for a single matrix, above


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_map_second_derivative_in_forward_mode_twice_is_right_or_refused(name):
    function = getattr(linalg, name)
    x = 0.3 * normal(3, 3)

    def loss(x):
        return (function(x - x.mT + 0.2 * torch.eye(3, dtype=F64)) * normal(3, 3, seed=1)).sum()

    wanted = torch.autograd.functional.hessian(loss, x)
    try:
        found = torch.func.jacfwd(torch.func.jacfwd(loss))(x)
    except RuntimeError:
        return
    assert gap(found, wanted) <= rounding(3, F64, 1000)


@pytest.mark.parametrize("name", NAMES)
def test_map_second_derivative_of_the_operator_is_refused(name):
    # A program has the derivatives that it was traced with; more of them must not be zeros.
    x = (random_skew(3, F64, 2.0) + 0.1 * torch.eye(3, dtype=F64)).requires_grad_()
    value = getattr(torch.ops.unitary_zoo, name)(x)
    (grad,) = torch.autograd.grad(value.pow(3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=f"{name}_backward"):
        grad.sum().backward()


@pytest.mark.parametrize("dtype", [F32, C64])
@pytest.mark.parametrize("name", ["expm_skew", "cayley", "householder", "polar"])
def test_map_of_a_large_matrix_is_right_to_two_millionths(name, dtype):
    n, limit = 512, 2e-6
    if name == "expm_skew":
        a = random_skew(n, dtype, math.pi)
        pairs = [(linalg.expm_skew(a), scipy.linalg.expm(as_numpy(a)))]
    elif name == "cayley":
        arguments = [random_skew(n, dtype, norm) for norm in (1.0, 10.0)]
        one = np.eye(n)
        pairs = [(linalg.cayley(a), 2 * np.linalg.inv(one + as_numpy(a)) - one) for a in arguments]
    elif name == "householder":
        arguments = [normal(n, k, dtype=dtype) for k in (n, 40)]
        pairs = [(linalg.householder(v), product_of_reflections(v)) for v in arguments]
    else:
        # W is the polar factor of W H for every positive definite H, so no SVD is needed. Its
        # entries are about n^(-1/2), and so are their errors.
        w = random_unitary(n, C128 if dtype.is_complex else F64)
        noise = normal(n, n, dtype=w.dtype) / math.sqrt(n)
        pairs = [
            (linalg.polar((w + off * w @ (noise + noise.mH)).to(dtype)), w) for off in (1e-3, 1e-2)
        ]
        limit = 2e-7
    for found, wanted in pairs:
        assert gap(found, wanted) <= limit
