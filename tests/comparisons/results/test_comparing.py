"""Two comparisons side by side."""

from dataclasses import replace

import pytest
from scipy import stats

from comparisons.results.comparing import differences, pairs


def finished(make_result, seeds, losses, **run):
    return [
        make_result(seed=seed, losses=(2.0, loss), **run)
        for seed, loss in zip(seeds, losses, strict=True)
    ]


def test_pairs_join_equal_configurations_over_their_seeds(make_result):
    first = finished(make_result, (0, 1, 2), (0.1, 0.2, 0.3))
    second = finished(make_result, (2, 3), (0.5, 0.7))
    (pair,) = pairs(first, second)
    assert pair.first == tuple(first)
    assert pair.second == tuple(second)
    assert pair.differences == {}
    assert pair.difference == pytest.approx(0.4)
    expected = stats.ttest_ind([0.1, 0.2, 0.3], [0.5, 0.7], equal_var=False).pvalue
    assert pair.p_value == pytest.approx(expected)


def test_pairs_join_the_configurations_with_the_fewest_differences(make_result):
    (first,) = finished(make_result, [0], [0.1], batch_size=4)
    (near,) = finished(make_result, [0], [0.2], batch_size=5)
    (far,) = finished(make_result, [0], [0.3], batch_size=6, clip=1.0)
    (other,) = finished(make_result, [0], [0.3], model="gru", batch_size=5)
    found = pairs([first], [far, other, near])
    sides = [(pair.first, pair.second) for pair in found]
    assert len(sides) == 3
    assert ((first,), (near,)) in sides
    assert ((), (far,)) in sides
    assert ((), (other,)) in sides
    (joined,) = (pair for pair in found if pair.first)
    assert joined.differences == {"batch_size": (4, 5)}
    assert joined.p_value is None
    assert all(pair.difference is None for pair in found if not pair.first)


@pytest.mark.parametrize(("second", "expected"), [(0.1, 1.0), (0.2, 0.0)])
def test_pair_p_value_is_defined_without_spread(make_result, second, expected):
    first = finished(make_result, (0, 1), (0.1, 0.1))
    (pair,) = pairs(first, finished(make_result, (0, 1), (second, second)))
    assert pair.p_value == expected


def test_differences_heed_neither_seed_nor_words(make_result):
    one = make_result(seed=0, source="here")
    other = make_result(seed=1, source="there")
    assert differences(one, other) == {}
    other = replace(other, run=replace(other.run, device="cuda"))
    assert differences(one, other) == {"device": ("cpu", "cuda")}
