"""UnitaryRNNCell against torch.nn.RNNCell, and against its formula in complex arithmetic."""

import cmath

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.cells.rnn_helpers import (
    EPS,
    F64,
    B,
    M,
    N,
    assert_grads_reach_every_parameter,
    assert_near,
    bound,
    cell_of,
)
from unitary_zoo import Parametrization, UnitaryRNNCell
from unitary_zoo.testing.subject import Subject, haar, normal

# ---------------------------------------------------------------------------------- the formula


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
def test_cell_equals_torch(nonlinearity, bias):
    cell = cell_of(nonlinearity=nonlinearity, bias=bias)
    ref = nn.RNNCell(M, N, bias=bias, nonlinearity=nonlinearity, dtype=F64)
    with torch.no_grad():
        ref.weight_hh.copy_(cell.recurrent.matrix())
        ref.weight_ih.copy_(cell.weight_ih)
        if bias:
            ref.bias_ih.copy_(cell.bias)
            ref.bias_hh.zero_()
    start = normal(6, B, M, dtype=F64), normal(B, N, dtype=F64, seed=2)
    mine, theirs = ([t.clone().requires_grad_() for t in start] for _ in range(2))
    h, wanted = mine[1], theirs[1]
    for x_t, y_t in zip(mine[0], theirs[0], strict=True):
        h, wanted = cell(x_t, h), ref(y_t, wanted)
        assert_near(h, wanted, 6)
    cotangent = normal(B, N, dtype=F64, seed=5)
    (h * cotangent).sum().backward()
    (wanted * cotangent).sum().backward()
    for a, b in zip(mine, theirs, strict=True):
        assert_near(a.grad, b.grad, 6)
    assert_near(cell.weight_ih.grad, ref.weight_ih.grad, 6)
    if bias:
        assert_near(cell.bias.grad, ref.bias_ih.grad, 6)
    # Their gradient in W, led back through W(theta).
    (theta,) = torch.autograd.grad(
        cell.recurrent.matrix(), cell.recurrent.theta, ref.weight_hh.grad
    )
    assert_near(cell.recurrent.theta.grad, theta, 6)


def modrelu(z: complex, b: float) -> complex:
    r, phase = cmath.polar(z)
    return cmath.rect(max(r + b, 0.0), phase)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("nonlinearity", ["modrelu", "identity"])
@pytest.mark.parametrize(
    ("scheme", "options"),
    [("arjovsky", {}), ("expm", {"field": "complex"}), ("eigenphase", {"basis": "dft"})],
)
def test_cell_equals_its_formula_if_complex(scheme, options, nonlinearity, bias):
    cell = cell_of(scheme, nonlinearity, bias=bias, **options)
    # Away from the jump of modReLU at 0, where thresholds are positive.
    if cell.threshold is not None:
        cell.threshold.data.clamp_(max=0.0)
    w = cell.recurrent.matrix().detach().numpy()
    v = cell.weight_ih_parts.detach().numpy() @ np.array([1, 1j])
    b = cell.bias_parts.detach().numpy() @ np.array([1, 1j]) if bias else np.zeros(N)
    threshold = [0.0] * N if cell.threshold is None else cell.threshold.tolist()
    x = normal(6, B, M, dtype=F64)
    h, wanted = None, np.zeros((B, N), dtype=complex)
    for x_t in x:
        h = cell(x_t, h)
        for row in range(B):
            z = w @ wanted[row] + v @ x_t[row].numpy() + b
            wanted[row] = z if nonlinearity == "identity" else list(map(modrelu, z, threshold))
        assert h.dtype == torch.complex128
        assert_near(h, torch.from_numpy(wanted), 6)


@pytest.mark.parametrize("field", ["real", "complex"])
def test_cell_gradients_reach_every_parameter(field):
    cell = cell_of("expm", "modrelu", learn_h0=True, field=field)
    h = None
    for x_t in normal(3, B, M, dtype=F64):
        h = cell(x_t, h)
    h.abs().square().sum().backward()
    assert_grads_reach_every_parameter(cell)
    assert not any(q.is_complex() for q in cell.parameters())


def test_cell_step_passes_gradcheck_if_complex():
    cell = cell_of("expm", "modrelu", field="complex", learn_h0=True)
    names = [name for name, _ in cell.named_parameters()]
    cell.threshold.data.clamp_(max=-1e-2)
    x = normal(2, M, dtype=F64)

    def step(*values: Tensor) -> Tensor:
        parameters = dict(zip(names, values, strict=True))
        return torch.func.functional_call(cell, parameters, (x,))

    z = nn.functional.linear(x + 0j, cell.weight_ih, cell.bias)
    z = z + cell.recurrent(cell.initial_state(2))
    assert float((z.abs() + cell.threshold).detach().abs().min()) > 1e-3  # off the kinks
    values = tuple(q.detach().clone().requires_grad_() for q in cell.parameters())
    assert torch.autograd.gradcheck(step, values)


# --------------------------------------------------------------------------- shapes and states


@pytest.mark.parametrize("scheme", ["expm", "arjovsky"])
def test_cell_unbatched_is_a_batch_of_one(scheme):
    cell = cell_of(scheme, "modrelu")
    x, h = normal(M, dtype=F64), normal(N, dtype=cell.weight_ih.dtype, seed=2)
    for state in (None, h):
        got = cell(x, state)
        assert got.shape == (N,)
        wanted = cell(x.unsqueeze(0), None if state is None else state.unsqueeze(0))
        assert wanted.shape == (1, N)
        assert torch.equal(got, wanted[0])


