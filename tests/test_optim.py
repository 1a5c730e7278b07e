"""attach and parameter_groups: torch's optimizers move W as the papers' formulas say."""

import contextlib
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from unitary_zoo import NotProjectedError, Parametrization, UnitaryRNN, attach, parameter_groups
from unitary_zoo.base import SPECIAL_ORTHOGONAL, DenseMap, SchemeInfo, Static, Tolerance
from unitary_zoo.optim import AttachError, AttachHandle

F64, C128 = torch.float64, torch.complex128


def build(name, n=4, dtype=F64, seed=0, **options):
    torch.manual_seed(seed)
    return Parametrization.create(name, n, dtype=dtype, **options)


def target_for(p, seed=1):
    return torch.randn(p.n, p.n, dtype=p.dtype, generator=torch.Generator().manual_seed(seed))


def numpy(w):
    w = w.detach()
    return w.to(C128 if w.is_complex() else F64).numpy()


def defect(w):
    w = numpy(w)
    return np.linalg.norm(w.conj().T @ w - np.eye(len(w)), 2)


def cost(w, target):
    """A function of W that is neither linear nor invariant."""
    return (w - target).abs().square().sum() + 0.3 * (w @ w * target).real.sum()


def gradient(w, target):
    """G = dC / d Re W + i dC / d Im W at the matrix ``w``, by autograd on a plain tensor."""
    w = torch.from_numpy(w).requires_grad_()
    cost(w, target).backward()
    return w.grad.numpy()


def tangent(g, w):
    """G W^H - W G^H."""
    return g @ w.conj().T - w @ g.conj().T


def train(p, optimizer, steps, target, scaler=None):
    """W after each of some steps of an attached scheme."""
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cost(p.matrix(), target)
        if scaler is None:
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        found.append(numpy(p.matrix()))
    return found


# ------------------------------------------------------------------------ the updates of the papers


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_lie_exp_with_sgd_is_the_exponential_update(n, field):
    p, rate = build("lie_exp", n, field=field), 0.02
    target = target_for(p)
    w = numpy(p.matrix())
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    for found in train(p, optimizer, 6, target):
        w = scipy.linalg.expm(-rate * tangent(gradient(w, target), w)) @ w
        # Each step rounds by a few sqrt(n) eps and the steps before it are magnified by the
        # curvature, 1 + rate * 20 at most.
        assert np.abs(found - w).max() <= 100 * math.sqrt(n) * 2.3e-16 * 1.4**6


def coordinate_basis(n, field):
    """The documented basis of the tangent space, matrices of norm sqrt(2), entry by entry."""
    above = [(i, j) for i in range(n) for j in range(i + 1, n)]
    basis = []
    for i, j in above:
        e = np.zeros((n, n))
        e[i, j], e[j, i] = 1, -1
        basis.append(e)
    if field == "complex":
        for i, j in above:
            e = np.zeros((n, n), complex)
            e[i, j] = e[j, i] = 1j
            basis.append(e)
        for k in range(n):
            e = np.zeros((n, n), complex)
            e[k, k] = 1j * math.sqrt(2)
            basis.append(e)
    return np.stack(basis)


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop", "momentum"])
def test_lie_exp_with_another_optimizer_is_the_exponential_of_its_step(optimizer, field):
    def make(parameters):
        if optimizer == "momentum":
            return torch.optim.SGD(parameters, lr=0.02, momentum=0.9)
        return getattr(torch.optim, optimizer)(parameters, lr=0.02)

    n = 3
    p = build("lie_exp", n, field=field)
    target, w = target_for(p), numpy(p.matrix())
    opt = make(p.parameters())
    attach(p, opt)
    basis = coordinate_basis(n, field)
    # The same optimizer on a plain vector, which is given the coordinates of g as its gradient.
    plain = torch.zeros(len(basis), dtype=F64, requires_grad=True)
    own = make([plain])
    for found in train(p, opt, 6, target):
        g = tangent(gradient(w, target), w)
        plain.grad = torch.from_numpy(np.einsum("kij,ij->k", basis.conj(), g).real / 2)
        before = plain.detach().clone()
        own.step()
        step = np.tensordot((plain.detach() - before).numpy(), basis, 1)
        w = scipy.linalg.expm(step) @ w
        # The optimizer divides by the size of the gradient, so a rounding of 1e-15 in an entry of
        # size 1e-3 counts for 1e-12 in a step of 0.02.
        assert np.abs(found - w).max() <= 1e-12


