"""projunn_d and projunn_t against dense polar factors and exponentials of scipy."""

import copy

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.oracles import C128, F64, SIZES, as_numpy
from tests.torch_internals import TorchDispatchMode
from unitary_zoo import NotProjectedError, Parametrization, attach, linalg

NAMES = ["projunn_d", "projunn_t"]
EPS = np.finfo(float).eps
both = pytest.mark.parametrize("name", NAMES)
fields = pytest.mark.parametrize("field", ["real", "complex"])


def build(name, n, field="real", seed=0, dtype=F64, **options):
    torch.manual_seed(seed)
    return Parametrization.create(name, n, field=field, dtype=dtype, **options)


def gaussian(*shape, field, seed=1):
    dtype = C128 if field == "complex" else F64
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def dense(name, w, x):
    """The update by the paper's formula in the whole space."""
    if name == "projunn_d":
        return scipy.linalg.polar(w + x)[0]
    tangent = (x - w @ x.conj().T @ w) / 2
    return w @ scipy.linalg.expm(w.conj().T @ tangent)


@torch.no_grad()
def move(p, x):
    p.weight.add_(linalg.view_as_real_parts(x).to(p.weight.dtype))
    p.step_()


@both
@fields
@pytest.mark.parametrize("sampler", ["lsi", "column"])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rank", [1, 3])
def test_step_of_low_rank_is_taken_whole(name, field, sampler, n, rank):
    p = build(name, n, field, rank=rank, sampler=sampler)
    k = min(rank, n)
    for seed, scale in enumerate((1e-6, 0.3, 1.0)):
        x = scale * gaussian(n, k, field=field, seed=seed) @ gaussian(k, n, field=field, seed=9)
        x = x / n
        wanted = dense(name, as_numpy(p.matrix()), x.numpy())
        move(p, x)
        # A few products and a basis; the polar factor is conditioned like 1 / sigma_min(W + X),
        # below 100 here.
        assert np.abs(as_numpy(p.matrix()) - wanted).max() < 1e-12


@both
@fields
@pytest.mark.parametrize("sampler", ["lsi", "column"])
def test_step_of_less_than_the_rank_is_taken_whole(name, field, sampler):
    p = build(name, 7, field, rank=3, sampler=sampler)
    w = as_numpy(p.matrix())
    x = torch.zeros(7, 7, dtype=p.dtype)
    move(p, x)
    assert np.abs(as_numpy(p.matrix()) - w).max() < 10 * EPS
    x[:, 4] = gaussian(7, field=field)  # one column, of rank one
    w = as_numpy(p.matrix())
    move(p, x)
    assert np.abs(as_numpy(p.matrix()) - dense(name, w, x.numpy())).max() < 1e-13


@both
@fields
def test_step_is_taken_whole_from_rank_n_on(name, field):
    for n in (1, 2, 5):
        p = build(name, n, field, rank=5)
        w, x = as_numpy(p.matrix()), 0.3 * gaussian(n, n, field=field)
        move(p, x)
        assert np.abs(as_numpy(p.matrix()) - dense(name, w, x.numpy())).max() < 1e-13
        assert p.info.retraction_order == (2 if name == "projunn_d" else float("inf"))


@both
@fields
@pytest.mark.parametrize("sampler", ["lsi", "column"])
def test_step_of_high_rank_is_that_of_its_sketch(name, field, sampler):
    n, rank = 17, 2
    p = build(name, n, field, rank=rank, sampler=sampler)
    w, x = as_numpy(p.matrix()), 0.1 * gaussian(n, n, field=field)
    a, b = linalg.low_rank_factors(x, rank, sampler, torch.Generator().manual_seed(1))
    sketch = (a @ b.mH).numpy()
    move(p, x)
    assert np.abs(as_numpy(p.matrix()) - dense(name, w, sketch)).max() < 1e-13
    # The sketch is X on a subspace of its rows or columns.
    assert np.linalg.matrix_rank(sketch) == rank
    q = scipy.linalg.orth(sketch if sampler == "column" else sketch.conj().T)
    inside = q @ q.conj().T @ x.numpy() if sampler == "column" else x.numpy() @ q @ q.conj().T
    np.testing.assert_allclose(sketch, inside, rtol=0, atol=1e-13)


