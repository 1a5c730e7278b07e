"""torch_orthogonal against torch's own parametrization and its formula."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torch.nn.utils.parametrizations import orthogonal

from tests.oracles import F64, SIZES, normal
from unitary_zoo import Parametrization, linalg

OPTIONS = [
    {"orthogonal_map": kind, "use_trivialization": base, "field": field}
    for kind in ("matrix_exp", "cayley", "householder")
    for base in (True, False)
    for field in ("real", "complex")
    if (kind, field) != ("householder", "complex")
]


def build(n, dtype=F64, **options):
    return Parametrization.create("torch_orthogonal", n, dtype=dtype, **options)


def host(w, orthogonal_map, use_trivialization):
    """A layer of torch's own at the matrix ``w``."""
    layer = nn.Linear(len(w), len(w), bias=False, dtype=w.dtype)
    with torch.no_grad():
        layer.weight.copy_(w)
    return orthogonal(
        layer, "weight", orthogonal_map=orthogonal_map, use_trivialization=use_trivialization
    )


def moved(p, seed):
    """New values of ``original``, the integer diagonal of "householder" left alone."""
    x = p.original.detach() + 0.7 * normal(*p.original.shape, seed=seed, dtype=p.original.dtype)
    if p.orthogonal_map == "householder":
        x.diagonal().copy_(p.original.detach().diagonal())
    return x


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_matrix_and_gradient_equal_torch(n, options, dtype):
    p = build(n, dtype, **options)
    field = options["field"]
    layer = host(p.matrix().detach(), options["orthogonal_map"], options["use_trivialization"])
    x = moved(p, seed=n)
    with torch.no_grad():
        p.original.copy_(x)
        layer.parametrizations.weight.original.copy_(linalg.from_real_parts(x, field))
    wanted = layer.weight
    # The base that torch keeps was read back from ours, so it may differ by a rounding.
    limit = 20 * n**0.5 * linalg.eps(dtype)
    torch.testing.assert_close(p.matrix(), wanted, rtol=0, atol=limit)
    weight = normal(n, n, seed=5, dtype=dtype)
    (ours,) = torch.autograd.grad((p.matrix() * weight).real.sum(), p.original)
    (theirs,) = torch.autograd.grad(
        (wanted * weight).real.sum(), layer.parametrizations.weight.original
    )
    limit *= max(1.0, float(theirs.abs().max()))
    torch.testing.assert_close(
        ours, linalg.view_as_real_parts(theirs.resolve_conj()), rtol=0, atol=10 * limit
    )


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("field", ["real", "complex"])
def test_matrix_equals_the_formula(n, field):
    p = build(n, field=field)
    p.reset_parameters("haar", generator=torch.Generator().manual_seed(1))
    base = p.matrix().detach().numpy()
    with torch.no_grad():
        p.original.copy_(normal(*p.original.shape, seed=n))
    x = np.tril(linalg.from_real_parts(p.original.detach(), field).numpy())
    wanted = base @ scipy.linalg.expm(x - x.conj().T)
    # torch.matrix_exp stops its series early: see the tolerance.
    np.testing.assert_allclose(p.matrix().detach().numpy(), wanted, rtol=0, atol=2e-11)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_assign_is_exact_for_matrices_of_the_group(n, options):
    p = build(n, **options)
    rng = np.random.default_rng(n)
    g = rng.standard_normal((n, n))
    if options["field"] == "complex":
        g = g + 1j * rng.standard_normal((n, n))
    w = torch.as_tensor(np.linalg.qr(g)[0])
    if p.info.determinant.sign == 1 and torch.linalg.det(w) < 0:
        w[:, 0].neg_()
    # matrix_exp's own error comes on top of the limit that assign_ states, but for A = 0.
    limit = 2e-11 if not options["use_trivialization"] else 100 * n * linalg.eps(F64)
    assert p.assign_(w, nearest=True) <= limit


def test_determinant_is_that_of_the_base():
    for sign in (1.0, -1.0):
        p = build(4)
        w = torch.eye(4, dtype=F64)
        w[0, 0] = sign
        p.assign_(w)
        with torch.no_grad():
            p.original.add_(normal(4, 4, seed=1))
        assert torch.linalg.det(p.matrix()).item() == pytest.approx(sign, abs=1e-9)


def test_claims_follow_the_options():
    assert build(3).info.reach == "O(n)"
    assert build(3, use_trivialization=False).info.reach == "SO(n)"
    assert build(3, field="complex").info.reach == "U(n)"
    householder = build(3, orthogonal_map="householder")
    assert householder.info.fields == ("real",)
    assert "weight_decay" in householder.info.expected_failures
    assert not build(3).info.expected_failures


def test_weight_decay_zeroes_columns_under_householder():
    # What the expected failures say, shown: torch's behaviour, kept.
    p = build(3, orthogonal_map="householder")
    optimizer = torch.optim.AdamW(p.parameters(), lr=1e-2, weight_decay=0.1)
    p.matrix().sum().backward()
    optimizer.step()
    assert not p.matrix().any()


def test_matrix_exp_of_a_single_matrix_is_within_the_truncation():
    # Why the tolerance has a term of its own; that term bounds the worst angle.
    worst = 0.0
    p = build(2, torch.float32)
    for angle in torch.linspace(0.01, 4.0, 400):
        with torch.no_grad():
            p.original[1, 0] = angle
        worst = max(worst, float(linalg.unitarity_defect(p.matrix())))
    assert worst <= p.info.tolerance.truncation[torch.float32]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"orthogonal_map": "qr"}, r"orthogonal_map='qr'.*'householder'"),
        ({"orthogonal_map": "householder", "field": "complex"}, r"'householder'.*'complex'"),
    ],
)
def test_options_unknown_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(3, **options)


def test_state_dict_holds_original_and_base_alone():
    p = build(3)
    assert set(p.state_dict()) == {"original", "base"}
    assert set(build(3, use_trivialization=False).state_dict()) == {"original"}
