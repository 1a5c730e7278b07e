"""UnitaryRNNCell against torch.nn.RNNCell, and against its formula in complex arithmetic."""

import cmath
import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unitary_zoo import Parametrization, UnitaryRNNCell
from unitary_zoo.scan import recurrent_scan
from unitary_zoo.testing.subject import Subject, haar, normal

M, N, B = 3, 5, 4
F64 = torch.float64
EPS = torch.finfo(F64).eps


def bound(steps: int, size: float = 1.0) -> float:
    """Steps of sums of at most N + M + B terms of order `size`, each rounding once; W is unitary.

    The maps are 1-Lipschitz, so the roundings of a step are carried on without growth; gradients
    are sums over steps of as many products.
    """
    return 8 * steps**2 * (N + M + B) * EPS * max(1.0, size)


def assert_near(got: Tensor, wanted: Tensor, steps: int) -> None:
    assert got.shape == wanted.shape
    limit = bound(steps, float(wanted.detach().abs().max()))
    assert float((got - wanted).detach().abs().max()) <= limit


def cell_of(scheme: str = "expm", nonlinearity: str = "tanh", **options) -> UnitaryRNNCell:
    cell = UnitaryRNNCell(M, N, scheme, nonlinearity, dtype=F64, **options)
    with torch.no_grad():
        if cell.bias_parts is not None:  # it starts at zero, and would hide a mistake
            cell.bias_parts.copy_(normal(*cell.bias_parts.shape, dtype=F64, seed=3))
        if cell.threshold is not None:
            cell.threshold.copy_(0.2 * normal(N, dtype=F64, seed=4))
    return cell


def assert_grads_reach_every_parameter(module: nn.Module) -> None:
    for name, q in module.named_parameters():
        assert q.grad is not None, name
        assert torch.isfinite(q.grad).all(), name
        assert float(q.grad.abs().max()) > 0, name


# ---------------------------------------------------------------------------------- the formula


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
def test_equals_torch_cell(nonlinearity, bias):
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
def test_complex_cell_is_its_formula(scheme, options, nonlinearity, bias):
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
def test_gradients_reach_every_parameter(field):
    cell = cell_of("expm", "modrelu", learn_h0=True, field=field)
    h = None
    for x_t in normal(3, B, M, dtype=F64):
        h = cell(x_t, h)
    h.abs().square().sum().backward()
    assert_grads_reach_every_parameter(cell)
    assert not any(q.is_complex() for q in cell.parameters())


def test_gradcheck_of_a_complex_step():
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
def test_unbatched_is_a_batch_of_one(scheme):
    cell = cell_of(scheme, "modrelu")
    x, h = normal(M, dtype=F64), normal(N, dtype=cell.weight_ih.dtype, seed=2)
    for state in (None, h):
        got = cell(x, state)
        assert got.shape == (N,)
        wanted = cell(x.unsqueeze(0), None if state is None else state.unsqueeze(0))
        assert wanted.shape == (1, N)
        assert torch.equal(got, wanted[0])


@pytest.mark.parametrize("scheme", ["expm", "arjovsky"])
def test_without_state_starts_from_zero(scheme):
    cell = cell_of(scheme, "modrelu")
    zero = torch.zeros(B, N, dtype=cell.weight_ih.dtype)
    x = normal(B, M, dtype=F64)
    assert cell.h0 is None
    assert torch.equal(cell(x), cell(x, zero))
    assert torch.equal(cell.initial_state(B), zero)


@pytest.mark.parametrize("scheme", ["expm", "arjovsky"])
def test_learned_initial_state(scheme):
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


def test_scan_is_the_loop_over_steps():
    cell = cell_of("arjovsky", "modrelu", learn_h0=True)
    x = normal(6, B, M, dtype=F64)
    states, h = cell.scan(x), None
    for t in range(6):
        h = cell(x[t], h)
        assert_near(states[t], h, 6)
    assert_near(cell.scan(x, return_sequence=False), h, 6)
    assert_near(cell.scan(x, checkpoint=2), states, 6)
    assert_near(cell.scan(x[3:], states[2]), states[3:], 6)


