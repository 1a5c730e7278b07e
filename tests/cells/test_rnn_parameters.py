"""UnitaryRNNCell: its parameters, how they start, their dtype and device, and copies."""

import copy
import io
import math
import pickle

import pytest
import torch

from tests.cells.rnn_helpers import (
    F64,
    B,
    M,
    N,
    assert_grads_reach_every_parameter,
    assert_near,
    cell_of,
)
from unitary_zoo import Parametrization, UnitaryRNNCell
from unitary_zoo.scan import recurrent_scan
from unitary_zoo.testing.subject import Subject, normal


@pytest.mark.parametrize("field", ["real", "complex"])
def test_cell_attributes_write_through(field):
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
def test_cell_starts_with_glorot_uniform_input_weights(field):
    """The bound counts n rows, or 2n if complex; biases are 0, thresholds below 0.01."""
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
def test_cell_reset_is_reproducible_from_a_generator(name):
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


def test_cell_parameters_depend_on_the_options():
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
def test_cell_dtype_is_the_real_dtype_of_all_parameters(dtype, field):
    cell = UnitaryRNNCell(M, N, "cayley", field=field, dtype=dtype, learn_h0=True)
    assert {q.dtype for q in cell.parameters()} == {dtype}
    wanted = dtype.to_complex() if field == "complex" else dtype
    assert cell.weight_ih.dtype == cell.bias.dtype == cell.h0.dtype == wanted
    assert cell(torch.zeros(B, M, dtype=dtype)).dtype == wanted
    assert cell.double()(torch.zeros(B, M, dtype=F64)).real.dtype == F64


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["cayley", "arjovsky"])
def test_cell_has_the_dtype_of_a_ready_scheme(name, dtype):
    """No dtype can be given beside a ready scheme, so all parameters follow it."""
    cell = UnitaryRNNCell(M, N, Parametrization.create(name, N, dtype=dtype), learn_h0=True)
    assert {q.dtype for q in cell.parameters()} == {dtype}


def test_cell_has_the_device_of_a_ready_scheme():
    cell = UnitaryRNNCell(M, N, Parametrization.create("cayley", N, device="meta"), learn_h0=True)
    assert {q.device.type for q in cell.parameters()} == {"meta"}


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_cell_computes_with_half_precision_parameters(dtype, field):
    cell = UnitaryRNNCell(M, N, "cayley", field=field, learn_h0=True).to(dtype)
    h = cell(torch.ones(B, M, dtype=dtype))
    assert h.dtype == (torch.complex64 if field == "complex" else dtype)
    h.abs().square().sum().backward()
    assert_grads_reach_every_parameter(cell)


def test_cell_is_built_on_the_given_device():
    cell = UnitaryRNNCell(M, N, "cayley", device="meta", learn_h0=True)
    assert {t.device.type for t in (*cell.parameters(), *cell.buffers())} == {"meta"}
    filled = cell.to_empty(device="cpu")
    filled.reset_parameters(torch.Generator().manual_seed(0))
    other = UnitaryRNNCell(M, N, "cayley", device="cpu", learn_h0=True)
    other.reset_parameters(torch.Generator().manual_seed(0))
    x = torch.ones(B, M)
    assert torch.equal(filled(x), other(x))


@pytest.mark.parametrize("scheme", ["expm", "arjovsky", "svd_projection"])
def test_cell_serialises(scheme):
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
    assert all(torch.equal(other_cell(x), wanted) for other_cell in copies)


def test_cell_repr_tells_sizes_and_scheme():
    text = repr(UnitaryRNNCell(M, N, "cayley", "tanh"))
    for part in (f"{M}, {N}", "nonlinearity='tanh'", "Cayley", f"n={N}"):
        assert part in text
