"""landing against its formula in numpy; its safe region; what makes it void."""

import numpy as np
import pytest
import scipy.linalg
import torch

from tests.oracles import C128, F64, as_numpy
from unitary_zoo import NotProjectedError, NotRepresentableError, Parametrization, attach, linalg
from unitary_zoo.errors import NotFiniteError

SIZES = [1, 2, 3, 7, 17]
fields = pytest.mark.parametrize("field", ["real", "complex"])


def build(n=4, field="real", seed=0, dtype=F64, **options):
    torch.manual_seed(seed)
    return Parametrization.create("landing", n, field=field, dtype=dtype, **options)


def gaussian(n, field, seed=1):
    dtype = C128 if field == "complex" else F64
    return torch.randn(n, n, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def distance(w):
    """|| W W^H - I ||_F."""
    w = as_numpy(w) if isinstance(w, torch.Tensor) else w
    return np.linalg.norm(w @ w.conj().T - np.eye(len(w)))


def near(n, field, off, seed=3):
    """A matrix at that distance from the group."""
    w, x = as_numpy(build(n, field, seed).matrix()), gaussian(n, field, seed).numpy()
    low, high = 0.0, 1.0 / n
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if distance(w + middle * x) < off else (low, middle)
    return torch.from_numpy(w + low * x)


def field_of(w, g, attraction):
    psi = (g @ w.conj().T - w @ g.conj().T) / 2
    return (psi + attraction * (w @ w.conj().T - np.eye(len(w)))) @ w


def descend(p, optimizer, target):
    optimizer.zero_grad()
    (p.matrix() - target).abs().square().sum().backward()
    optimizer.step()
    return p.matrix()


@fields
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"weight_decay": 0.1}], ids=str)
def test_step_of_sgd_is_the_landing_update(n, field, options):
    rate, attraction = 5e-3, 0.7
    p, target = build(n, field, attraction=attraction), gaussian(n, field) / n
    p.assign_(near(n, field, 0.2))
    optimizer = torch.optim.SGD(p.parameters(), lr=rate, **options)
    attach(p, optimizer)
    w, speed = as_numpy(p.matrix()), 0.0
    for _ in range(6):
        found = as_numpy(descend(p, optimizer, target))
        step = field_of(w, 2 * (w - target.numpy()), attraction)
        step = step + options.get("weight_decay", 0.0) * w
        speed = options.get("momentum", 0.0) * speed + step
        w = w - rate * speed
        assert np.abs(found - w).max() < 1e-13


@fields
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("safe_step", [0.05, 0.5, 0.9])
def test_step_stays_in_the_safe_region(field, dtype, safe_step):
    makers = {
        "SGD": lambda q: torch.optim.SGD(q, lr=1e5),
        "momentum": lambda q: torch.optim.SGD(q, lr=10.0, momentum=0.9, weight_decay=0.5),
        "AdamW": lambda q: torch.optim.AdamW(q, lr=1.0, weight_decay=0.1),
    }
    for n, (name, make) in zip((2, 7, 5), makers.items(), strict=True):
        p = build(n, field, dtype=dtype, safe_step=safe_step)
        target, optimizer = gaussian(n, field).to(p.dtype), make(p.parameters())
        attach(p, optimizer)
        seen = []
        for _ in range(100):
            seen.append(distance(descend(p, optimizer, target)))
        assert max(seen) <= safe_step, name
        assert max(seen) > 0.9 * safe_step, name  # it was tried
        assert len(set(seen)) > 10, name  # and it is not stuck at the edge


@fields
def test_step_is_shortened_to_the_first_exit(field):
    for seed in range(10):
        p = build(4, field, safe_step=0.5)
        p.assign_(near(4, field, 0.3, seed))
        w, x = as_numpy(p.matrix()), gaussian(4, field, seed + 20).numpy()
        with torch.no_grad():
            p.weight.add_(linalg.view_as_real_parts(torch.from_numpy(x)))
        p.step_()
        s = np.vdot(x, as_numpy(p.matrix()) - w).real / np.linalg.norm(x) ** 2
        np.testing.assert_allclose(as_numpy(p.matrix()), w + s * x, rtol=0, atol=1e-13)
        assert 0 < s < 1
        # Ends at 0.999 of the limit, and nowhere on the way was it beyond.
        assert distance(w + s * x) == pytest.approx(0.4995, rel=1e-9)
        assert max(distance(w + t * s * x) for t in np.linspace(0, 1, 200)) < 0.4996


@fields
def test_step_through_the_region_stops_at_the_first_exit(field):
    # Towards -2.5 W: W shrinks out of the region, comes back in near -W and leaves once more.
    p = build(4, field, safe_step=0.5)
    w = as_numpy(p.matrix())
    with torch.no_grad():
        p.weight.mul_(-1.5)
    p.step_()
    # || (s^2 - 1) I ||_F = 2 (1 - s^2) = 0.4995
    np.testing.assert_allclose(as_numpy(p.matrix()), (1 - 0.24975) ** 0.5 * w, rtol=0, atol=1e-12)


