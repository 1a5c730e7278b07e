"""Options, dtypes and functional use of a parametrization."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from tests.base.common import CASES, build, every_case, moved, same, state
from unitary_zoo import (
    NotRepresentableError,
    Parametrization,
    UnitaryGRU,
    UnitaryRNN,
    orthogonal,
)
from unitary_zoo.base import Group
from unitary_zoo.testing.subject import Subject


@pytest.mark.parametrize(
    ("determinant", "error"),
    [(True, TypeError), ("yes", TypeError), (1.0, TypeError), (0, ValueError), (2, ValueError)],
)
@pytest.mark.parametrize("name", ["lie_exp", "svd_projection", "eigenphase", "expm"])
def test_determinant_option_must_be_a_sign(name, determinant, error):
    with pytest.raises(error, match=f"{name}.*determinant="):
        Parametrization.create(name, 4, field="real", determinant=determinant)


@pytest.mark.parametrize(("special", "new"), [(True, "1"), (False, "-1"), (None, "None")])
def test_special_option_is_refused_with_its_determinant(special, new):
    with pytest.raises(TypeError, match=f"special={special}.*pass determinant={new}$"):
        Parametrization.create("lie_exp", 4, special=special)


def test_determinant_option_is_refused_without_a_choice():
    with pytest.raises(ValueError, match=r"expm.*reaches SO\(n\).*determinant=-1.*lie_exp"):
        Parametrization.create("expm", 5, determinant=-1)
    p = Parametrization.create("expm", 5, determinant=1)  # no choice, but the truth
    assert p.determinant == 1
    assert p.info is type(p).info


@pytest.mark.parametrize("name", ["expm", "lie_exp", "svd_projection", "eigenphase"])
def test_determinant_option_refuses_minus_one_for_complex_schemes(name):
    with pytest.raises(ValueError, match=f"{name} with field='complex'.*determinant=-1"):
        Parametrization.create(name, 4, field="complex", determinant=-1)


@pytest.mark.parametrize("name", ["expm", "lie_exp"])
def test_determinant_option_gives_special_unitary_matrices(name):
    p = Parametrization.create(name, 5, field="complex", determinant=1, dtype=torch.float64)
    assert (p.info.group, p.info.dimension(5)) == (Group.SPECIAL_UNITARY, 24)
    w = p.matrix().detach()
    assert complex(torch.linalg.det(w)) == pytest.approx(1, abs=1e-13)
    turned = w * complex(np.exp(0.3j))
    with pytest.raises(NotRepresentableError):
        p.assign_(turned)
    # |e^{0.3 i} - 1|: the phase is all that SU(n) lacks
    assert p.assign_(turned, nearest=True) == pytest.approx(2 * np.sin(0.15), abs=1e-12)
    torch.testing.assert_close(p.matrix(), w, rtol=0, atol=1e-12)


def test_unknown_options_are_refused():
    for name in Parametrization.names():
        with pytest.raises(TypeError, match=f"{name} got .*no_such_option=1; it takes .*dtype"):
            Parametrization.create(name, 4, no_such_option=1)


@pytest.mark.parametrize(
    "build_it",
    [
        lambda scheme: Parametrization.get(scheme)(4, rebase_evry=3),
        lambda scheme: orthogonal(nn.Linear(4, 4), "weight", scheme, rebase_evry=3),
        lambda scheme: UnitaryRNN(2, 4, scheme=scheme, rebase_evry=3),
        lambda scheme: UnitaryGRU(2, 4, scheme=scheme, rebase_evry=3),
    ],
    ids=["class", "orthogonal", "rnn", "gru"],
)
def test_unknown_options_name_what_the_scheme_takes(build_it):
    message = (
        r"^dtriv got an unexpected option rebase_evry=3; did you mean rebase_every\? it takes "
        "determinant, device, dtype, field, map, rebase_every$"
    )
    with pytest.raises(TypeError, match=message):
        build_it("dtriv")


class OneFieldOnly(type(Parametrization.create("full_capacity", 1))):
    def __init__(self, n, *, strength=1.0, **options):
        super().__init__(n, **options)


class NoMoreOptions(OneFieldOnly):
    def __init__(self, n, strong=True):
        super().__init__(n, strength=2.0, **({} if strong else {"strngth": 1}))


def test_options_of_a_third_party_are_those_of_its_chain():
    # One field, and no determinant to choose; the option of each class of the chain.
    with pytest.raises(TypeError, match=r"takes device, dtype, rebase_every, strength$"):
        OneFieldOnly(3, other=1)
    # A class that passes no other options on hides those of its bases.
    with pytest.raises(TypeError, match=r"strngth=1; did you mean strong\? it takes strong$"):
        NoMoreOptions(3, strong=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_case
def test_dtype_of_parameters_and_matrix(name, field, dtype):
    p = build(name, 3, field, dtype)
    assert all(q.dtype == dtype for q in p.parameters())
    assert p.dtype == p.matrix().dtype == (dtype.to_complex() if field == "complex" else dtype)


def test_dtype_default_is_that_of_torch():
    torch.set_default_dtype(torch.float64)
    try:
        assert Parametrization.create("full_capacity", 3).dtype == torch.complex128
    finally:
        torch.set_default_dtype(torch.float32)


@every_case
def test_functional_call_uses_the_given_state_and_keeps_its_own(name, field):
    p, other = moved(name, 4, field), moved(name, 4, field)
    with torch.no_grad():
        for q in other.parameters():
            q.add_(0.2)
    other.step_()
    before, h = state(p), torch.randn(2, 4, dtype=p.dtype)
    given_state = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    found = functional_call(p, given_state, (h,))
    torch.testing.assert_close(found, other(h))
    assert (found - p(h)).abs().max() > 1e-3
    assert same(state(p), before)


# A projected scheme's W is its parameter; only its projection inside a step has a derivative, and
# that one is not open to the transforms of torch.func, which say so.
@pytest.mark.parametrize(
    ("name", "field"),
    [case for case in CASES if Parametrization.get(case[0]).info.family != "projected"],
)
def test_functional_jacobian_equals_finite_differences(name, field):
    p = moved(name, Subject(Parametrization.get(name)).sizes(3)[0], field)
    h = torch.randn(p.n, dtype=p.dtype)
    learned = ((key, q) for key, q in p.named_parameters() if q.requires_grad)
    parameters = {key: q.detach().clone() for key, q in learned}

    def function(parameters):
        out = functional_call(p, parameters, (h,))
        return torch.cat([out.real, out.imag]) if out.is_complex() else out

    for key, jacobian in jacrev(function)(parameters).items():
        flat = parameters[key].view(-1)
        columns, step = [], 1e-6
        for i in range(flat.numel()):
            start = float(flat[i])
            ends = []
            for sign in (1, -1):
                flat[i] = start + sign * step
                ends.append(function(parameters).detach())
            flat[i] = start
            columns.append((ends[0] - ends[1]) / (2 * step))
        # Truncation step^2 f''' / 6 and rounding eps / step are below 1e-9 for f''' of order 100.
        wanted = torch.stack(columns, -1)
        assert (jacobian.reshape(wanted.shape) - wanted).abs().max() <= 1e-8
