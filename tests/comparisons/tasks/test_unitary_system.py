"""The target of Wisdom et al. against a plain loop, and that only W is left to learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comparisons.models import SequenceModel
from comparisons.plan import plan
from comparisons.tasks import TASKS
from comparisons.tasks.unitary_system import System, UnitarySystem
from comparisons.training.trainer import train, train_model
from unitary_zoo import Parametrization, UnitaryRNN, as_real

VARIANTS = sorted(UnitarySystem.variants)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([1, 2, 3, 7, 17, 33]), st.integers(1, 2), st.integers(0, 2**32))
def test_system_is_unitary_with_thresholds_of_paper(units, factors, seed):
    system = System.draw(units, factors, generator(seed))
    w = system.weight.numpy()
    # each of two matrices of eight unitary factors rounds n sums of n terms
    bound = 2 * 8 * units * 4e-16
    np.testing.assert_allclose(w.conj().T @ w, np.eye(units), atol=max(bound, 1e-14))
    assert ((system.threshold >= -0.11) & (system.threshold <= -0.09)).all()


def test_system_factors_by_family():
    def arjovsky(g):
        return Parametrization.create("arjovsky", 6, generator=g, dtype=torch.float64).matrix()

    g = generator(3)
    first, second = arjovsky(g), arjovsky(g)
    assert torch.equal(System.draw(6, 1, generator(3)).weight, first)
    torch.testing.assert_close(System.draw(6, 2, generator(3)).weight, first @ second)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(VARIANTS), st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32))
def test_system_targets_equal_plain_loop(variant, steps, size, seed):
    task = UnitarySystem(steps, variant)
    inputs, targets = task.batch(size, generator(seed))
    n = task.units
    assert inputs.shape == targets.shape == (steps, size, 2 * n)
    w, threshold = task.system.weight.numpy(), task.system.threshold.numpy()
    x = inputs.double().numpy()
    h, states = np.zeros((size, n), complex), []
    for step in x[..., :n] + 1j * x[..., n:]:
        z = h @ w.T + step
        h = np.maximum(np.abs(z) + threshold, 0) * np.exp(1j * np.angle(z))
        states.append(np.concatenate([h.real, h.imag], axis=-1))
    # the loop reads inputs rounded to 6e-8, up to 5 a step, and W keeps the length of an error; the
    # direction of z, at |z| of at least -threshold, turns an error at most twice as large
    np.testing.assert_allclose(targets.numpy(), np.stack(states), atol=steps * math.sqrt(n) * 2e-6)


def test_batch_inputs_are_circular_with_unit_power():
    inputs, _ = UnitarySystem(50, "full-16").batch(200, generator(0))
    x = torch.complex(*inputs.chunk(2, dim=-1))
    count = x.numel()  # 160,000; |x|^2 is exponential with variance 1, x^2 has E|x^2|^2 = 2
    assert x.abs().square().mean().item() == pytest.approx(1, abs=5 / math.sqrt(count))
    assert x.mean().abs() < 5 / math.sqrt(count)
    assert x.square().mean().abs() < 5 * math.sqrt(2 / count)


@pytest.mark.parametrize("variant", ["full-8", "restricted-4"])
def test_baseline_is_loss_of_best_constant_zero(variant):
    task = UnitarySystem(60, variant)
    (test,) = task.test_batches(1000, 1000, generator(1))
    powers = test.targets.square().mean((0, 2))
    loss = task.loss(torch.zeros_like(test.targets), test.targets).item()
    # the power was measured on another 1000 sequences
    spread = float(powers.std() / powers.mean()) * math.sqrt(2 / 1000)
    assert loss == pytest.approx(task.baseline, abs=5 * spread)
    mean = test.targets.mean((0, 1)).expand_as(test.targets)
    # a mean over 1000 sequences takes at most its own variance, a thousandth of the power
    assert task.loss(mean, test.targets).item() == pytest.approx(loss, abs=5 / 1000)
    assert task.metric(0.25, 0.0) == 0.25


def test_variant_alone_fixes_system_and_power():
    one, other = UnitarySystem(20, "full-6", seed=1), UnitarySystem(20, "full-6", seed=2)
    assert torch.equal(one.system.weight, other.system.weight)
    assert one.power == other.power
    assert not torch.equal(
        one.system.weight, UnitarySystem(20, "restricted-6", seed=1).system.weight
    )


def layer(units: int, scheme: str = "expm", **options) -> UnitaryRNN:
    return UnitaryRNN(2 * units, units, scheme=scheme, **{"bias": False, **options})


@pytest.mark.parametrize("variant", VARIANTS)
def test_identify_with_true_matrix_reproduces_system(variant):
    task = UnitarySystem(30, variant)
    rnn = layer(task.units, field="complex", dtype=torch.float64, scheme="svd_projection")
    readout = task.identify(rnn)
    rnn.cells[0].recurrent.assign_(task.system.weight)
    inputs, targets = task.batch(5, generator(0))
    with torch.no_grad():
        h = rnn(inputs.double())[0]
    outputs = readout(torch.cat([h.real, h.imag], dim=-1))
    # inputs and targets are rounded to 6e-8 of themselves; the loss is the square of that
    assert task.loss(outputs, targets.double()).item() < 1e-12


def test_identify_leaves_only_w_trainable():
    task = UnitarySystem(5, "full-4")
    rnn = layer(4, field="complex")
    task.identify(rnn)
    free = [name for name, p in rnn.named_parameters() if p.requires_grad]
    assert free == [f"cells.0.recurrent.{n}" for n, _ in rnn.cells[0].recurrent.named_parameters()]


@pytest.mark.parametrize(
    "rnn",
    [
        layer(4),  # real
        layer(6, field="complex"),  # of another size
        layer(4, field="complex", nonlinearity="identity"),
        layer(4, field="complex", bias=True),
        layer(4, field="complex", learn_h0=True),
        layer(4, field="complex", num_layers=2),
    ],
)
def test_identify_refuses_layer_that_cannot_be_system(rnn):
    with pytest.raises(ValueError, match="4 complex modReLU units"):
        UnitarySystem(5, "full-4").identify(rnn)


def test_identify_training_moves_only_w_and_lowers_loss():
    (run,) = plan("quick", ["unitary_system"], ["full_capacity"], iterations=40)
    run = replace(run, length=10)
    start = SequenceModel(run.model, run.setting, TASKS.get(run.task)(10))
    fixed = {n: p.clone() for n, p in start.named_parameters() if not p.requires_grad}
    model, result = train_model(run)
    fixed.pop("rnn.cells.0.recurrent.base")  # no optimizer moves it, and each step does
    assert set(fixed) == {"rnn.cells.0.weight_ih_parts", "rnn.cells.0.threshold"}
    for name, before in fixed.items():
        assert torch.equal(model.get_parameter(name), before)
    assert result.parameters == result.recurrent_parameters == 64  # of U(8)
    # W has moved towards the system's in 40 steps of Adam, 0.02 each
    assert result.final.test_loss < 0.7 * result.curve[0].test_loss


@pytest.mark.parametrize("seed", range(3))
def test_identify_gradient_of_w_mostly_points_off_group(seed):
    # Why quick leaves Adam where W is projected: at length 25, what the projection takes back is
    # many times what it keeps, and decides the scale of every entry.
    task = UnitarySystem(25)
    torch.manual_seed(seed)
    rnn = layer(8, "svd_projection", field="complex")
    task.identify(rnn)
    inputs, targets = task.batch(200, generator(seed))
    loss = task.loss(as_real(rnn(inputs)[0]), targets)
    loss.backward()
    weight = next(p for p in rnn.parameters() if p.requires_grad)
    w, g = (torch.view_as_complex(x).numpy() for x in (weight.detach(), weight.grad))
    s = w.conj().T @ g
    off, along = np.linalg.norm(s + s.conj().T), np.linalg.norm(s - s.conj().T)
    assert off > 5 * along > 0
    # Two independent states of equal length are sqrt(2) of it apart; the last input they share.
    assert 1.5 < loss.item() < 2


QUICK_PROJECTED = ["projunn_d", "projunn_t", "svd_projection"]


@pytest.mark.parametrize("model", ["projunn_t", "svd_projection", "eigenphase"])
def test_quick_identification_ends_below_baseline(model):
    # By Adam on W alone these ended from 1.3 to 1.6.
    (run,) = plan("quick", ["unitary_system"], [model])
    assert train(run).final.test_loss < 0.8


def test_quick_identification_uses_every_scheme_covering_unitary_group():
    for run in plan("quick", ["unitary_system"]):
        claims = {}
        if run.model in Parametrization.names():
            claims = Parametrization.get(run.model).info.claims
        able = "complex" in claims and claims["complex"].dimension(8) >= 64
        setting = run.setting
        assert setting.model.only_recurrent_weight == able, run.model
        model = SequenceModel(run.model, setting, UnitarySystem(run.length, run.variant))
        assert any(not p.requires_grad for p in model.parameters()) == able
        # the same state in every model: 16 real numbers, of an LSTM h and c
        is_complex = any(scheme.field == "complex" for scheme in model.schemes())
        assert setting.model.hidden_size == (8 if is_complex or run.model == "lstm" else 16), (
            run.model
        )
        steps_along = (
            setting.training.unitary_optimizer is None
            or setting.training.unitary_optimizer.kind == "adam"
        )
        assert steps_along != (run.model in QUICK_PROJECTED), run.model


def test_memoryless_baseline_of_one_step_is_zero():
    # The first state is modReLU of the first input. The power was measured on 1000 sequences of 8
    # units, the same mean here on 100 of them: |h|^2 has a standard deviation of about its mean.
    assert UnitarySystem(1, "full-8").memoryless == pytest.approx(0, abs=5 / math.sqrt(800))


def test_memoryless_baseline_is_loss_of_mean_state_given_the_input():
    task, states = UnitarySystem(8, "full-4"), 400
    inputs, targets = task.batch(states + 300, generator(5))
    h, x = (torch.complex(*part.double().chunk(2, -1)) for part in (targets, inputs))
    error = 0.0
    before = torch.zeros(states, 4, dtype=h.dtype)
    for t in range(8):
        z = before @ task.system.weight.T + x[t, states:, None]
        size = (z.abs() + task.system.threshold).clamp(min=0)
        mean = (z / z.abs() * size).mean(1)
        error += (h[t, states:] - mean).abs().square().mean().item()
        before = h[t, :states]
    loss = error / 8 / (2 * task.power)
    # 300 x 8 x 4 squared errors, each about as large as its standard deviation: 1 %; the estimate
    # of the task, from 100 inputs, has about twice that
    assert task.memoryless == pytest.approx(loss, abs=5 * 0.025)
    assert 0.5 < task.memoryless < 0.95 < task.baseline
