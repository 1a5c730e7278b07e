"""The data of Emami et al.: the system in closed form, its calibration, the noise, the optimum."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comparisons.tasks.contractive_system import ContractiveSystem, System

seeds = st.integers(0, 2**32)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(seeds, st.booleans())
def test_system_matrix_has_singular_values_of_closed_form(seed, normalized):
    system = System.draw(generator(seed), normalized)
    # A is the first that is drawn; numpy's singular values share no code with the task
    a = torch.randn(4, 4, generator=generator(seed), dtype=torch.float64).numpy()
    sigma = np.linalg.svd(a, compute_uv=False)
    leak = 0.01 * sigma**2 / (sigma[0] ** 2 if normalized else 1.0)
    w = system.weight.numpy()
    # two products of 4 terms and one SVD of numbers up to 1: some dozens of roundings
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(w)), np.sort(1 - leak), atol=100 * 2e-16)
    assert np.linalg.norm(w, 2) == pytest.approx(1 - leak[-1], abs=100 * 2e-16)
    if normalized:  # eps is reached: the fastest mode forgets within 1 / eps = 100 steps
        assert np.linalg.eigvalsh(w)[0] == pytest.approx(0.99, abs=100 * 2e-16)


def test_system_entries_are_standard_normal():
    # 34 numbers a system: of 400 systems 13,600, whose mean is off by 1 / sqrt(13,600)
    drawn = [System.draw(generator(seed)) for seed in range(400)]
    numbers = torch.cat(
        [part.flatten() for s in drawn for part in (s.weight_ih, s.bias, s.readout, s.readout_bias)]
    )
    count = len(numbers)
    assert abs(numbers.mean()) < 5 / math.sqrt(count)
    # the variance of a squared normal number is 2
    assert abs(numbers.square().mean() - 1) < 5 * math.sqrt(2 / count)


@settings(deadline=None, max_examples=20)
@given(seeds, st.integers(1, 20), st.integers(1, 5))
def test_system_outputs_equal_plain_loop(seed, steps, size):
    system = System.draw(generator(seed))
    x = torch.randn(steps, size, 2, generator=generator(seed + 1), dtype=torch.float64)
    w, f, b, c, d = (
        part.numpy()
        for part in (
            system.weight, system.weight_ih, system.bias, system.readout, system.readout_bias
        )
    )  # fmt: skip
    h, outputs = np.zeros((size, 4)), []
    for inputs in x.numpy():
        h = np.maximum(h @ w.T + inputs @ f.T + b, 0)
        outputs.append(h @ c.T + d)
    # states grow by at most |F x + b| a step, so rounding does not grow beyond 1e-10 of them
    np.testing.assert_allclose(system.outputs(x).numpy(), np.stack(outputs), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("variant", ["20dB", "20dB-code"])
def test_calibrated_system_has_units_active_60_percent_of_time(variant):
    for seed in range(4):
        system = ContractiveSystem(1000, variant, seed).system
        x = torch.randn(1000, 100, 2, generator=generator(seed), dtype=torch.float64)
        active = (system.states(x) > 1e-3).double().mean((0, 1))
        # the states wander over hundreds of steps: 100 fresh sequences of 1000 steps count as a
        # few hundred independent ones, of which the share has a standard deviation below 0.03
        assert ((active - 0.6).abs() < 0.1).all(), active


def test_calibrated_bias_equals_100_plain_steps():
    system = System.draw(generator(5))
    x = torch.randn(3, 2, 2, generator=generator(6), dtype=torch.float64)
    w, f, b = system.weight.numpy(), system.weight_ih.numpy(), system.bias.numpy()
    for _ in range(100):
        h, count = np.zeros((2, 4)), np.zeros(4)
        for inputs in x.numpy():
            h = np.maximum(h @ w.T + inputs @ f.T + b, 0)
            count += (h > 1e-3).sum(0)
        b = b - 0.1 * (count / 6 - 0.6)
    np.testing.assert_allclose(system.calibrated(x).bias.numpy(), b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("variant", "snr"), [("20dB", 20), ("15dB", 15), ("10dB-code", 10)])
def test_targets_have_snr_of_variant_and_system_reaches_optimum(variant, snr):
    task = ContractiveSystem(300, variant, seed=3)
    data = task.realization
    clean = task.system.outputs(data.inputs.double().transpose(0, 1))
    noise = data.targets.double().transpose(0, 1) - clean
    ratio = (clean.square().mean() / noise.square().mean()).item()
    # 600,000 squared normal numbers: a relative standard deviation of sqrt(2 / 600,000)
    assert ratio == pytest.approx(10 ** (snr / 10), rel=5 * math.sqrt(2 / 600_000))
    assert abs(noise.mean() / noise.std()) < 5 / math.sqrt(600_000)

    (test,) = task.test_batches(300, 300, generator(0))
    outputs = task.system.outputs(test.inputs.double()).float()
    loss = task.loss(outputs, test.targets).item()
    assert task.optimum == pytest.approx(1 / (1 + 10 ** (snr / 10)), rel=1e-12)
    # sigma is set by the power of all sequences and judged by that of the 300 for testing, each of
    # which varies by the spread of the sequences' powers
    powers = clean.square().mean((0, 2))
    error = float(powers.std() / powers.mean()) * math.sqrt(1 / 300 + 1 / 1000)
    assert loss == pytest.approx(task.optimum, rel=4 * error + 4 * math.sqrt(2 / 180_000))
    assert task.metric(loss, 0.0) == 1 - loss
    assert task.accuracy(outputs, test.targets).item() == pytest.approx(1 - loss, abs=1e-6)


def test_baseline_is_loss_of_best_constant():
    task = ContractiveSystem(50, seed=2)
    (test,) = task.test_batches(300, 300, generator(0))
    mean = test.targets.mean((0, 1))
    best = task.loss(mean.expand_as(test.targets), test.targets).item()
    assert best == pytest.approx(task.baseline, rel=1e-5)
    for shift in ((0.1, 0.0), (0.0, -0.1)):
        other = (mean + torch.tensor(shift)).expand_as(test.targets)
        assert task.loss(other, test.targets) > best
    # predicting nothing at all leaves the whole power
    assert task.loss(torch.zeros_like(test.targets), test.targets).item() == pytest.approx(1.0)


def sequences(batches) -> set[bytes]:
    return {x.numpy().tobytes() for batch in batches for x in batch.inputs.unbind(1)}


def test_batches_shuffle_700_sequences_and_test_on_300_others():
    task = ContractiveSystem(4)
    batches = task.train_batches(10, generator(0))
    first, second = (list(islice(batches, 70)) for _ in range(2))
    test = list(task.test_batches(10, 1000, generator(0)))
    assert len(sequences(first)) == 700
    assert sequences(first) == sequences(second)
    assert not torch.equal(first[0].inputs, second[0].inputs)
    assert len(sequences(test)) == 300
    assert not sequences(first) & sequences(test)
    # inputs and targets stay together
    clean = task.system.outputs(first[3].inputs.double())
    assert (first[3].targets - clean).square().mean() < 0.05 * clean.square().mean()


@pytest.mark.parametrize("size", [3, 699, 700, 5000])
def test_train_batches_are_whole(size):
    batches = islice(ContractiveSystem(2).train_batches(size, generator(0)), 300)
    assert {batch.inputs.shape[1] for batch in batches} == {min(size, 700)}


def test_seed_draws_realisation_and_variant_only_noise():
    one, other = ContractiveSystem(20, seed=1), ContractiveSystem(20, seed=2)
    assert not torch.equal(one.system.weight, other.system.weight)
    assert not torch.equal(one.realization.inputs, other.realization.inputs)
    louder = ContractiveSystem(20, "15dB", seed=1)
    assert torch.equal(one.system.bias, louder.system.bias)
    assert torch.equal(one.realization.inputs, louder.realization.inputs)
    again = ContractiveSystem(20, seed=1)
    assert torch.equal(one.realization.targets, again.realization.targets)


def test_contractive_system_refuses_unknown_variant():
    with pytest.raises(ValueError, match="20dB"):
        ContractiveSystem(10, "30dB")


def test_memoryless_baseline_is_that_of_a_fit_to_step_and_input():
    # Over the training set, the mean of y - f(x) is least for f = E[y | x, t]. A fit of each step's
    # outputs by cubic splines in each preactivation knows W, F and b and nothing of the states.
    task = ContractiveSystem(6, seed=1)
    data, system = task.realization, task.system
    x, y = data.inputs.double(), data.targets.double()
    drive = x @ system.weight_ih.mT + system.bias
    error = 0.0
    for t in range(6):
        knots = torch.linspace(-4, 4, 9, dtype=x.dtype)
        features = [torch.ones(1000, 1, dtype=x.dtype), drive[:, t]]
        features += [(drive[:, t] - knot).relu() for knot in knots]
        design = torch.cat(features, 1)
        fit = torch.linalg.lstsq(design[:700], y[:700, t], driver="gelsd").solution
        error += (design[700:] @ fit - y[700:, t]).square().mean().item()
    # 50 numbers fitted to 700 sequences add 7 % of what is left; splines miss little more
    assert error / 6 / data.power == pytest.approx(task.memoryless, rel=0.15)
    assert error / 6 / data.power > 0.98 * task.memoryless
    assert task.optimum < task.memoryless < task.baseline


def test_memoryless_baseline_of_one_step_is_the_optimum():
    # The first state is known from the first input: the noise of 600 test outputs is left.
    task = ContractiveSystem(1, "10dB", seed=2)
    # Noise is set by the power of 1,000 sequences and judged by that of 300.
    assert task.memoryless == pytest.approx(task.optimum, rel=0.3)