def test_prepared_map_serves_many_steps():
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
def test_output_size_counts_real_features(field):
    cell = UnitaryRNNCell(M, N, field=field, nonlinearity="modrelu")
    assert cell.output_size == (2 * N if field == "complex" else N)


# ------------------------------------------------------------------------------------ schemes


def test_scheme_by_name_class_or_ready():
    ready = Parametrization.create("cayley", N)
    assert UnitaryRNNCell(M, N, ready).recurrent is ready
    cls = Parametrization.get("cayley")
    for scheme in ("cayley", cls):
        cell = UnitaryRNNCell(M, N, scheme, field="complex")
        assert type(cell.recurrent) is cls
        assert cell.recurrent.field == "complex"
        assert cell.recurrent.n == N


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["cayley", "arjovsky"])
def test_ready_scheme_sets_the_dtype_of_the_cell(name, dtype):
    """No dtype can be given beside a ready scheme, so all parameters follow it."""
    cell = UnitaryRNNCell(M, N, Parametrization.create(name, N, dtype=dtype), learn_h0=True)
    assert {q.dtype for q in cell.parameters()} == {dtype}


def test_ready_scheme_sets_the_device_of_the_cell():
    cell = UnitaryRNNCell(M, N, Parametrization.create("cayley", N, device="meta"), learn_h0=True)
    assert {q.device.type for q in cell.parameters()} == {"meta"}


def test_shared_scheme_gets_both_gradients():
    ready = Parametrization.create("cayley", N, dtype=F64)
    a, b = UnitaryRNNCell(M, N, ready), UnitaryRNNCell(M, N, ready)
    x, h = normal(B, M, dtype=F64), normal(B, N, dtype=F64, seed=2)
    theta = next(ready.parameters())
    one, two = (torch.autograd.grad(cell(x, h).sum(), theta)[0] for cell in (a, b))
    (both,) = torch.autograd.grad(a(x, h).sum() + b(x, h).sum(), theta)
    assert_near(both, one + two, 1)


@pytest.mark.parametrize("name", Parametrization.names())
def test_every_scheme_serves_a_cell(name):
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


# ---------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("field", ["real", "complex"])
def test_attributes_write_through(field):
    cell = cell_of("cayley", "modrelu", field=field, learn_h0=True)
    dtype = torch.complex128 if field == "complex" else F64
    new = {"weight_ih": normal(N, M, dtype=dtype, seed=11), "bias": normal(N, dtype=dtype, seed=12),
           "h0": normal(N, dtype=dtype, seed=13)}  # fmt: skip
    with torch.no_grad():
        for name, value in new.items():
            getattr(cell, name).copy_(value)
    for name, value in new.items():
        assert torch.equal(getattr(cell, name), value), name
        parts = getattr(cell, f"{name}_parts")
        assert torch.equal(parts, torch.view_as_real(value) if value.is_complex() else value), name
    x = normal(B, M, dtype=F64)
    wanted = recurrent_scan(
        x.unsqueeze(0), cell.recurrent.matrix(), new["h0"].expand(B, N), "modrelu",
        weight_ih=new["weight_ih"], bias=new["bias"], threshold=cell.threshold, backend="reference",
    )  # fmt: skip
    assert_near(cell(x), wanted[0], 1)


@pytest.mark.parametrize("field", ["real", "complex"])
def test_start_of_the_input_weights(field):
    """Glorot-uniform over n rows, 2n of them real if complex; bias 0, thresholds below 0.01."""
    m, n = 40, 60
    cell = UnitaryRNNCell(m, n, "cayley", field=field)
    limit = math.sqrt(6 / (m + n * (2 if field == "complex" else 1)))
    parts = cell.weight_ih_parts.detach()
    assert float(parts.abs().max()) <= limit
    # 2400 or 4800 uniform numbers: the mean square has a relative deviation of 0.9 / sqrt(2400).
    assert abs(float(parts.square().mean()) / (limit**2 / 3) - 1) < 5 * 0.9 / math.sqrt(2400)
    assert float(cell.bias_parts.detach().abs().max()) == 0
    assert 0 < float(cell.threshold.detach().abs().max()) <= 0.01
    assert not cell.threshold.is_complex()


