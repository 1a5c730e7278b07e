"""Unitary buffers and weights under change of precision."""

import io

import numpy as np
import pytest
import torch
from torch import nn

from tests.base.common import build, every_case, every_exact_case, moved, same, state
from tests.oracles import as_numpy, defect
from unitary_zoo import Parametrization, UnitaryRNN, orthogonal


@every_exact_case
def test_to_double_is_unitary_in_double_precision(name, field):
    p = moved(name, 7, field, torch.float32)
    w = as_numpy(p.matrix())
    p.double()
    assert p.dtype == (torch.complex128 if field == "complex" else torch.float64)
    assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)
    # The same matrix but for the rounding of single precision.
    assert np.abs(as_numpy(p.matrix()) - w).max() <= p.info.tolerance(p.n, torch.float32)


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
@every_exact_case
def test_to_half_precision_and_back_is_unitary_in_single_precision(name, field, low):
    p = moved(name, 7, field, torch.float32)
    w = as_numpy(p.matrix())
    p.to(low)
    # There are no complex numbers of half precision: complex matrices are single precision.
    assert p.dtype == (torch.complex64 if field == "complex" else low)
    assert p.matrix().dtype == p.dtype
    if field == "complex":
        assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)
    p.float()
    assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)
    # Parameters, of size up to 4, were rounded; W moves by no more than the norm of A does.
    assert np.abs(as_numpy(p.matrix()) - w).max() <= 4 * p.n * torch.finfo(low).eps


@pytest.mark.parametrize("name", ["eigenphase", "lie_exp", "full_capacity"])
def test_load_state_dict_of_half_precision_is_unitary(name):
    p = Parametrization.create(name, 16)
    half = {k: v.bfloat16() if v.is_floating_point() else v for k, v in p.state_dict().items()}
    p.load_state_dict(half)
    assert defect(p.matrix()) <= p.info.tolerance(16, p.dtype)


@every_case
def test_load_state_dict_works_with_weights_only(name, field):
    p, q = moved(name, 4, field), build(name, 4, field, seed=9)
    buffer = io.BytesIO()
    torch.save(p.state_dict(), buffer)
    buffer.seek(0)
    q.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(q.matrix(), p.matrix())


COMPLEX_MODULES = "ignore:Complex modules are a new feature:UserWarning"


@pytest.mark.parametrize(
    ("name", "field", "remedy"),
    [
        ("cayley", "real", "field='complex'"),
        ("nnrnn", "real", r"names\(fields='complex'\)"),
        ("full_capacity", "complex", "torch.float64 for matrices in torch.complex128"),
    ],
)
@pytest.mark.filterwarnings(COMPLEX_MODULES)
def test_complex_parameters_are_refused_with_the_remedy(name, field, remedy):
    p = build(name, 3, field, torch.float32)
    before = state(p)
    for refused in (
        lambda: p.to(torch.complex128),
        lambda: p.type(torch.complex128),
        lambda: Parametrization.create(name, 3, dtype=torch.complex128),
    ):
        with pytest.raises(TypeError, match=f"{name}: .*complex128.*{remedy}"):
            refused()
    for assign in (False, True):
        given = {key: value.to(torch.complex128) for key, value in before.items()}
        with pytest.raises(RuntimeError, match=f"{name}: .*complex128.*{remedy}"):
            p.load_state_dict(given, assign=assign)
    assert same(state(p), before)
    assert p.matrix().dtype == (torch.complex64 if field == "complex" else torch.float32)


@pytest.mark.parametrize("dtype", [torch.float8_e5m2, torch.int64, torch.bool])
def test_parameters_of_other_kinds_are_refused(dtype):
    p = build("lie_exp", 3, "real")
    before = state(p)
    with pytest.raises(TypeError, match=f"lie_exp: dtype={dtype} .* pass torch.float64, float32"):
        p.type(dtype)
    assert same(state(p), before)


@pytest.mark.parametrize("make", [
    lambda: UnitaryRNN(2, 4, num_layers=2, scheme="expm"),
    lambda: orthogonal(nn.GRU(4, 4), "weight_hh_l0", "cayley", blocks=3),
])  # fmt: skip
@pytest.mark.filterwarnings(COMPLEX_MODULES)
def test_a_layer_of_a_real_scheme_is_unchanged_by_a_refusal(make):
    layer = make()
    before = state(layer)
    with pytest.raises(TypeError, match="real scheme never becomes complex"):
        layer.to(torch.complex64)
    assert same(state(layer), before)
    assert {x.dtype for x in layer.state_dict().values()} <= {torch.float32, torch.int64}


@pytest.mark.filterwarnings(COMPLEX_MODULES)
def test_a_complex_weight_changes_its_precision_by_a_complex_dtype():
    layer = orthogonal(nn.Linear(4, 4, dtype=torch.complex64), "weight", "full_capacity")
    w = as_numpy(layer.weight)
    layer.to(torch.complex128)
    assert layer.weight.dtype == layer.bias.dtype == torch.complex128
    assert not any(x.is_complex() for x in layer.parametrizations.parameters())
    # The same matrix but for the rounding of single precision, unitary in double precision.
    assert np.abs(as_numpy(layer.weight) - w).max() <= 4 * 4 * 2**-23
    assert defect(layer.weight) <= 8 * 2 * 2.3e-16


def test_counts_stay_integers_in_every_precision():
    p = build("dtriv", 3, "real", rebase_every=5)
    p.steps.fill_(3)
    p.type(torch.float16)
    assert p.steps.dtype == torch.int64
    given = {key: value.half() for key, value in p.state_dict().items()}
    for assign in (False, True):
        p.load_state_dict(given, assign=assign)
        assert p.steps.dtype == torch.int64
        assert int(p.steps) == 3


@pytest.mark.parametrize("name", ["projunn_d", "projunn_t"])
def test_a_plain_weight_of_lower_precision_is_a_base_in_full_precision(name):
    source = Parametrization.create(name, 8, dtype=torch.float32)
    p = Parametrization.create(name, 8, dtype=torch.float64)
    p.load_state_dict({"weight": source.weight}, strict=False)
    assert defect(p.matrix()) <= p.info.tolerance(8, torch.float64)
    assert np.abs(as_numpy(p.matrix()) - as_numpy(source.matrix())).max() <= 8 * 2**-23


@every_exact_case
def test_load_state_dict_of_single_precision_in_doubles_is_unitary(name, field):
    # The dtypes of the state tell nothing; the numbers do.
    source, p = moved(name, 7, field, torch.float32), build(name, 7, field, seed=1)
    w = as_numpy(source.matrix())
    p.load_state_dict(
        {key: x.double() if x.is_floating_point() else x for key, x in state(source).items()}
    )
    assert defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)
    assert np.abs(as_numpy(p.matrix()) - w).max() <= p.info.tolerance(p.n, torch.float32)


def test_a_changed_weight_is_refused_after_loading():
    p, other = build("svd_projection", 5, "real"), build("svd_projection", 5, "real", seed=1)
    with torch.no_grad():
        p.weight.mul_(1 + 1e-5)
    other.load_state_dict(p.state_dict())
    with pytest.raises(ValueError, match="changed without a projection"):
        other.matrix()


def test_landing_keeps_its_base_in_single_precision():
    p = Parametrization.create("landing", 4).to(torch.bfloat16)
    assert (p.weight.dtype, p.base.dtype) == (torch.bfloat16, torch.float32)
