"""How the models stand on one task."""

import math
from dataclasses import replace

import pytest

# A copying task of length 100 has the memoryless baseline 0.1733, so that 0.0173 solves it.
LSTM = {"defect": None, "unitary_optimizer": None}


def test_standings_lists_solvers_by_time_and_then_the_others_by_score(build, copying):
    slow = [
        replace(r, curve=tuple(replace(p, seconds=9.0) for p in r.curve))
        for r in copying("qr", 1e-3, 1e-3)
    ]
    report = build(
        [
            *slow,
            *copying("cayley", 1e-2, 1e-2),
            *copying("expm", 1e-3, 0.1),
            *copying("lstm", 0.05, 0.06, **LSTM),
        ]
    )
    (task,) = report.overview.tasks
    assert [(s.model, s.kind, s.solved, s.seeds) for s in task.standings] == [
        ("cayley", "scheme", 2, 2), ("qr", "scheme", 2, 2),
        ("expm", "scheme", 1, 2), ("lstm", "baseline", 0, 2),
    ]  # fmt: skip
    assert [s.model for s in task.solvers] == ["cayley", "qr"]
    assert task.fastest.model == "cayley"
    assert (task.section, task.form, task.length) == ("copying-T100", "T = 100", 100)
    cayley, _, expm, lstm = task.standings
    assert (cayley.iterations, cayley.seconds) == (6, pytest.approx(0.2))
    assert (lstm.iterations, lstm.seconds) == (None, None)
    assert expm.iterations == 6  # of the seed that solves it
    assert cayley.total_seconds == pytest.approx(0.2)


def test_standings_scores_0_at_the_baseline_and_1_at_the_optimum(
    make_result, imaginary, finished, build
):
    baseline = make_result().without_memory
    losses = {"cayley": imaginary.optimum, "expm": baseline, "qr": 2 * baseline}
    results = [finished(make_result(model, losses=(2.0, x))) for model, x in losses.items()]
    (task,) = build(results).overview.tasks
    scores = {s.model: s.score.mean for s in task.standings}
    below = -baseline / (baseline - imaginary.optimum)
    assert scores == {
        "cayley": pytest.approx(1), "expm": pytest.approx(0), "qr": pytest.approx(below),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("losses", "scores"),
    [((0.5, 0.25), (2 / 3, 1.0)), ((1.5, 2.0), (-0.5, -1.0))],
    ids=["below the baseline", "above it"],
)
def test_standings_scores_a_text_by_its_least_loss(
    make_result, imaginary, finished, build, monkeypatch, losses, scores
):
    monkeypatch.setattr(imaginary, "tokens", True)
    results = [
        replace(finished(make_result(model, losses=(2.0, loss))), memoryless=1.0)
        for model, loss in zip(("cayley", "expm"), losses, strict=True)
    ]
    (task,) = build(results).overview.tasks
    assert not task.solvable
    assert task.solvers == ()
    found = {s.model: s.score.mean for s in task.standings}
    assert found == {"cayley": pytest.approx(scores[0]), "expm": pytest.approx(scores[1])}


def test_standings_marks_ties_as_best(build, copying):
    results = [
        *copying("cayley", 1e-3, 1.1e-3, 1.2e-3),
        *copying("expm", 1.05e-3, 1.15e-3, 1.2e-3),
        *copying("qr", 0.1, 0.11, 0.12),
    ]
    (task,) = build(results).overview.tasks
    assert {s.model: s.best for s in task.standings} == {"cayley": True, "expm": True, "qr": False}


def test_standings_marks_nothing_where_a_model_has_a_single_seed(build, copying):
    results = [*copying("cayley", 1e-3, 1.1e-3), *copying("expm", 0.1)]
    (task,) = build(results).overview.tasks
    assert not any(s.best for s in task.standings)
    expm = task.standings[1]
    assert expm.metric.low is expm.score.low is expm.loss.low is None


def test_standings_takes_the_size_that_solves_and_then_the_least_loss(build, copying):
    report = build(
        [
            *copying("cayley", 1e-3, 0.1, hidden_size=8),
            *copying("cayley", 1e-2, 1.1e-2, hidden_size=16),
            *copying("expm", 0.1, 0.1, hidden_size=8),
            *copying("expm", 0.05, 0.05, hidden_size=16),
        ]
    )
    (task,) = report.overview.tasks
    (section,) = report.sections
    chosen = {s.model: section.summaries[s.place].setting.model.hidden_size for s in task.standings}
    assert chosen == {"cayley": 16, "expm": 16}
    assert [s.others for s in task.standings] == [1, 1]


def test_standings_keeps_intervals_within_what_can_be_reached(build, copying):
    results = [
        replace(r, curve=tuple(replace(p, test_accuracy=accuracy) for p in r.curve))
        for r, accuracy in zip(copying("cayley", 1e-3, 1.6e-2), (1.0, 0.5), strict=True)
    ]
    (task,) = build(results).overview.tasks
    (cayley,) = task.standings
    assert (cayley.metric.mean, cayley.metric.low, cayley.metric.high) == (75, 0, 100)
    assert cayley.score.high == 1.0
    assert not cayley.best  # there is no other model


def test_standings_marked_are_by_mean_loss(build, copying):
    results = [
        *copying("cayley", 2e-3, 1.1e-3),
        *copying("expm", 1e-3, 1.2e-3),
        *copying("qr", 1e-3, 2e-3),
    ]
    (task,) = build(results).overview.tasks
    assert [standing.model for standing in task.marked] == ["expm", "qr", "cayley"]


def test_standings_score_is_undefined_where_no_memory_is_needed(build, copying):
    results = [replace(r, baseline=0.0, memoryless=0.0) for r in copying("cayley", 0.1, 0.1)]
    (task,) = build(results).overview.tasks
    assert math.isnan(task.standings[0].score.mean)