@pytest.mark.parametrize("name", Parametrization.names())
def test_reset_is_reproducible_from_a_generator(name):
    cell = UnitaryRNNCell(M, Subject(Parametrization.get(name)).sizes(N)[0], name, learn_h0=True)
    start = {key: value.clone() for key, value in cell.state_dict().items()}
    global_state = torch.random.get_rng_state()
    states = []
    for _ in range(2):
        cell.reset_parameters(torch.Generator().manual_seed(5))
        states.append({key: value.clone() for key, value in cell.state_dict().items()})
    assert torch.equal(global_state, torch.random.get_rng_state())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
    for key in ("weight_ih_parts", "threshold", "h0_parts"):
        assert not torch.equal(start[key], states[0][key]), key
    cell.reset_parameters(torch.Generator().manual_seed(6))
    assert not torch.equal(cell.weight_ih_parts, states[0]["weight_ih_parts"])


def test_parameters_depend_on_the_options():
    def names(**options):
        return {
            name.partition(".")[0]
            for name, _ in UnitaryRNNCell(M, N, "cayley", **options).named_parameters()
        }

    assert names(nonlinearity="tanh") == {"recurrent", "weight_ih_parts", "bias_parts"}
    assert names(nonlinearity="tanh", bias=False) == {"recurrent", "weight_ih_parts"}
    assert names() - names(nonlinearity="tanh") == {"threshold"}
    assert names(learn_h0=True) - names() == {"h0_parts"}
    plain = UnitaryRNNCell(M, N, nonlinearity="tanh", bias=False)
    assert (plain.bias, plain.threshold, plain.h0) == (None, None, None)


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_the_real_dtype_of_all_parameters(dtype, field):
    cell = UnitaryRNNCell(M, N, "cayley", field=field, dtype=dtype, learn_h0=True)
    assert {q.dtype for q in cell.parameters()} == {dtype}
    wanted = dtype.to_complex() if field == "complex" else dtype
    assert cell.weight_ih.dtype == cell.bias.dtype == cell.h0.dtype == wanted
    assert cell(torch.zeros(B, M, dtype=dtype)).dtype == wanted
    assert cell.double()(torch.zeros(B, M, dtype=F64)).real.dtype == F64


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_parameters(dtype, field):
    cell = UnitaryRNNCell(M, N, "cayley", field=field, learn_h0=True).to(dtype)
    h = cell(torch.ones(B, M, dtype=dtype))
    assert h.dtype == (torch.complex64 if field == "complex" else dtype)
    h.abs().square().sum().backward()
    assert_grads_reach_every_parameter(cell)


def test_device_argument():
    cell = UnitaryRNNCell(M, N, "cayley", device="meta", learn_h0=True)
    assert {t.device.type for t in (*cell.parameters(), *cell.buffers())} == {"meta"}
    filled = cell.to_empty(device="cpu")
    filled.reset_parameters(torch.Generator().manual_seed(0))
    other = UnitaryRNNCell(M, N, "cayley", device="cpu", learn_h0=True)
    other.reset_parameters(torch.Generator().manual_seed(0))
    x = torch.ones(B, M)
    assert torch.equal(filled(x), other(x))


@pytest.mark.parametrize("scheme", ["expm", "arjovsky", "svd_projection"])
def test_serialises(scheme):
    cell = UnitaryRNNCell(M, N, scheme, learn_h0=True)
    x = torch.ones(B, M)
    wanted = cell(x)
    buffer = io.BytesIO()
    torch.save(cell, buffer)
    buffer.seek(0)
    other = UnitaryRNNCell(M, N, scheme, learn_h0=True)
    assert not torch.equal(other(x), wanted)
    other.load_state_dict(cell.state_dict())
    copies = (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell)), other,
              torch.load(buffer, weights_only=False))  # fmt: skip
    assert all(torch.equal(twin(x), wanted) for twin in copies)