def test_step_that_ends_inside_is_taken_whole():
    p = build(5)
    w, x = near(5, "real", 0.1), near(5, "real", 0.4, seed=8)
    p.assign_(w)
    with torch.no_grad():
        p.weight.copy_(x)
    p.step_()
    assert torch.equal(p.matrix(), p.weight)
    np.testing.assert_allclose(as_numpy(p.matrix()), x.numpy(), rtol=0, atol=1e-15)


@fields
@pytest.mark.parametrize("n", SIZES)
def test_training_converges_to_the_solution_of_procrustes(n, field):
    p = build(n, field)
    nearby = 0.2 * gaussian(n, field) / n
    target = torch.from_numpy(as_numpy(p.matrix())) + nearby
    optimizer = torch.optim.SGD(p.parameters(), lr=0.2)
    attach(p, optimizer)
    for _ in range(150):
        optimizer.zero_grad()
        (-(p.matrix() * target.conj()).real.sum()).backward()
        optimizer.step()
    # Linear convergence by a factor of about 0.8 a step.
    assert np.abs(as_numpy(p.matrix()) - scipy.linalg.polar(target.numpy())[0]).max() < 1e-10
    assert distance(p.matrix()) < 1e-10


@fields
def test_training_on_a_constant_converges_to_the_group(field):
    p = build(6, field, attraction=2.0)
    p.assign_(near(6, field, 0.45))
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    attach(p, optimizer)
    seen = [distance(p.matrix())]
    for _ in range(40):
        optimizer.zero_grad()
        (0.0 * p.matrix().abs().sum()).backward()
        optimizer.step()
        seen.append(distance(p.matrix()))
    assert seen == sorted(seen, reverse=True)
    # d(sigma^2) = -2 eta lambda (sigma^2 - 1) sigma^2: a factor of 0.6 near the group.
    assert seen[-1] < 1e-6


def test_weight_decay_moves_the_limit_off_the_group():
    p = build(4)
    optimizer = torch.optim.SGD(p.parameters(), lr=0.2, weight_decay=0.1)
    attach(p, optimizer)
    for _ in range(200):
        optimizer.zero_grad()
        (0.0 * p.matrix().abs().sum()).backward()
        optimizer.step()
    # lambda (sigma^2 - 1) + decay = 0
    s = np.linalg.svd(as_numpy(p.matrix()), compute_uv=False)
    np.testing.assert_allclose(s**2, 0.9, rtol=1e-10)


def test_step_is_a_retraction_of_order_one():
    w, errors = as_numpy(build(5).matrix()), []
    x = gaussian(5, "real").numpy()
    x = (x - x.T) / np.linalg.norm(x)
    for t in (1e-2, 1e-3):
        p = build(5)
        with torch.no_grad():
            p.weight.copy_(torch.from_numpy(w + t * x @ w))
        p.step_()
        errors.append(np.abs(as_numpy(p.matrix()) - scipy.linalg.expm(t * x) @ w).max())
    assert np.log10(errors[0] / errors[1]) == pytest.approx(2, abs=0.05)


def test_step_with_a_gradient_scaler_is_the_same():
    target = gaussian(4, "real")
    plain, scaled = build(), build()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for p in (plain, scaled):
        optimizer = torch.optim.SGD(p.parameters(), lr=0.01)
        attach(p, optimizer)
        for _ in range(4):
            optimizer.zero_grad()
            loss = (p.matrix() - target).square().sum()
            if p is plain:
                loss.backward()
                optimizer.step()
            else:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
    assert torch.equal(plain.matrix(), scaled.matrix())


# ------------------------------------------------------------------------- what would make it void


@pytest.mark.parametrize("optimizer", ["SGD", "LBFGS"])
def test_step_with_a_closure_is_refused_and_undone(optimizer):
    p = build()
    before, target = p.matrix().detach(), gaussian(4, "real")
    opt = getattr(torch.optim, optimizer)(p.parameters(), lr=0.1)
    attach(p, opt)

    def closure():
        opt.zero_grad()
        loss = (p.matrix() - target).square().sum()
        loss.backward()
        return loss

    with pytest.raises(ValueError, match=r"landing: the gradient changed.*before optimizer\.step"):
        opt.step(closure)
    assert torch.equal(p.matrix(), before)


def test_step_after_a_refused_closure_is_the_update():
    p, target = build(), gaussian(4, "real")
    opt = torch.optim.SGD(p.parameters(), lr=0.01)
    attach(p, opt)
    w = as_numpy(p.matrix())

    def closure():
        opt.zero_grad()
        loss = (p.matrix() - target).square().sum()
        loss.backward()
        return loss

    with pytest.raises(ValueError, match="closure"):
        opt.step(closure)
    found = as_numpy(descend(p, opt, target))
    np.testing.assert_allclose(
        found, w - 0.01 * field_of(w, 2 * (w - target.numpy()), 1.0), rtol=0, atol=1e-14
    )