@both
@fields
@pytest.mark.parametrize("optimizer", ["SGD", "RMSprop", "momentum"])
def test_step_of_an_optimizer_is_the_update_of_the_paper(name, field, optimizer):
    # The gradient of Re <W, u v^H> is u v^H, of rank one, and so is its entrywise sign if real.
    n, rate = 7, 0.05
    if optimizer == "RMSprop" and field == "complex":
        pytest.skip("the real and imaginary parts are scaled apart, so the rank is higher")
    p = build(name, n, field)
    g = gaussian(n, 1, field=field) @ gaussian(1, n, field=field, seed=2)
    make = {
        "SGD": lambda q: torch.optim.SGD(q, lr=rate),
        "momentum": lambda q: torch.optim.SGD(q, lr=rate, momentum=0.5),
        "RMSprop": lambda q: torch.optim.RMSprop(q, lr=rate, alpha=0.9, eps=0.0),
    }[optimizer]
    opt = make(p.parameters())
    attach(p, opt)
    w, mean, speed = as_numpy(p.matrix()), 0.0, 0.0
    for _ in range(12):
        opt.zero_grad()
        (p.matrix() * g.conj()).real.sum().backward()
        opt.step()
        x = g.numpy()
        if optimizer == "RMSprop":
            mean = 0.9 * mean + 0.1 * x**2
            x = x / np.sqrt(mean)
        speed = 0.5 * speed + x if optimizer == "momentum" else x
        w = dense(name, w, -rate * speed)
        assert np.abs(as_numpy(p.matrix()) - w).max() < 1e-12


@both
@fields
def test_matrix_inside_a_step_is_that_of_the_whole_step(name, field):
    p = build(name, 5, field)
    w, x = as_numpy(p.matrix()), 0.3 * gaussian(5, 5, field=field)
    p.begin_step_()
    with torch.no_grad():
        p.weight.add_(linalg.view_as_real_parts(x))
    assert np.abs(as_numpy(p.matrix()) - dense(name, w, x.numpy())).max() < 1e-13
    p.step_()


# --------------------------------------------------------------------------------- determinants


@pytest.mark.parametrize("rank", [1, 2, 9])
@pytest.mark.parametrize("determinant", [1, -1])
def test_projunn_d_step_keeps_the_determinant_option(rank, determinant):
    n, crossed = 7, 0
    p = build("projunn_d", n, determinant=determinant, rank=rank)
    free = build("projunn_d", n, rank=rank)
    for seed in range(12):
        r = min(rank, n)
        x = gaussian(n, r, field="real", seed=seed) @ gaussian(r, n, field="real", seed=seed + 50)
        w = as_numpy(p.matrix())
        free.assign_(p.matrix())
        u, _, vh = np.linalg.svd(w + x.numpy())
        signs = np.ones(n)
        signs[-1] = np.sign(np.linalg.det(u @ vh)) * determinant
        crossed += signs[-1] < 0
        move(free, x)
        assert np.abs(as_numpy(free.matrix()) - u @ vh).max() < 1e-11
        move(p, x)
        assert np.abs(as_numpy(p.matrix()) - (u * signs) @ vh).max() < 1e-11
    assert crossed > 1


@pytest.mark.parametrize("determinant", [1, -1])
def test_projunn_t_step_keeps_the_component(determinant):
    p = build("projunn_t", 6, determinant=determinant, rank=2)
    for seed in range(10):
        move(p, 10 * gaussian(6, 6, field="real", seed=seed))
        assert np.linalg.det(as_numpy(p.matrix())) == pytest.approx(determinant, abs=1e-12)


def test_projunn_d_step_to_a_singular_sum_is_orthogonal():
    p = build("projunn_d", 5)
    p.assign_(torch.eye(5, dtype=F64))
    x = torch.zeros(5, 5, dtype=F64)
    x[0, 0] = -1.0
    move(p, x)
    assert linalg.unitarity_defect(p.matrix()) < 1e-14
    np.testing.assert_allclose(np.abs(as_numpy(p.matrix())), np.eye(5), atol=1e-14)


# ------------------------------------------------------------------------- rounding and the cost


@both
@fields
@pytest.mark.parametrize(("n", "rank", "steps"), [(5, 1, 400), (33, 1, 600), (128, 2, 50)])
def test_tolerance_holds_after_many_steps(name, field, n, rank, steps):
    p = build(name, n, field, dtype=torch.float32, rank=rank)
    limit, worst = p.info.tolerance(n, torch.float32), 0.0
    for seed in range(steps):
        x = gaussian(n, rank, field=field, seed=seed) @ gaussian(rank, n, field=field, seed=7)
        move(p, (0.5 if seed % 3 else 20.0) * x / n)
        worst = max(worst, float(linalg.unitarity_defect(p.matrix())))
    assert worst <= limit


