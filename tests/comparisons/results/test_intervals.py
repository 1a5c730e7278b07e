"""Intervals of means over seeds, and which models may be the best."""

import math

import numpy as np
import pytest
from scipy import stats

from comparisons.results.intervals import LEVEL, Estimate, among_best, estimate, welch

REPETITIONS = 2000
# Three standard deviations of the share of successes, if each has the probability LEVEL.
SLACK = 3 * math.sqrt(LEVEL * (1 - LEVEL) / REPETITIONS)


def test_estimate_equals_students_interval_of_scipy():
    values = [0.3, 0.1, 0.25, 0.2]
    found = estimate(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(LEVEL)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert (found.mean, found.seeds) == (pytest.approx(0.2125), 4)


def test_estimate_of_two_values_has_the_closed_form():
    # The quantile of Student's distribution with one degree of freedom, Cauchy's, is a tangent.
    half = math.tan(math.pi * LEVEL / 2)
    assert estimate([-1.0, 1.0]) == Estimate(0.0, pytest.approx(-half), pytest.approx(half), 2)


def test_estimate_of_positive_values_is_that_of_their_logarithms():
    found = estimate([1e-4, 1e-2], positive=True)
    half = math.tan(math.pi * LEVEL / 2) * math.log(10)
    assert found.mean == pytest.approx(1e-3)
    assert found.low == pytest.approx(1e-3 * math.exp(-half))
    assert found.high == pytest.approx(1e-3 * math.exp(half))
    assert estimate([0.0, 2.0], positive=True) == estimate([0.0, 2.0])


@pytest.mark.parametrize("values", [[0.5], [0.5, math.inf]])
def test_estimate_has_no_interval_without_a_second_finite_value(values):
    assert estimate(values, positive=True) == Estimate(values[-1], None, None, len(values))


def test_estimate_of_nan_is_nan():
    assert math.isnan(estimate([0.5, math.nan]).mean)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("seeds", [2, 5])
def test_estimate_covers_the_mean_as_often_as_it_says(seeds, positive):
    draw = np.random.default_rng(seeds).normal(1.0, 2.0, (REPETITIONS, seeds))
    truth = math.e if positive else 1.0
    intervals = [estimate(list(np.exp(row) if positive else row), positive) for row in draw]
    covered = np.mean([i.low <= truth <= i.high for i in intervals])
    assert abs(covered - LEVEL) < SLACK


def test_estimate_within_limits_keeps_what_can_be_reached():
    found = Estimate(99.0, 97.0, 101.0, 3)
    assert found.within(0.0, 100.0) == Estimate(99.0, 97.0, 100.0, 3)
    assert found.within(98.0, math.nan) == Estimate(99.0, 98.0, 101.0, 3)
    single = Estimate(99.0, None, None, 1)
    assert single.within(0.0, 50.0) == single


def test_welch_equals_scipy_and_knows_the_cases_without_a_spread():
    first, second = [0.1, 0.3, 0.2], [0.5, 0.4, 0.9, 0.2]
    assert welch(first, second) == pytest.approx(
        stats.ttest_ind(first, second, equal_var=False).pvalue
    )
    assert welch([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert welch([1.0, 1.0], [2.0, 2.0]) == 0.0
    assert welch([1.0], second) is welch([1.0, math.nan], second) is None


def test_among_best_equals_welchs_tests_one_by_one():
    draw = np.random.default_rng(0)
    losses = [list(np.exp(draw.normal(k / 2, 0.5, 5))) for k in range(6)]
    expected = []
    for own in losses:
        p_values = [
            stats.ttest_ind(np.log(own), np.log(x), equal_var=False, alternative="greater").pvalue
            for x in losses
            if x is not own
        ]
        expected.append(min(p_values) >= 0.05 / 5)
    assert among_best(losses) == tuple(expected)
    assert expected[0]
    assert not expected[-1]


def test_among_best_marks_the_truly_best_as_often_as_it_says():
    draw = np.random.default_rng(1)
    repetitions = 300
    slack = 3 * math.sqrt(LEVEL * (1 - LEVEL) / repetitions)
    for centres in ([0, 0], [0] * 10, [0, 0, 3, 3, 3]):
        samples = np.exp(draw.normal(0, 1, (repetitions, len(centres), 5)) + np.c_[centres])
        marked = np.mean([among_best(losses.tolist())[0] for losses in samples])
        assert marked > LEVEL - slack


def test_among_best_is_not_widened_by_a_leader_with_a_wide_spread():
    steady, worse = [0.010, 0.011, 0.012], [0.30, 0.31, 0.32]
    wild = [1e-9, 1e-9, 0.5]  # the least mean of logarithms
    assert among_best([steady, worse, wild]) == (True, False, True)


def test_among_best_marks_nothing_without_an_order():
    assert among_best([]) == ()
    assert among_best([[0.1, 0.2]]) == (False,)
    assert among_best([[0.1, 0.2], [0.3]]) == (False, False)


def test_among_best_of_losses_without_a_spread_goes_by_the_means():
    assert among_best([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]) == (True, True, False)
    assert among_best([[0.0, 0.0], [0.0, 0.1]]) == (True, True)
    assert among_best([[1.0, 1.1], [1.0, math.inf], [math.nan, 1.0]]) == (True, False, False)