@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_full_capacity_with_sgd_is_the_multiplicative_cayley_update(n):
    p, rate = build("full_capacity", n), 0.02
    target, w, one = target_for(p), numpy(p.matrix()), np.eye(n)
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    for found in train(p, optimizer, 6, target):
        a = tangent(gradient(w, target), w)
        w = np.linalg.solve(one + rate / 2 * a, (one - rate / 2 * a) @ w)
        assert np.abs(found - w).max() <= 100 * math.sqrt(n) * 2.3e-16 * 1.4**6


@pytest.mark.parametrize("name", ["full_capacity", "lie_exp"])
def test_the_first_order_decrease_is_half_the_squared_norm(name):
    decreases, target = [], None
    for rate in (1e-4, 2e-4):
        p = build(name, 5)
        target = target_for(p)
        w = numpy(p.matrix())
        start = float(cost(torch.from_numpy(w), target))
        optimizer = torch.optim.SGD(p.parameters(), lr=rate)
        attach(p, optimizer)
        (w_next,) = train(p, optimizer, 1, target)
        decreases.append((float(cost(torch.from_numpy(w_next), target)) - start) / rate)
    slope = 2 * decreases[0] - decreases[1]  # the curvature, linear in the rate, taken out
    wanted = -0.5 * np.linalg.norm(tangent(gradient(w, target), w)) ** 2
    # Left over: third derivatives, about wanted * (20 rate)^2; and rounding, 1e-13 / rate.
    assert slope == pytest.approx(wanted, rel=1e-4)


def test_the_printed_form_of_the_update_does_not_descend():
    # A = G^H W - W^H G multiplied from the left, as often printed, against A = G W^H - W G^H: the
    # derivative of the cost along -A W is Re <G, -A W>.
    target, climbs = None, 0
    for seed in range(20):
        p = build("full_capacity", 5, seed=seed)
        target, w = target_for(p, seed + 100), numpy(p.matrix())
        g = gradient(w, target)
        printed = g.conj().T @ w - w.conj().T @ g
        climbs += np.vdot(g, -printed @ w).real > 0
        ours = np.vdot(g, -tangent(g, w) @ w).real
        assert ours == pytest.approx(-0.5 * np.linalg.norm(tangent(g, w)) ** 2)
        # Multiplied from the right and with the opposite sign it is the same direction as ours.
        assert np.vdot(g, w @ printed).real == pytest.approx(ours)
    assert climbs > 0


def rms_reference(w, target, rate, steps, decay=0.9, eps=1e-8, scales=None):
    """Wisdom's normalised update in numpy."""
    square, found, one = 0.0, [], np.eye(len(w))
    for k in range(steps):
        g = gradient(w, target) * (1.0 if scales is None else scales[k])
        parts = np.stack([g.real, g.imag])
        square = decay * square + (1 - decay) * parts**2
        parts = parts / (np.sqrt(square) + eps)
        a = tangent(parts[0] + 1j * parts[1], w)
        w = np.linalg.solve(one + rate / 2 * a, (one - rate / 2 * a) @ w)
        found.append(w)
    return found


RMS = {"rate": 1e-2, "steps": 4}
# G / sqrt(square) divides rounding of 1e-14 by entries of G down to 1e-3 or so.
RMS_LIMIT = 1e-11


def rms_scheme(n=4, **options):
    p = build("full_capacity", n, rms_normalize=True, **options)
    optimizer = torch.optim.SGD(p.parameters(), lr=RMS["rate"])
    attach(p, optimizer)
    return p, optimizer, target_for(p)


