"""Summaries of runs over their seeds."""

from dataclasses import replace

import pytest

from comparisons.results.summary import Summary, labels, ranked, summarize
from comparisons.tasks import TASKS
from comparisons.tasks.adding import Adding
from comparisons.tasks.copying import Copying


def test_summarize_groups_seeds_and_sorts_by_name_where_one_is_single(make_result):
    results = [
        make_result("cayley", seed=1, losses=(2.0, 0.4)),
        make_result("expm", losses=(2.0, 0.2)),
        make_result("cayley", seed=0, losses=(2.0, 0.2)),
        make_result("cayley", losses=(2.0, 0.1), hidden_size=16),
        make_result("lstm", losses=(2.0, 0.01), unitary_optimizer=None),
        make_result("cayley", length=7, losses=(2.0, 0.9)),
        make_result("cayley", losses=(2.0, 0.3), iterations=7),
    ]
    groups = summarize(results)
    assert groups.keys() == {("copying", "", 5), ("copying", "", 7)}
    found = groups["copying", "", 5]
    assert [(s.model, s.setting.model.hidden_size, len(s.results)) for s in found] == [
        ("cayley", 8, 2), ("cayley", 8, 1), ("cayley", 16, 1), ("expm", 8, 1), ("lstm", 8, 1),
    ]  # fmt: skip
    assert [result.run.seed for result in found[0].results] == [0, 1]
    assert found[0].loss == pytest.approx(0.3)
    assert found[0].losses == (0.2, 0.4)
    assert found[0].task.length == 5


def test_summarize_sorts_by_loss_where_all_have_several_seeds(make_result):
    losses = {"cayley": 0.3, "expm": 0.1, "lstm": 0.2}
    results = [
        make_result(model, seed=seed, losses=(2.0, loss + seed / 10))
        for model, loss in losses.items()
        for seed in (0, 1)
    ]
    (summaries,) = summarize(results).values()
    assert [summary.model for summary in summaries] == ["expm", "lstm", "cayley"]
    assert ranked(summaries)
    (summaries,) = summarize(results[:-1]).values()
    assert [summary.model for summary in summaries] == ["cayley", "expm", "lstm"]
    assert not ranked(summaries)


def test_summary_is_solved_below_a_share_of_what_needs_no_memory(make_result):
    # adding, T = 5: the last number alone gives 1/6 - 1/36 = 0.1389, a tenth of it 0.0139.
    result = make_result(task="adding", losses=(1.0, 0.0145, 0.0138))
    assert result.baseline / 10 > 0.0145  # it is below a tenth of the constant baseline
    assert Summary((result,), Adding(5)).solved_at() == "6"
    old = replace(result, memoryless=None)  # as read from an older file
    assert Summary((old,), Adding(5)).solved_at() == "3"


def test_summary_mean_needs_a_value_of_every_seed(make_result):
    seeds = [make_result(seed=seed, losses=(2.0, loss)) for seed, loss in enumerate((0.1, 0.3))]
    summary = Summary(tuple(seeds), Copying(5))
    assert summary.mean(lambda result: result.final.test_loss) == "0.2 ± 0.14"
    assert summary.mean(lambda result: 1.0 if result.run.seed else None) == "–"


def test_summary_counts_the_seeds_that_solved(make_result):
    # The baseline is 10 ln 8 / 25 = 0.8318, a tenth of it 0.0832.
    seeds = [make_result(losses=(2.0, 0.08, 0.01)), make_result(seed=1, losses=(2.0, 0.5, 0.09))]
    assert Summary(tuple(seeds[:1]), Copying(5)).solved_at() == "3"
    assert Summary(tuple(seeds), Copying(5)).solved_at() == "3 (1/2 seeds)"


def test_summary_name_tells_a_gated_layer(make_result):
    task = Copying(5)
    unitary = Summary((make_result("lie_exp", layer="gru"),), task)
    assert unitary.label == "lie_exp GRU, n = 8"
    assert unitary.cells("")["model"] == "lie_exp GRU"
    assert Summary((make_result("lie_exp"),), task).label == "lie_exp, n = 8"
    gru = make_result("gru", layer="gru", unitary_optimizer=None)
    assert Summary((gru,), task).name == "gru"


def test_labels_tell_summaries_of_one_model_apart(make_result):
    def summary(**setting):
        return Summary((make_result("projunn_d", **setting),), Copying(5))

    alone = summary(hidden_size=16)
    assert labels([alone, summary()]) == ["projunn_d, n = 16", "projunn_d, n = 8"]
    ranked, usual, longer = summary(options=(("rank", 2),)), summary(), summary(iterations=70)
    found = labels([alone, ranked, usual, longer])
    assert found[0] == "projunn_d, n = 16"
    assert [text.replace("\n", " ") for text in found[1:]] == [
        "projunn_d, n = 8, 6 × 4, rank=2",
        "projunn_d, n = 8, 6 × 4",
        "projunn_d, n = 8, 70 × 4",
    ]
    assert all(len(line) <= 40 for text in found for line in text.split("\n"))


def test_summary_measured_adds_the_best_of_several_starts(make_result):
    def summary(task, *losses):
        found = [
            make_result(task=task, length=5, seed=seed, losses=(2.0, loss))
            for seed, loss in enumerate(losses)
        ]
        return Summary(tuple(found), TASKS.get(task)(5))

    starts = summary("unitary_system", 0.5, 0.125, 0.25)
    assert starts.measured() == f"{starts.mean(starts.metric)}, best of 3: 0.125"
    assert starts.cells("")["normalised MSE"] == starts.measured()
    assert summary("unitary_system", 0.5).measured() == "0.5"
    # Where the seed draws the problem too, the best is the luckiest.
    assert "best" not in summary("contractive_system", 0.5, 0.125).measured()


def test_summary_training_of_a_baseline_omits_what_schemes_alone_have(make_result):
    told = {
        model: Summary((make_result(model, nonlinearity="relu", bias=True),), Copying(5)).training
        for model in ("cayley", "rnn", "lstm", "contractive_rnn")
    }
    assert {"relu", "bias"} <= set(told["cayley"].split(", "))
    assert "relu" in told["rnn"]
    assert not any(
        word in told[model] for model in ("lstm", "contractive_rnn") for word in ("relu", "bias")
    )
