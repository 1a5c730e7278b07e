"""The family that stores W, and the guard of what it stores."""

import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.base.common import build, dirty
from tests.oracles import as_numpy, defect
from unitary_zoo import NotProjectedError, attach
from unitary_zoo.testing.strategies import dtypes, parametrizations, seeds

UNATTACHED = {
    "SGD": lambda q: torch.optim.SGD(q, lr=1e-2),
    "SGD by foreach": lambda q: torch.optim.SGD(q, lr=1e-2, foreach=True),
    "SGD fused": lambda q: torch.optim.SGD(q, lr=1e-2, fused=True),
    "weight decay alone": lambda q: torch.optim.SGD(q, lr=1e-2, weight_decay=0.1),
    "Adam": lambda q: torch.optim.Adam(q, lr=1e-2),
    "Adam fused": lambda q: torch.optim.Adam(q, lr=1e-2, fused=True),
}


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("optimizer", UNATTACHED)
def test_guard_raises_with_the_remedy_after_an_unattached_step(optimizer, field):
    p = build("svd_projection", 5, field, torch.float32)
    opt = UNATTACHED[optimizer](list(p.parameters()))
    (p.matrix() * (0.0 if "decay" in optimizer else 3.0)).real.sum().backward()
    opt.step()
    h = torch.zeros(5)
    remedy = r"svd_projection.*attach\(model, optimizer\).*step_\(\)"
    for read in (p.matrix, p.prepare, p.describe, lambda: p(h), lambda: p.adjoint(h)):
        with pytest.raises(NotProjectedError, match=remedy):
            read()
    p.step_()
    assert defect(p.matrix()) <= p.info.tolerance(5, p.dtype)


@pytest.mark.parametrize("n", [33, 128])
def test_guard_sees_steps_of_1e_minus_4_in_single_precision(n):
    p = build("svd_projection", n, "real", torch.float32)
    optimizer = torch.optim.Adam(p.parameters(), lr=1e-4)
    (p.matrix() * torch.randn(n, n)).sum().backward()
    optimizer.step()
    with pytest.raises(NotProjectedError):
        p.matrix()


def test_guard_sees_a_change_by_data():
    # Optimizers outside torch write to .data, which no version counter notices.
    p = build("svd_projection", 5, "real", torch.float32)
    p.matrix()
    p.weight.data.mul_(1.5)
    with pytest.raises(NotProjectedError):
        p.matrix()


@given(
    n=st.sampled_from([1, 2, 3, 7, 17, 33]), dtype=dtypes(), seed=seeds(),
    field=st.sampled_from(["real", "complex"]), exponent=st.floats(-8.0, 3.0),
    spread=st.booleans(),
)  # fmt: skip
@settings(max_examples=100)
def test_guard_lets_only_unitary_matrices_pass(n, dtype, seed, field, exponent, spread):
    p = build("svd_projection", n, field, dtype, seed=seed)
    w = as_numpy(p.matrix())
    size = 10**exponent * n * torch.finfo(dtype).eps
    # One singular direction moved, once of a single vector and once of W's own mean direction, in
    # which all entries change alike.
    u = np.ones(n) / math.sqrt(n) if spread else np.eye(n)[0]
    change = torch.from_numpy(size * np.outer(u, u.conj()) @ w)
    with torch.no_grad():
        p.weight.add_(torch.view_as_real(change) if field == "complex" else change)
    try:
        found = p.matrix()
    except NotProjectedError:
        p.step_()
        found = p.matrix()
    # On the edge the evaluation of the defect, here and there, rounds as well.
    rounding = 4 * math.sqrt(n) * 2.3e-16
    assert defect(found) <= p.info.tolerance(n, p.dtype) + rounding


@given(p=parametrizations("svd_projection", 48))
@settings(max_examples=60)
def test_guard_raises_no_false_alarm(p):
    p.matrix()
    copy.deepcopy(p).matrix()
    loaded = build("svd_projection", p.n, p.field, p.weight.dtype)
    loaded.load_state_dict(p.state_dict())
    loaded.matrix()


def test_guard_raises_no_false_alarm_for_large_matrices():
    for dtype in (torch.float32, torch.float64):
        p = build("svd_projection", 256, "real", dtype)
        copy.deepcopy(p).matrix()


def test_guard_accepts_a_good_checkpoint():
    good = build("svd_projection", 5, "real", torch.float32)
    p = dirty()
    p.load_state_dict(good.state_dict())
    assert torch.equal(p.matrix(), good.matrix())


def test_guard_sees_a_changed_weight_after_copies():
    p = dirty()
    fresh = build("svd_projection", 5, "real", torch.float32, seed=1)
    fresh.load_state_dict(p.state_dict())
    buffer = io.BytesIO()
    torch.save(p, buffer)
    buffer.seek(0)
    carried = {
        "pickle": pickle.loads(pickle.dumps(p)),
        "deepcopy": copy.deepcopy(p),
        "checkpoint": fresh,
        "saved module": torch.load(buffer, weights_only=False),
        "another dtype": copy.deepcopy(p).double(),
    }
    for how, q in carried.items():
        with pytest.raises(NotProjectedError):
            pytest.fail(f"read after {how}: {q.matrix()}")


def test_guard_works_after_pickling():
    p = build("svd_projection", 5, "real", torch.float32)
    p.matrix()
    q = pickle.loads(pickle.dumps(p))
    q.matrix()
    with torch.no_grad():
        q.weight.mul_(1.5)
    with pytest.raises(NotProjectedError):
        q.matrix()


def test_matrix_inside_a_step_is_the_projection_with_its_gradient():
    p = dirty(4, torch.float64)
    p.begin_step_()
    u, _, vh = np.linalg.svd(as_numpy(p.weight))
    assert np.abs(as_numpy(p.matrix()) - u @ vh).max() <= 1e-14
    # Scaling W leaves its polar factor alone.
    (grad,) = torch.autograd.grad((p.matrix() * torch.randn(4, 4)).sum(), p.weight)
    assert (grad * p.weight).sum().abs() <= 1e-14
    p.step_()
    with torch.no_grad():
        p.weight.mul_(1.5)
    with pytest.raises(NotProjectedError):
        p.matrix()


def test_matrix_does_not_change_with_the_next_step():
    p = build("svd_projection", 4, "real")
    w = p.matrix().detach()
    kept = w.clone()
    with torch.no_grad():
        p.weight.mul_(1.5)
    assert torch.equal(w, kept)


def test_guard_is_closed_by_remove_after_an_error_in_a_step():
    p = build("svd_projection", 4, "real")
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    handle = attach(p, optimizer)

    def closure():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    handle.remove()
    with torch.no_grad():
        p.weight.mul_(2)
    with pytest.raises(NotProjectedError):
        p.matrix()