class Multiplications(TorchDispatchMode):
    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("mm", "bmm", "addmm"):
            self.total += out.numel() * args[-2].shape[-1]
        return out


@both
@pytest.mark.parametrize("sampler", ["lsi", "column"])
def test_step_costs_k_n_squared(name, sampler):
    counts = []
    for n in (64, 256):
        p = build(name, n, dtype=torch.float32, rank=2, sampler=sampler)
        with torch.no_grad():
            p.weight.add_(1e-3 * torch.randn(n, n))
        with Multiplications() as work:
            p.step_()
        counts.append(work.total)
    assert 0 < counts[1] <= 16 * counts[0]
    assert counts[1] <= 10 * 2 * 256**2


# --------------------------------------------------------------------------- draws and checkpoints


@both
def test_draws_leave_the_global_generator_and_resume(name):
    def step(p, seed):
        move(p, 0.1 * gaussian(9, 9, field="real", seed=seed))

    p = build(name, 9)
    before = torch.random.get_rng_state()
    for seed in range(3):
        step(p, seed)
    assert torch.equal(before, torch.random.get_rng_state())
    resumed = build(name, 9, seed=5)
    resumed.load_state_dict(copy.deepcopy(p.state_dict()))
    torch.manual_seed(77)
    for seed in range(3, 6):
        step(p, seed)
        step(resumed, seed)
    assert torch.equal(p.matrix(), resumed.matrix())
    assert int(resumed.steps) == 6
    p.reset_parameters()
    assert int(p.steps) == 0


@both
def test_draws_differ_from_step_to_step(name):
    p = build(name, 9)
    w, x = p.matrix().detach(), 0.1 * gaussian(9, 9, field="real")
    found = []
    for _ in range(2):
        with torch.no_grad():
            p.base.copy_(w)
            p.weight.copy_(w + x)
        p.step_()
        found.append(as_numpy(p.matrix()))
    assert np.abs(found[0] - found[1]).max() > 1e-3


@both
@fields
@pytest.mark.parametrize(("old", "new"), [(torch.float32, F64), (F64, torch.float32)])
def test_load_state_dict_of_another_precision_is_unitary(name, field, old, new):
    source, p = build(name, 9, field, dtype=old), build(name, 9, field, seed=1, dtype=new)
    p.load_state_dict(source.state_dict())
    assert linalg.unitarity_defect(p.matrix()) <= p.info.tolerance(9, new)
    assert np.abs(as_numpy(p.matrix()) - as_numpy(source.matrix())).max() < 1e-6
    p.load_state_dict({"weight": build(name, 9, field, seed=2, dtype=new).weight}, strict=False)
    assert linalg.unitarity_defect(p.matrix()) <= p.info.tolerance(9, new)


@both
def test_load_state_dict_refuses_a_base_that_is_not_unitary(name):
    p, state = build(name, 4), build(name, 4).state_dict()
    state = {key: 1.01 * value if key != "steps" else value for key, value in state.items()}
    with pytest.raises(RuntimeError, match=r"base has unitarity defect 0\.02.*assign_"):
        p.load_state_dict(state)


@both
def test_guard_refuses_a_changed_weight_even_if_orthogonal(name):
    p = build(name, 4)
    with torch.no_grad():
        p.weight.neg_()
    with pytest.raises(NotProjectedError, match="attach"):
        p.matrix()


@both
@fields
def test_step_in_half_precision_starts_from_the_full_base(name, field):
    p = build(name, 8, field, dtype=torch.float32).to(torch.bfloat16)
    assert p.base.dtype == torch.float32
    w = as_numpy(p.matrix().to(p.dtype))
    for seed in range(20):
        move(p, 0.05 * gaussian(8, 8, field=field, seed=seed))
        start = linalg.from_real_parts(p.base, field)
        assert linalg.unitarity_defect(start) <= p.info.tolerance(8, torch.float32)
    assert np.abs(as_numpy(p.matrix()) - w).max() > 0.1


@both
@pytest.mark.parametrize(
    ("options", "kind"),
    [({"rank": 0}, ValueError), ({"rank": 1.5}, TypeError), ({"rank": True}, TypeError),
     ({"sampler": "svd"}, ValueError)],
)  # fmt: skip
def test_options_out_of_range_are_refused(name, options, kind):
    ((key, value),) = options.items()
    with pytest.raises(kind, match=f"{name}: {key}={value!r}"):
        Parametrization.create(name, 4, **options)
