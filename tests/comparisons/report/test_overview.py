"""Who solves what."""

from dataclasses import replace

import pytest

LSTM = {"defect": None, "unitary_optimizer": None}


def test_overview_sums_up_the_models(build, copying, make_result):
    results = [
        *copying("cayley", 1e-2, 1e-2),
        *copying("lstm", 1.0, 1.0, **LSTM),
        *[make_result("cayley", length=200, seed=s, losses=(2.0, 0.09, 0.07)) for s in (0, 1)],
    ]
    overview = build(results).overview
    cayley, lstm = overview.models
    assert (cayley.model, cayley.solved, cayley.tried) == ("cayley", ("copying-T100",), 2)
    assert cayley.parameters == (1234, 1234)
    assert cayley.ms_per_step == 1.5
    assert cayley.seconds == pytest.approx(0.4)
    assert (lstm.kind, lstm.tried, lstm.mean_score) == ("baseline", 1, 0.0)
    text = " ".join(overview.sentences)
    assert "1 scheme and 1 baseline on 2 tasks, with 2 seeds each." in text
    assert "cayley solves the most, with all seeds: 1 of the 2 tasks" in text
    assert "No model solves Copying memory (T = 200)" in text


def test_overview_says_that_the_first_model_is_not_unitary(build, copying):
    results = [*copying("spectral_band", 1e-3, 1e-3), *copying("landing", 1.0, 1.0)]
    overview = build(
        [replace(result, deviation="not unitary: σ = 1 ± r") for result in results]
    ).overview
    found = [sentence for sentence in overview.sentences if "not unitary" in sentence]
    assert found == ["spectral_band is not unitary: σ = 1 ± r."]


def test_overview_of_nothing_is_empty(build):
    overview = build([]).overview
    assert overview.sentences == overview.tasks == overview.models == ()


def test_overview_names_the_tasks_where_a_model_is_among_the_best(build, copying):
    results = [*copying("cayley", 1e-3, 1.1e-3, 1.2e-3), *copying("expm", 0.1, 0.11, 0.12)]
    overview = build(results).overview
    assert {model.model: model.best_in for model in overview.models} == {
        "cayley": ("copying-T100",), "expm": (),
    }  # fmt: skip
    assert "Single seeds" not in " ".join(overview.sentences)


def test_overview_says_that_single_seeds_have_no_order(build, copying):
    overview = build([*copying("cayley", 1e-3, 1.1e-3), *copying("expm", 0.1)]).overview
    assert "1 to 2 seeds" in overview.sentences[0]
    assert overview.sentences[-1].startswith("Single seeds have no order")


def test_overview_says_that_nothing_is_solved(build, copying):
    overview = build(copying("cayley", 1e-3, 0.1)).overview
    assert "No model solves a task with all of its seeds." in overview.sentences