@pytest.mark.parametrize("options", [{}, {"rms_decay": 0.5, "rms_eps": 1e-3}])
@pytest.mark.parametrize("n", [1, 3, 7])
def test_rms_normalised_steps_are_those_of_the_formula(n, options):
    p, optimizer, target = rms_scheme(n, **options)
    own = {key.removeprefix("rms_"): value for key, value in options.items()}
    wanted = rms_reference(numpy(p.matrix()), target, **RMS, **own)
    for found, w in zip(train(p, optimizer, RMS["steps"], target), wanted, strict=True):
        assert np.abs(found - w).max() <= RMS_LIMIT


def test_rms_normalised_steps_do_not_see_a_gradient_scaler():
    p, optimizer, target = rms_scheme()
    wanted = rms_reference(numpy(p.matrix()), target, **RMS)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=2)
    for found, w in zip(train(p, optimizer, RMS["steps"], target, scaler), wanted, strict=True):
        assert np.abs(found - w).max() <= RMS_LIMIT


def test_rms_normalised_steps_follow_the_clipping_of_the_coordinates():
    p, optimizer, target = rms_scheme()
    start, scales = numpy(p.matrix()), []
    found = []
    for k in range(RMS["steps"]):
        optimizer.zero_grad()
        cost(p.matrix(), target).backward()
        norm = nn.utils.clip_grad_norm_(p.parameters(), 10.0**-k)
        scales.append(min(1.0, 10.0**-k / (float(norm) + 1e-6)))  # what torch multiplies by
        optimizer.step()
        found.append(numpy(p.matrix()))
    assert min(scales) < 0.1
    wanted = rms_reference(start, target, **RMS, scales=scales)
    for w, v in zip(found, wanted, strict=True):
        assert np.abs(w - v).max() <= RMS_LIMIT


def split_cost(p, target, how):
    """The gradient of the cost as that of two terms, of which each alone points elsewhere."""
    other = 10 * target_for(p, seed=2)

    def first(w):
        return cost(w, target) - (w * other).real.sum()

    def second(w):
        return (w * other).real.sum()

    if how == "read once":
        w = p.matrix()
        (first(w) + second(w)).backward()
    elif how == "read twice":
        (first(p.matrix()) + second(p.matrix())).backward()
    elif how == "two backward passes":
        first(p.matrix()).backward()
        second(p.matrix()).backward()
    elif how == "read once more without a gradient":
        w = p.matrix()
        with torch.no_grad():
            p.matrix()
        p.matrix()  # and once without a use
        (first(w) + second(w)).backward()


@pytest.mark.parametrize(
    "how",
    ["read once", "read twice", "two backward passes", "read once more without a gradient"],
)
@pytest.mark.parametrize("set_to_none", [True, False])
def test_rms_normalised_steps_depend_on_the_sum_of_the_gradients_alone(how, set_to_none):
    # A cell that is called at every time step reads W as often.
    p, optimizer, target = rms_scheme()
    wanted = rms_reference(numpy(p.matrix()), target, **RMS)
    for w in wanted:
        optimizer.zero_grad(set_to_none=set_to_none)
        split_cost(p, target, how)
        optimizer.step()
        assert np.abs(numpy(p.matrix()) - w).max() <= RMS_LIMIT


def test_rms_normalised_steps_are_the_same_by_closure():
    p, optimizer, target = rms_scheme()
    wanted = rms_reference(numpy(p.matrix()), target, **RMS)

    def closure():
        optimizer.zero_grad()
        loss = cost(p.matrix(), target)
        loss.backward()
        return loss

    for w in wanted:
        optimizer.step(closure)
        assert np.abs(numpy(p.matrix()) - w).max() <= RMS_LIMIT


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 17])
def test_svd_projection_is_the_polar_factor_of_the_step(n, field):
    p, rate = build("svd_projection", n, field=field), 0.02
    target, w = target_for(p), numpy(p.matrix())
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    for found in train(p, optimizer, 6, target):
        w = scipy.linalg.polar(w - rate * gradient(w, target))[0]
        assert np.abs(found - w).max() <= 100 * math.sqrt(n) * 2.3e-16 * 1.4**6