def test_step_of_nesterov_is_refused_by_foreach_and_exact_without():
    target = gaussian(4, "real")
    options = {"lr": 0.01, "momentum": 0.9, "nesterov": True}
    p = build()
    before = p.matrix().detach()
    opt = torch.optim.SGD(p.parameters(), foreach=True, **options)
    attach(p, opt)
    with pytest.raises(ValueError, match="foreach=False"):
        descend(p, opt, target)
    assert torch.equal(p.matrix(), before)
    p = build()
    opt = torch.optim.SGD(p.parameters(), foreach=False, **options)
    attach(p, opt)
    w, speed = as_numpy(p.matrix()), 0.0
    for _ in range(3):
        found = as_numpy(descend(p, opt, target))
        step = field_of(w, 2 * (w - target.numpy()), 1.0)
        speed = 0.9 * speed + step
        w = w - 0.01 * (step + 0.9 * speed)
        assert np.abs(found - w).max() < 1e-13


def test_step_with_a_nan_gradient_is_refused():
    p = build()
    before = p.matrix().detach()
    opt = torch.optim.SGD(p.parameters(), lr=0.01)
    attach(p, opt)
    (p.matrix().sum() * float("nan")).backward()
    with pytest.raises(NotFiniteError, match="gradient of weight"):
        opt.step()
    assert torch.equal(p.matrix(), before)


def test_step_can_be_begun_again_after_an_error():
    p, target = build(), gaussian(4, "real")
    w = as_numpy(p.matrix())
    (p.matrix() - target).square().sum().backward()
    p.begin_step_()
    p.begin_step_()
    opt = torch.optim.SGD(p.parameters(), lr=0.01)
    opt.step()
    p.step_()
    wanted = w - 0.01 * field_of(w, 2 * (w - target.numpy()), 1.0)
    np.testing.assert_allclose(as_numpy(p.matrix()), wanted, rtol=0, atol=1e-14)


def test_step_without_attach_is_refused():
    p, target = build(), gaussian(4, "real")
    before = p.matrix().detach()
    opt = torch.optim.SGD(p.parameters(), lr=1e-3)
    (p.matrix() - target).square().sum().backward()
    opt.step()
    with pytest.raises(NotProjectedError, match="attach"):
        p.matrix()
    with pytest.raises(ValueError, match=r"without begin_step_\(\).*attach"):
        p.step_()
    assert torch.equal(p.matrix(), before)


def test_step_to_nan_is_not_read():
    p = build()
    with torch.no_grad():
        p.weight[0, 0] = float("nan")
    with pytest.raises(NotFiniteError, match="begin_step_"):
        p.step_()
    with pytest.raises(NotProjectedError):
        p.matrix()


@fields
def test_assign_is_exact_in_the_safe_region(field):
    p, w = build(5, field), near(5, field, 0.45)
    assert p.assign_(w) < 1e-15
    np.testing.assert_allclose(as_numpy(p.matrix()), w.numpy(), rtol=0, atol=1e-15)
    far = near(5, field, 0.55)
    with pytest.raises(NotRepresentableError, match="landing cannot"):
        p.assign_(far)
    np.testing.assert_allclose(as_numpy(p.matrix()), w.numpy(), rtol=0, atol=1e-15)
    p.assign_(far, nearest=True)
    assert np.abs(as_numpy(p.matrix()) - scipy.linalg.polar(far.numpy())[0]).max() < 1e-14


def test_load_state_dict_refuses_what_is_outside_the_safe_region():
    p, source = build(5), build(5, seed=4)
    source.assign_(near(5, "real", 0.45))
    p.load_state_dict(source.state_dict())
    assert torch.equal(p.matrix(), source.matrix())
    state = {key: 2 * value for key, value in source.state_dict().items()}
    with pytest.raises(RuntimeError, match="unitarity defect"):
        p.load_state_dict(state)


def test_info_states_the_safe_step():
    p = build(3, safe_step=0.25)
    assert not p.info.exact
    assert "<= 0.25" in p.info.deviation
    assert "<= 0.25" in repr(p.describe())
    assert "<= 0.5" in Parametrization.get("landing").info.deviation


@pytest.mark.parametrize(
    "options",
    [{"attraction": 0.0}, {"attraction": float("nan")}, {"safe_step": 0.0}, {"safe_step": 1.0}],
)
def test_options_out_of_range_are_refused(options):
    ((key, value),) = options.items()
    with pytest.raises(ValueError, match=f"landing: {key}={value!r}"):
        build(**options)


def test_a_move_whose_square_overflows_ends_in_the_safe_region():
    p = build(3)
    p.begin_step_()
    with torch.no_grad():
        p.weight[0, 1] += 1e200
    p._direction = None  # a step without a gradient, of momentum alone
    p.step_()
    w = as_numpy(p.matrix())
    assert np.linalg.norm(w @ w.T - np.eye(3)) <= 0.5