@pytest.mark.parametrize("scheme", ["expm", "arjovsky"])
def test_cell_without_state_starts_from_zero(scheme):
    cell = cell_of(scheme, "modrelu")
    zero = torch.zeros(B, N, dtype=cell.weight_ih.dtype)
    x = normal(B, M, dtype=F64)
    assert cell.h0 is None
    assert torch.equal(cell(x), cell(x, zero))
    assert torch.equal(cell.initial_state(B), zero)


@pytest.mark.parametrize("scheme", ["expm", "arjovsky"])
def test_cell_starts_from_its_learned_state(scheme):
    cell = cell_of(scheme, "modrelu", learn_h0=True)
    x = normal(B, M, dtype=F64)
    assert cell.h0.shape == (N,)
    assert torch.equal(cell(x), cell(x, cell.h0.expand(B, N)))
    assert not torch.equal(cell(x), cell(x, torch.zeros(B, N, dtype=F64)))
    assert torch.equal(cell(x[0]), cell(x[:1])[0])
    # Arjovsky's start: parts uniform with variance 1/(2n), so a complex one has expected norm 1.
    large = UnitaryRNNCell(1, 4000, "arjovsky", learn_h0=True)
    # 8000 uniform numbers: their mean square has standard deviation 0.01 of its value.
    assert 0.95 < float(large.h0.detach().abs().square().sum()) < 1.05


def test_cell_scan_is_the_loop_over_steps():
    cell = cell_of("arjovsky", "modrelu", learn_h0=True)
    x = normal(6, B, M, dtype=F64)
    states, h = cell.scan(x), None
    for t in range(6):
        h = cell(x[t], h)
        assert_near(states[t], h, 6)
    assert_near(cell.scan(x, return_sequence=False), h, 6)
    assert_near(cell.scan(x, checkpoint=2), states, 6)
    assert_near(cell.scan(x[3:], states[2]), states[3:], 6)


def test_cell_takes_a_prepared_map_for_many_steps():
    cell = cell_of("cayley", "tanh")
    x, w = normal(4, B, M, dtype=F64), cell.recurrent.prepare()
    h = g = None
    for x_t in x:
        h, g = cell(x_t, h, w), cell(x_t, g)
        assert torch.equal(h, g)
    a = torch.autograd.grad(h.square().sum(), list(cell.parameters()))
    b = torch.autograd.grad(g.square().sum(), list(cell.parameters()))
    for mine, theirs in zip(a, b, strict=True):
        # Once through one W, or once through each of four: the same sum in another order.
        assert_near(mine, theirs, 4)


@pytest.mark.parametrize("field", ["real", "complex"])
def test_cell_output_size_counts_real_features(field):
    cell = UnitaryRNNCell(M, N, field=field, nonlinearity="modrelu")
    assert cell.output_size == (2 * N if field == "complex" else N)


# ------------------------------------------------------------------------------------ schemes


def test_cell_takes_a_scheme_by_name_class_or_ready():
    ready = Parametrization.create("cayley", N)
    assert UnitaryRNNCell(M, N, ready).recurrent is ready
    cls = Parametrization.get("cayley")
    for scheme in ("cayley", cls):
        cell = UnitaryRNNCell(M, N, scheme, field="complex")
        assert type(cell.recurrent) is cls
        assert cell.recurrent.field == "complex"
        assert cell.recurrent.n == N


def test_cells_with_a_shared_scheme_add_their_gradients():
    ready = Parametrization.create("cayley", N, dtype=F64)
    a, b = UnitaryRNNCell(M, N, ready), UnitaryRNNCell(M, N, ready)
    x, h = normal(B, M, dtype=F64), normal(B, N, dtype=F64, seed=2)
    theta = next(ready.parameters())
    one, two = (torch.autograd.grad(cell(x, h).sum(), theta)[0] for cell in (a, b))
    (both,) = torch.autograd.grad(a(x, h).sum() + b(x, h).sum(), theta)
    assert_near(both, one + two, 1)


@pytest.mark.parametrize("name", Parametrization.names())
def test_cell_equals_its_formula_with_every_scheme(name):
    n = Subject(Parametrization.get(name)).sizes(N)[0]
    for field in Parametrization.get(name).info.fields:
        cell = UnitaryRNNCell(M, n, name, "modrelu", dtype=F64, field=field)
        x, h = normal(B, M, dtype=F64), normal(B, n, dtype=cell.weight_ih.dtype, seed=2)
        w, v = cell.recurrent.matrix(), cell.weight_ih
        threshold = cell.threshold.data.clamp_(max=0.0)  # away from the jump at z = 0
        z = h @ w.mT + x.to(v.dtype) @ v.mT + cell.bias
        wanted = (z.abs() + threshold).clamp(min=0) * z / z.abs()
        # Up to eight factors are applied instead of one matrix.
        assert float((cell(x, h) - wanted).detach().abs().max()) <= 10 * bound(8)


def test_cell_runs_with_the_assigned_matrix():
    """A cell whose W was assigned runs with exactly that W."""
    cell = cell_of("cayley", "identity", bias=False)
    w = haar(N, F64, determinant=1)
    cell.recurrent.assign_(w)
    h = normal(B, N, dtype=F64)
    got = cell(torch.zeros(B, M, dtype=F64), h)
    # assign_ promises 100 n eps, and the product rounds N terms.
    limit = (100 + 1) * N * EPS * float(h.norm())
    assert float((got - h @ w.mT).detach().abs().max()) <= limit