@pytest.mark.parametrize("field", ["real", "complex"])
def test_the_contractive_variant_clips_the_singular_values_of_the_step(field):
    p, rate = build("svd_projection", 5, field=field, contractive=True), 0.1
    target, w = 0.6 * target_for(p), numpy(p.matrix())
    optimizer = torch.optim.SGD(p.parameters(), lr=rate)
    attach(p, optimizer)
    clipped = 0
    for found in train(p, optimizer, 8, target):
        u, s, vh = np.linalg.svd(w - rate * gradient(w, target))
        clipped += int((s > 1).sum())
        w = (u * np.minimum(s, 1)) @ vh
        assert np.abs(found - w).max() <= 100 * math.sqrt(5) * 2.3e-16 * 2.0**8
    s = np.linalg.svd(w, compute_uv=False)
    assert clipped > 0
    assert s.min() < 0.99  # not merely unitary


# --------------------------------------------------------------------------- optimizers of torch

OPTIMIZERS = {
    name: cls
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type)
    and issubclass(cls, torch.optim.Optimizer)
    and name not in ("Optimizer", "SparseAdam")  # sparse gradients only
}
FAMILIES = [
    ("expm", {}),
    ("lie_exp", {"rebase_every": 3}),
    ("full_capacity", {}),
    ("full_capacity", {"rms_normalize": True}),
    ("svd_projection", {}),
    ("svd_projection", {"field": "complex"}),
    ("projunn_d", {"rank": 2}),
    ("projunn_t", {"rank": 2}),
    ("polar_newton_schulz", {}),
]
# Muon takes matrices only: real weights that are stored as such.
USABLE = [
    pytest.param(optimizer, name, options, id=f"{optimizer}-{name}-{'-'.join(options)}")
    for optimizer in OPTIMIZERS
    for name, options in FAMILIES
    if optimizer != "Muon" or (name, options) == ("svd_projection", {})
]


def test_the_optimizers_that_everybody_uses_are_among_those_tested():
    assert {"SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "LBFGS"} <= set(OPTIMIZERS)


@pytest.mark.parametrize(("optimizer", "name", "options"), USABLE)
def test_every_optimizer_keeps_the_weight_on_the_group(optimizer, name, options):
    p = build(name, 6, torch.float32, **options)
    target, before = target_for(p), numpy(p.matrix())
    opt = OPTIMIZERS[optimizer](p.parameters(), lr=1e-2)
    attach(p, opt)
    losses = []

    def closure():
        opt.zero_grad()
        loss = (p.matrix() - target).abs().square().sum()
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(3 if optimizer == "LBFGS" else 12):  # of up to 20 steps each
        opt.step(closure)
        assert defect(p.matrix()) <= p.info.tolerance(6, p.dtype)
    assert losses[-1] < losses[0]
    # Far above rounding; the slowest, Adadelta, starts at steps of lr * sqrt(1e-6).
    assert np.abs(numpy(p.matrix()) - before).max() > 1e-5


IMPLEMENTATIONS = [
    ("SGD", {"foreach": True}), ("SGD", {"fused": True}), ("SGD", {"maximize": True}),
    ("Adam", {"foreach": True}), ("Adam", {"fused": True}), ("Adam", {"amsgrad": True}),
    ("AdamW", {"fused": True, "weight_decay": 0.5}), ("Adagrad", {"fused": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.5}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.5}),
    ("LBFGS", {"line_search_fn": "strong_wolfe"}),
]  # fmt: skip


@pytest.mark.parametrize(("optimizer", "variant"), IMPLEMENTATIONS)
@pytest.mark.parametrize("name", ["expm", "lie_exp", "svd_projection"])
def test_every_implementation_keeps_the_weight_on_the_group(name, optimizer, variant):
    p = build(name, 6, torch.float32)
    target = target_for(p)
    opt = OPTIMIZERS[optimizer](p.parameters(), lr=1e-2, **variant)
    attach(p, opt)

    def closure():
        opt.zero_grad()
        loss = (p.matrix() - target).abs().square().sum()
        loss.backward()
        return loss

    for _ in range(5):
        opt.step(closure)
        assert defect(p.matrix()) <= p.info.tolerance(6, p.dtype)


