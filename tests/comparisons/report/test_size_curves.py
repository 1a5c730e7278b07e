"""Curves over the number of units, ours and published."""

from dataclasses import replace

import pytest

from comparisons.papers import PAPERS
from comparisons.report.size_curves import size_curves
from comparisons.report.style import styles
from comparisons.tasks import TASKS

EMAMI = PAPERS["emami2019"]
PAPER = ("emami2019",)
STYLES = styles(["svd_projection"], ["lstm", "rnn"])


def loss(model: str, size: int, seed: int) -> float:
    """Made up: each number is another one."""
    return {"svd_projection": 0.2, "rnn": 0.1, "lstm": 0.15}[model] + 0.01 * seed - size / 1000


@pytest.fixture(scope="module")
def results(make_result):
    made = []
    for training in EMAMI.trainings:
        (model,) = training.models
        size = training.setting.model.hidden_size
        if training.task == "contractive_system" and model in STYLES and size in (4, 6, 8):
            for seed in (0, 1, 2):
                result = make_result(model, task="contractive_system", length=3, seed=seed)
                final = replace(result.curve[-1], test_loss=loss(model, size, seed))
                run = replace(result.run, length=1000, setting=training.setting, variant="15dB")
                made.append(replace(result, run=run, curve=(*result.curve[:-1], final)))
    return made


@pytest.fixture(scope="module")
def task():
    return TASKS.get("contractive_system")(1000, "15dB")


@pytest.fixture(scope="module")
def curves(results, task):
    return {curve.label: curve for curve in size_curves(task, results, STYLES, PAPER)}


def test_size_curves_hold_the_metric_of_every_seed(curves):
    ours = {name: curve for name, curve in curves.items() if not curve.published}
    assert ours.keys() == {"svd_projection", "rnn", "lstm"}
    for model, curve in ours.items():
        assert list(curve.values) == [4, 6, 8]
        for size, values in curve.values.items():
            # R^2 is 1 minus the loss
            assert sorted(values) == pytest.approx(
                sorted(1 - loss(model, size, seed) for seed in (0, 1, 2))
            )
    assert {name for name, curve in ours.items() if curve.unitary} == {"svd_projection"}


def test_size_curves_add_published_values_on_the_same_data(curves):
    published = {name: curve for name, curve in curves.items() if curve.published}
    assert published.keys() == {"RNN: Emami et al. 2019", "URNN: Emami et al. 2019"}
    urnn = published["URNN: Emami et al. 2019"]
    assert urnn.unitary
    assert urnn.style == STYLES["svd_projection"]
    # read off the poster, ±.002; it has no LSTM at 15 dB
    assert urnn.values == {
        2: (0.867,), 3: (0.907,), 4: (0.920,), 6: (0.939,), 7: (0.940,), 8: (0.933,), 9: (0.946,),
        10: (0.944,), 12: (0.949,), 14: (0.952,),
    }  # fmt: skip


def test_size_curves_leave_out_published_values_of_other_data_lengths_and_papers(results, task):
    quieter = [replace(r, run=replace(r.run, variant="20dB")) for r in results]
    found = size_curves(TASKS.get("contractive_system")(1000), quieter, STYLES, PAPER)
    assert {c.label: c.values[2] for c in found if c.published} == {
        "RNN: Emami et al. 2019": (0.915,),
        "URNN: Emami et al. 2019": (0.853,),
        "LSTM: Emami et al. 2019": (0.912,),
    }
    shorter = size_curves(TASKS.get("contractive_system")(100), results, STYLES, PAPER)
    assert shorter
    assert not any(curve.published for curve in shorter)
    assert not any(curve.published for curve in size_curves(task, results, STYLES))


def test_size_curves_need_three_sizes(results, task):
    few = [result for result in results if result.run.setting.model.hidden_size != 6]
    assert size_curves(task, few, STYLES, PAPER) == ()


def test_size_curves_name_two_settings_of_a_model(results, task):
    slow = [
        replace(r, run=replace(r.run, setting=r.run.setting.changed(clip=1.0)))
        for r in results
        if r.run.model == "rnn"
    ]
    labels = [c.label for c in size_curves(task, [*results, *slow], STYLES) if not c.published]
    assert sorted(labels) == sorted(
        [
            "svd_projection",
            "lstm",
            "rnn, adam 0.01, relu, bias",
            "rnn, adam 0.01, clip ±1, relu, bias",
        ]
    )


def test_size_curves_of_one_model_differ_in_style_and_match_published_ones(make_result):
    training = {
        (t.setting.training.optimizer.lr, t.setting.model.hidden_size): t
        for t in EMAMI.trainings
        if (t.task, t.models) == ("permuted_mnist", ("rnn",))
    }
    result = make_result("rnn", length=3)
    results = [
        replace(result, run=replace(result.run, setting=training[lr, size].setting))
        for lr in (1e-3, 1e-4)
        for size in (16, 32, 48)
    ]
    ours, published = [], []
    for curve in size_curves(TASKS.get("permuted_mnist")(784, "mnist"), results, STYLES, PAPER):
        (published if curve.published else ours).append(curve)
    assert [curve.label for curve in published] == [
        "RNN, lr 0.0001: Emami et al. 2019", "RNN, lr 0.001: Emami et al. 2019",
    ]  # fmt: skip
    assert ["0.0001" in curve.label for curve in ours] == [True, False]
    assert [curve.style for curve in ours] == [curve.style for curve in published]
    first, second = (curve.style for curve in ours)
    assert first == STYLES["rnn"]
    assert second.color == first.color
    assert second.dash != first.dash
    assert second.marker != first.marker


def test_report_draws_the_papers_values_of_runs_that_name_it(results, build):
    named = [replace(r, run=replace(r.run, paper="emami2019")) for r in results]
    (section,) = build(named).sections
    assert any(curve.published for curve in section.size_curves)


def test_report_takes_the_paper_of_older_files_from_the_plan(results, build):
    (section,) = build(results, "emami2019").sections
    assert any(curve.published for curve in section.size_curves)


def test_report_draws_no_published_values_without_a_paper(results, build):
    (section,) = build(results).sections
    assert section.size_curves
    assert not any(curve.published for curve in section.size_curves)