def test_repr_tells_sizes_and_scheme():
    text = repr(UnitaryRNNCell(M, N, "cayley", "tanh"))
    for part in (f"{M}, {N}", "nonlinearity='tanh'", "Cayley", f"n={N}"):
        assert part in text


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, "3", None])
def test_bad_input_size_is_refused(bad):
    with pytest.raises(ValueError, match=rf"input_size={bad!r}"):
        UnitaryRNNCell(bad, N)


@pytest.mark.parametrize(("bad", "error"), [(0, ValueError), (-2, ValueError), (2.0, TypeError)])
def test_bad_hidden_size_is_refused(bad, error):
    with pytest.raises(error, match=str(bad)):
        UnitaryRNNCell(M, bad)


def test_ready_scheme_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"n=4.*hidden_size=5"):
        UnitaryRNNCell(M, 5, Parametrization.create("cayley", 4))


@pytest.mark.parametrize(
    "options", [{"dtype": F64}, {"device": "cpu"}, {"field": "complex"}, {"special": False}]
)
def test_options_beside_a_ready_scheme_are_refused(options):
    (name,) = options
    with pytest.raises(TypeError, match=f"'{name}'.*ready 'cayley'"):
        UnitaryRNNCell(M, N, Parametrization.create("cayley", N), **options)


@pytest.mark.parametrize("bad", [None, 3, dict, nn.Linear(2, 2)])
def test_scheme_of_another_type_is_refused(bad):
    with pytest.raises(TypeError, match="registered name, a class or a Parametrization"):
        UnitaryRNNCell(M, N, bad)


def test_unknown_scheme_suggests():
    with pytest.raises(LookupError, match="cayley"):
        UnitaryRNNCell(M, N, "caylay")


def test_unknown_option_is_refused():
    with pytest.raises(TypeError, match="tunable"):
        UnitaryRNNCell(M, N, "cayley", tunable=True)


@pytest.mark.parametrize("nonlinearity", ["relu", "leaky_relu", "abs", "tanh", "sigmoid"])
def test_complex_scheme_with_a_real_nonlinearity_is_refused(nonlinearity):
    ready = Parametrization.create("full_capacity", N)
    for scheme in ("full_capacity", ready):
        with pytest.raises(ValueError, match=f"'{nonlinearity}'.*modrelu.*real scheme"):
            UnitaryRNNCell(M, N, scheme, nonlinearity)


@pytest.mark.parametrize("shape", [(), (M + 1,), (B, M + 1), (2, B, M), (B, 0)])
def test_wrong_input_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=rf"x has shape .*pass \(B, {M}\) or \({M},\)"):
        UnitaryRNNCell(M, N)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(N,), (B, N + 1), (B + 1, N), (1, N), (1, B, N)])
def test_wrong_state_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=rf"h.* has shape .*pass \({B}, {N}\)"):
        UnitaryRNNCell(M, N)(torch.zeros(B, M), torch.zeros(shape))


def test_map_of_another_size_is_refused():
    with pytest.raises(ValueError, match="has shape"):
        UnitaryRNNCell(M, N)(
            torch.zeros(B, M), None, Parametrization.create("expm", N + 1).prepare()
        )


def test_cell_takes_a_matrix_as_recurrent():
    """A cell whose W was assigned runs with exactly that W."""
    cell = cell_of("cayley", "identity", bias=False)
    w = haar(N, F64, determinant=1)
    cell.recurrent.assign_(w)
    h = normal(B, N, dtype=F64)
    got = cell(torch.zeros(B, M, dtype=F64), h)
    # assign_ promises 100 n eps, and the product rounds N terms.
    limit = (100 + 1) * N * EPS * float(h.norm())
    assert float((got - h @ w.mT).detach().abs().max()) <= limit