@pytest.mark.parametrize("name", ["expm", "lie_exp", "svd_projection"])
def test_lbfgs_with_a_line_search_finds_the_nearest_rotation(name):
    # <W, T> is largest at the polar factor of T.
    p = build(name, 4)
    wanted = numpy(p.matrix()) + 0.3 * target_for(p).numpy()
    nearest = scipy.linalg.polar(wanted)[0]
    opt = torch.optim.LBFGS(p.parameters(), line_search_fn="strong_wolfe", tolerance_grad=1e-12)
    attach(p, opt)

    def closure():
        opt.zero_grad()
        loss = -(p.matrix() * torch.from_numpy(wanted)).sum()
        loss.backward()
        return loss

    for _ in range(8):
        opt.step(closure)
    # It stops where the loss, quadratic about its minimum, changes by less than 1e-9.
    assert np.abs(numpy(p.matrix()) - nearest).max() <= 1e-4


# ------------------------------------------------------------------------------------ GradScaler


@pytest.mark.parametrize("name", ["expm", "lie_exp", "full_capacity", "svd_projection"])
def test_a_gradient_scaler_changes_nothing(name):
    plain, scaled = build(name), build(name)
    target = target_for(plain)
    runs = []
    for p, scaler in (
        (plain, None),
        (scaled, torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)),
    ):
        optimizer = torch.optim.SGD(p.parameters(), lr=0.02)
        attach(p, optimizer)
        runs.append(train(p, optimizer, 5, target, scaler))
    # Powers of two scale without rounding.
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("expm", {}), ("lie_exp", {}), ("full_capacity", {}), ("svd_projection", {}),
        ("full_capacity", {"rms_normalize": True}),
    ],
)  # fmt: skip
def test_a_step_skipped_by_the_gradient_scaler_leaves_everything(name, options):
    p, twin = build(name, **options), build(name, **options)
    target = target_for(p)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = torch.optim.SGD(p.parameters(), lr=0.02)
    attach(p, optimizer)
    before = {key: value.clone() for key, value in p.state_dict().items()}
    scaler.scale(cost(p.matrix(), target) * math.inf).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() < 4.0
    for key, value in p.state_dict().items():
        assert torch.equal(value, before[key])
    # And it goes on as if nothing had been.
    own = torch.optim.SGD(twin.parameters(), lr=0.02)
    attach(twin, own)
    found, wanted = train(p, optimizer, 3, target, scaler), train(twin, own, 3, target)
    np.testing.assert_allclose(found[-1], wanted[-1], rtol=0, atol=1e-14)


# -------------------------------------------------------------------------- models and their groups


def test_a_model_of_several_layers_is_served_whole():
    torch.manual_seed(0)
    model = nn.Sequential(
        build("svd_projection", 6, torch.float32),
        nn.Linear(6, 6),
        build("lie_exp", 6, torch.float32),
        build("cayley", 6, torch.float32),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    attach(model, optimizer)
    x, y = torch.randn(8, 6), torch.randn(8, 6)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        for p in (model[0], model[2], model[3]):
            assert defect(p.matrix()) <= p.info.tolerance(6, p.dtype)
    assert losses[-1] < losses[0]
    assert not model[2].theta.any()


def test_a_recurrent_layer_of_two_layers_is_served_whole():
    torch.manual_seed(0)
    rnn = UnitaryRNN(2, 5, num_layers=2, scheme="svd_projection")
    optimizer = torch.optim.RMSprop(parameter_groups(rnn, lr=1e-2))
    attach(rnn, optimizer)
    for _ in range(5):
        optimizer.zero_grad()
        rnn(torch.randn(4, 3, 2))[0].square().mean().backward()
        optimizer.step()
    for cell in rnn.cells:
        assert defect(cell.recurrent.matrix()) <= cell.recurrent.info.tolerance(5, torch.float32)


def test_two_optimizers_with_a_layer_each():
    model = nn.ModuleList([build("lie_exp"), build("svd_projection")])
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in model]
    attach(model, *optimizers)
    (model[0].matrix() * target_for(model[0])).sum().backward()
    (model[1].matrix() * target_for(model[1])).sum().backward()
    before = [numpy(layer.matrix()) for layer in model]
    optimizers[0].step()
    assert int(model[0].steps) == 1
    assert np.abs(numpy(model[0].matrix()) - before[0]).max() > 1e-3
    np.testing.assert_array_equal(numpy(model[1].matrix()), before[1])
    optimizers[1].step()
    assert int(model[0].steps) == 1  # no business of the second optimizer
    assert np.abs(numpy(model[1].matrix()) - before[1]).max() > 1e-3


