"""Expected times of runs and the order that follows from them."""

import json

import pytest

from comparisons.plan import costs


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    rows = [
        {"task": task, "model": "cayley", "n": 8, "T": 5, "batch": 4, "iterations": 6, "seconds": s}
        for task, s in (("copying", 12.0), ("adding", 3.0))
    ]
    path = tmp_path / "quick.json"
    path.write_text(json.dumps({"runs": rows}))
    monkeypatch.setattr(costs, "RECORDED", path)
    costs._recorded.cache_clear()
    yield
    costs._recorded.cache_clear()


def test_expected_seconds_go_with_iterations_length_and_batch(recorded, make_run):
    assert costs.expected_seconds(make_run()) == pytest.approx(12)
    assert costs.expected_seconds(make_run(iterations=3, length=10)) == pytest.approx(12)
    assert costs.expected_seconds(make_run(batch_size=1)) == pytest.approx(3)
    assert costs.expected_seconds(make_run(length=21)) is None  # more than four times
    assert costs.expected_seconds(make_run("expm")) is None
    assert costs.expected_seconds(make_run(hidden_size=9)) is None


def test_cheapest_first_takes_cheap_section_and_its_longest_run_first(recorded, make_run):
    dear = make_run(task="copying")
    short, long = (make_run(task="adding", iterations=count) for count in (6, 9))
    later = make_run(task="adding", seed=1)
    assert costs.cheapest_first([later, dear, short, long]) == [long, short, dear, later]


def test_costs_without_record_are_steps_of_all_sequences(recorded, make_run):
    runs = [make_run("expm"), make_run("expm", iterations=2)]
    assert costs.costs(runs) == ([120.0, 40.0], False)
    assert costs.cheapest_first(runs) == runs  # nothing is expected, so nothing moves
    assert costs.costs([make_run(), runs[0]]) == ([12.0, 12.0], False)