class Counting(Static):
    """exp of a rotation by the sum of two parameters; it counts what the hooks call."""

    info = SchemeInfo(
        name="counting", title="", reference="", family="static", field="real",
        claims={"real": SPECIAL_ORTHOGONAL}, tolerance=Tolerance(4.0, "one rotation"),
    )  # fmt: skip

    def __init__(self, n=2, **options):
        super().__init__(n, **options)
        self.first, self.second = (nn.Parameter(torch.tensor(0.1)) for _ in range(2))
        self.calls = []

    def _prepare(self):
        t = self.first + self.second
        return DenseMap(torch.stack([t.cos(), -t.sin(), t.sin(), t.cos()]).view(2, 2))

    def begin_step_(self):
        self.calls.append("begin")

    def step_(self):
        self.calls.append("step")


def test_a_scheme_split_over_two_optimizers_is_served_after_the_step_of_each():
    p = Counting()
    one, two = (torch.optim.SGD([q], lr=0.1) for q in (p.first, p.second))
    with pytest.raises(AttachError, match="1 of 2 parameters of 'counting'"):
        attach(p, one)
    attach(p, one, two)
    p.matrix().sum().backward()
    one.step()
    assert p.calls == ["begin", "step"]
    two.step()
    assert p.calls == ["begin", "step"] * 2


def test_a_parametrization_shared_by_two_modules_is_served_once():
    p = Counting()
    model = nn.ModuleDict({"a": nn.Sequential(p), "b": nn.Sequential(p)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, optimizer)
    optimizer.step()
    assert p.calls == ["begin", "step"]


def test_a_module_added_later_with_its_parameter_group_is_served():
    model = nn.Sequential(build("svd_projection"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, optimizer)
    new = build("svd_projection", seed=1)
    model.append(new)
    optimizer.add_param_group({"params": list(new.parameters()), "lr": 0.2})
    before = numpy(new.matrix())
    (new.matrix() * target_for(new)).sum().backward()
    optimizer.step()
    assert np.abs(numpy(new.matrix()) - before).max() > 1e-2
    assert defect(new.matrix()) <= new.info.tolerance(4, F64)


def test_parameters_thawed_later_are_served():
    p = build("svd_projection").requires_grad_(False)
    model = nn.Sequential(p, nn.Linear(4, 4))
    optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
    attach(model, optimizer)
    p.requires_grad_(True)
    optimizer.add_param_group({"params": list(p.parameters())})
    (p.matrix() * target_for(p)).sum().backward()
    optimizer.step()
    assert defect(p.matrix()) <= p.info.tolerance(4, F64)


def test_frozen_parameters_need_no_optimizer():
    model = nn.Sequential(build("expm").requires_grad_(False), nn.Linear(4, 4))
    attach(model, torch.optim.SGD(model[1].parameters(), lr=0.1))


# --------------------------------------------------------------------------- the errors of attach


@pytest.mark.parametrize("name", ["lie_exp", "svd_projection"])
def test_a_frozen_scheme_is_not_moved_by_a_rounding(name):
    p, free = build(name, dtype=torch.float32), nn.Linear(2, 2)
    p.requires_grad_(False)
    optimizer = torch.optim.SGD([*p.parameters(), *free.parameters()], lr=0.1, weight_decay=0.1)
    attach(p, optimizer)
    before = {key: value.clone() for key, value in p.state_dict().items()}
    for _ in range(3):
        free(torch.ones(2)).sum().backward()
        optimizer.step()
    for key, value in p.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_gradient_from_before_the_freezing_is_a_step_like_another():
    p = build("svd_projection")
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    attach(p, optimizer)
    before = p.matrix().detach()
    cost(p.matrix(), target_for(p)).backward()
    p.requires_grad_(False)
    optimizer.step()  # torch's optimizers look at the gradient, not at requires_grad
    assert (p.matrix() - before).norm() > 1e-3
    assert defect(p.matrix()) < 1e-14


def test_parameters_in_no_optimizer_are_named_with_the_remedy():
    model = nn.ModuleDict({"inner": nn.Sequential(build("expm")), "head": nn.Linear(4, 4)})
    optimizer = torch.optim.SGD(model["head"].parameters(), lr=0.1)
    message = (
        r"1 of 1 parameters of 'expm' at 'inner\.0' are in none of the 1 optimizers given; add "
        r"them to one, pass the optimizer that holds them as well, or freeze them with requires_"
    )
    with pytest.raises(AttachError, match=message) as e:
        attach(model, optimizer)
    assert isinstance(e.value, ValueError)
    for remedy in ("add", "pass", "freeze"):
        fixed = torch.optim.SGD(model["head"].parameters(), lr=0.1)
        more = []
        if remedy == "add":
            fixed.add_param_group({"params": list(model["inner"].parameters())})
        elif remedy == "pass":
            more = [torch.optim.SGD(model["inner"].parameters(), lr=0.1)]
        else:
            model["inner"].requires_grad_(False)
        attach(model, fixed, *more).remove()


def test_a_refused_attach_leaves_no_hook():
    p = Counting()
    optimizer = torch.optim.SGD([p.first], lr=0.1)
    with pytest.raises(AttachError):
        attach(p, optimizer)
    optimizer.step()
    assert p.calls == []


def test_a_scheme_alone_is_called_the_model_itself():
    p = build("lie_exp")
    with pytest.raises(AttachError, match=r"'lie_exp' at 'the model itself'"):
        attach(p, torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1))


def test_a_model_without_a_scheme_is_refused():
    model = nn.Linear(2, 2)
    with pytest.raises(AttachError, match=r"Linear contains no Parametrization"):
        attach(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_what_is_no_optimizer_is_refused():
    p = build("expm")
    with pytest.raises(AttachError, match=r"attach\(model, optimizer\)"):
        attach(p)
    for thing in (p.parameters(), [torch.optim.SGD(p.parameters(), lr=0.1)], None):
        with pytest.raises(TypeError, match=r"not a torch\.optim\.Optimizer"):
            attach(p, thing)


def test_attaching_twice_is_refused_until_removed():
    p = Counting()
    model = nn.Sequential(p)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = attach(model, optimizer)
    for again in (model, p):
        with pytest.raises(AttachError, match=r"'counting' at .* SGD already; call remove\(\)"):
            attach(again, optimizer)
    handle.remove()
    attach(p, optimizer)
    optimizer.step()
    assert p.calls == ["begin", "step"]


def test_another_optimizer_may_be_attached_as_well():
    p = Counting()
    optimizers = [torch.optim.SGD(p.parameters(), lr=0.1) for _ in range(2)]
    for optimizer in optimizers:
        attach(p, optimizer)
    optimizers[0].step()
    assert p.calls == ["begin", "step"]


def test_no_step_is_counted_twice_when_an_optimizer_is_given_twice():
    p = Counting()
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    try:
        attach(p, optimizer, optimizer)
    except AttachError:  # to refuse it would do as well
        attach(p, optimizer)
    optimizer.step()
    assert p.calls == ["begin", "step"]


def test_no_step_is_counted_twice_when_a_module_added_later_is_attached_by_itself():
    model, p = nn.Sequential(Counting()), Counting()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, optimizer)
    model.append(p)
    optimizer.add_param_group({"params": list(p.parameters())})
    with contextlib.suppress(AttachError):  # to refuse it would do as well: it is served already
        attach(p, optimizer)
    optimizer.step()
    assert p.calls == ["begin", "step"]


def test_remove_takes_the_hooks_off_and_may_be_called_again():
    p = build("svd_projection")
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    handle = attach(p, optimizer)
    assert isinstance(handle, AttachHandle)
    handle.remove()
    handle.remove()
    (p.matrix() * target_for(p)).sum().backward()
    optimizer.step()
    with pytest.raises(NotProjectedError):
        p.matrix()


def test_remove_leaves_the_other_handles_of_the_optimizer():
    one, two = Counting(), Counting()
    optimizer = torch.optim.SGD([*one.parameters(), *two.parameters()], lr=0.1)
    handle = attach(one, optimizer)
    attach(two, optimizer)
    handle.remove()
    optimizer.step()
    assert one.calls == []
    assert two.calls == ["begin", "step"]


# ------------------------------------------------------------------------------- parameter_groups


def model_with_both():
    return nn.ModuleDict({"head": nn.Linear(4, 2), "core": nn.Sequential(build("expm"))})


def test_groups_part_the_free_from_the_constrained():
    model = model_with_both()
    free, unitary = parameter_groups(model, lr=1e-3, unitary_lr=1e-4)
    assert list(map(id, free["params"])) == list(map(id, model["head"].parameters()))
    assert list(map(id, unitary["params"])) == list(map(id, model["core"].parameters()))
    assert free["lr"] == 1e-3
    assert unitary["lr"] == 1e-4
    assert unitary["weight_decay"] == 0.0
    assert "weight_decay" not in free  # the optimizer's own default


def test_groups_by_default_learn_at_one_rate():
    assert [group["lr"] for group in parameter_groups(model_with_both(), lr=0.5)] == [0.5, 0.5]
    assert parameter_groups(model_with_both(), lr=0.5, unitary_lr=0.0)[1]["lr"] == 0.0


def test_options_go_to_both_groups_and_weight_decay_to_the_free_one():
    free, unitary = parameter_groups(model_with_both(), lr=1e-3, weight_decay=0.1, betas=(0.5, 0.6))
    assert (free["weight_decay"], unitary["weight_decay"]) == (0.1, 0.0)
    assert free["betas"] == unitary["betas"] == (0.5, 0.6)


def test_a_group_that_would_be_empty_is_left_out():
    (only,) = parameter_groups(build("expm"), lr=0.1)
    assert only["weight_decay"] == 0.0
    (only,) = parameter_groups(nn.Linear(2, 2), lr=0.1, weight_decay=0.3)
    assert only["weight_decay"] == 0.3


def test_every_parameter_is_in_one_group_once():
    shared = build("lie_exp")
    model = nn.ModuleList([nn.Sequential(shared), shared, nn.Linear(4, 4), build("arjovsky")])
    groups = parameter_groups(model, lr=0.1)
    found = sorted(id(q) for group in groups for q in group["params"])
    assert found == sorted(map(id, model.parameters()))


def test_weight_decay_of_the_groups_moves_the_free_parameters_alone():
    model = model_with_both()
    optimizer = torch.optim.SGD(parameter_groups(model, lr=0.1, weight_decay=1.0))
    attach(model, optimizer)
    before = {key: q.detach().clone() for key, q in model.named_parameters()}
    sum((q * 0).sum() for q in model.parameters()).backward()
    optimizer.step()
    for key, q in model.named_parameters():
        torch.testing.assert_close(q.detach(), before[key] * (0.9 if "head" in key else 1.0))


@pytest.mark.parametrize(
    "optimizer", [name for name in OPTIMIZERS if name not in ("LBFGS", "Muon")]
)
def test_the_groups_suit_the_optimizer(optimizer):
    # LBFGS takes one group only, and Muon matrices only.
    model = model_with_both()
    OPTIMIZERS[optimizer](parameter_groups(model, lr=1e-3, unitary_lr=1e-4))


def test_rms_normalisation_refuses_a_gradient_it_has_not_seen():
    # Clipped entry by entry, theta's gradient is no longer that of the G whose entries are
    # normalised; scaled as a whole it is.
    for clip, fits in ((torch.nn.utils.clip_grad_norm_, True), (nn.utils.clip_grad_value_, False)):
        p, optimizer, target = rms_scheme()
        cost(p.matrix(), target).backward()
        clip(p.parameters(), 0.1 * float(p.theta.grad.abs().max()))
        with contextlib.nullcontext() if fits else pytest.raises(ValueError, match="clip by norm"):
            optimizer.step()


def test_rms_normalisation_without_attach_raises():
    p = build("full_capacity", 3, rms_normalize=True)
    optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    p.matrix().real.sum().backward()
    optimizer.step()
    with pytest.raises(ValueError, match="attach"):
        p.step_()
