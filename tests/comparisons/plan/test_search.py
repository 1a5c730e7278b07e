"""Spaces, trials and budgets of a search, and the settings that it finds."""

import math
from dataclasses import replace

import pytest

from comparisons.models import MODELS, is_baseline
from comparisons.papers import PAPERS
from comparisons.plan import plan
from comparisons.plan.changes import changed
from comparisons.plan.search import FIRST_SEED, Search, SearchError, seekers, settled
from comparisons.plan.spaces import read_space, space_of
from comparisons.records import Failure
from comparisons.studies import Dimension
from comparisons.tasks import TASKS, Task
from unitary_zoo import Parametrization, UnitaryRNN

pytest.importorskip("optuna", reason="a search chooses its trials by Optuna")


@pytest.fixture
def finish(make_result):
    """A result of a run with this validation loss; its test loss is the opposite."""

    def make(run, loss):
        result = make_result(losses=(2.0, 10.0 - (loss or 0.0)))
        curve = tuple(replace(point, valid_loss=loss) for point in result.curve)
        return replace(result, run=run, curve=curve)

    return make


def search(seeker, outcome):
    """Let a seeker search to the end; returns its study and the runs of its trials."""
    asked = []
    while runs := seeker.ask():
        asked += runs
        seeker.tell({run.id: outcome(run) for run in runs})
    return seeker.study, asked


def distance(run, best=3e-3):
    """A loss that is least at a learning rate."""
    return abs(math.log(run.setting.training.optimizer.lr / best))


def test_search_has_one_budget_and_the_default_as_first_trial(finish):
    runs = plan("smoke", ["copying"], seeds=[0, 1])
    found = seekers(runs, Search(4, "random"))
    assert [seeker.study.model for seeker in found] == [run.model for run in runs if not run.seed]
    for seeker in found:
        study, asked = search(seeker, lambda run: finish(run, distance(run)))
        assert len(study.trials) == len(asked) == study.budget == 4
        assert {run.seed for run in asked} == {FIRST_SEED}
        assert all(run.setting.evaluation.validation_size == 32 for run in asked)
        first, own = asked[0].setting, seeker.run.setting
        assert replace(first, evaluation=own.evaluation, source=own.source) == own
        assert {d.name for d in study.space} <= {"lr", "unitary_lr", "init"}
        assert ("unitary_lr" in study.trials[0].values) != is_baseline(study.model)
        for dimension in study.space:
            assert all(dimension.holds(trial.values[dimension.name]) for trial in study.trials)
            if dimension.name == "init":
                cls, n = Parametrization.get(study.model), study.hidden_size
                for init in dimension.choices:
                    cls(n).reset_parameters(init=init)


def test_search_seed_is_none_of_the_runs():
    runs = plan("smoke", ["copying"], ["gru"], seeds=[FIRST_SEED, FIRST_SEED + 1])
    (seeker,) = seekers(runs, Search(1))
    assert {run.seed for run in seeker.ask()} == {FIRST_SEED + 2}


def test_search_settles_every_seed_by_validation_and_says_so(finish):
    runs = plan("smoke", ["copying"], ["gru"], seeds=[0, 1])
    (seeker,) = seekers(runs, Search(6, space=(Dimension("lr", 1e-4, 1e-1),)))
    study, asked = search(seeker, lambda run: finish(run, distance(run)))
    best = min(asked, key=distance)
    assert study.best.run == best.id
    final = settled(runs, [study])
    assert [run.seed for run in final] == [0, 1]
    for run in final:
        assert run.setting.training == best.setting.training
        assert run.setting.evaluation == runs[0].setting.evaluation
        assert "6 trials (tpe, seed 1000) over lr [0.0001, 0.1]" in run.setting.source
    assert settled(runs, []) == runs


def test_search_asks_the_same_again_and_tpe_learns(finish):
    (run,) = plan("smoke", ["copying"], ["gru"])

    def rates(budget, best):
        (seeker,) = seekers([run], Search(budget))
        _, asked = search(seeker, lambda run: finish(run, distance(run, best)))
        return [run.setting.training.optimizer.lr for run in asked]

    assert rates(14, 2e-2) == rates(14, 2e-2)
    low, high = rates(14, 2e-4), rates(14, 2e-2)
    assert low[:4] == high[:4]  # the default, and three at random
    assert low[4:] != high[4:]
    assert sum(low[4:]) < sum(high[4:])


def test_search_counts_failures_and_keeps_the_default_if_all_fail(finish):
    (run,) = plan("smoke", ["copying"], ["gru"])

    def diverge(run):
        if run.setting.training.optimizer.lr > 2e-3:
            return Failure(run, "DivergedError: it did", "", "", "DivergedError")
        return finish(run, distance(run))

    (seeker,) = seekers([run], Search(8))
    study, _ = search(seeker, diverge)
    assert len(study.trials) == 8
    assert 0 < sum(trial.loss is None for trial in study.trials) < 8
    (seeker,) = seekers([run], Search(2))
    study, _ = search(seeker, lambda run: Failure(run, "no", "", ""))
    assert study.best is None
    (same,) = settled([run], [study])
    assert same.id == run.id
    assert "all of 2 trials" in same.setting.source
    # A result without a validation loss must not be chosen by its test loss.
    (seeker,) = seekers([run], Search(2))
    study, _ = search(seeker, lambda run: finish(run, None))
    assert study.best is None


def test_search_by_grid_tries_each_point_once_and_stops_at_the_budget(finish):
    (run,) = plan("smoke", ["copying"], ["gru"])

    def points(budget, *space):
        (seeker,) = seekers([run], Search(budget, "grid", space))
        study, _ = search(seeker, lambda run: finish(run, distance(run)))
        return [tuple(trial.values.values()) for trial in study.trials]

    choices = Dimension("lr", choices=(1e-2, 1e-3, 1e-4)), Dimension("batch_size", choices=(4, 8))
    whole = {(lr, size) for lr in choices[0].choices for size in (4, 8)}
    assert set(points(9, *choices)) == whole
    assert len(points(9, *choices)) == 6
    assert points(9, *choices)[0] == (1e-3, 8)  # the default comes first
    some = points(4, *choices)
    assert len(set(some)) == 4
    assert set(some) < whole
    spread = sorted(lr for (lr,) in points(5, Dimension("lr", 1e-4, 1.0)))
    assert spread == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert len(points(7, Dimension("lr", 1e-4, 1.0), Dimension("clip", 0.1, 1.0))) == 7


def test_search_judges_the_evaluation_that_is_reported(make_result):
    (run,) = plan("smoke", ["copying"], ["gru"])

    def judged(run):
        (seeker,) = seekers([run], Search(1))

        def end(trial):
            result = make_result(losses=(2.0, 1.0, 3.0))
            curve = tuple(replace(p, valid_loss=p.test_loss + 0.5) for p in result.curve)
            return replace(result, run=trial, curve=curve)

        return search(seeker, end)[0].trials[0].loss

    assert judged(run) == 3.5
    assert judged(replace(run, setting=run.setting.changed(validation_size=5))) == 1.5
    (text,) = plan("smoke", ["char_lm"], ["gru"])  # it has a validation set of its own
    assert judged(text) == 1.5


def test_search_of_paper_is_what_it_states():
    stated = {name for name in PAPERS if PAPERS[name].search}
    assert stated == {"arjovsky2016", "kerg2019"}
    for name in stated:
        for run in plan(paper=name):
            space, _ = space_of(run, None, name)
            values = {d.name: d.choices[0] if d.choices else d.low for d in space}
            changed(run.setting, run.model, values)
    (run,) = plan(paper="kerg2019", tasks=["copying"], models=["nnrnn"])
    space, source = space_of(run, None, "kerg2019")
    assert {d.name for d in space} == {"lr", "alpha", "unitary_ratio", "penalty.0", "penalty.1"}
    assert "supplement" in source
    (chosen,) = (d for d in space if d.name == "penalty.0")
    assert run.setting.training.penalty[0] in chosen.choices  # 1e-4, as it trained
    (seeker,) = seekers([run], Search(2))  # a run of a paper takes its grid by itself
    assert seeker.study.space == space
    (run,) = plan(paper="kiani2022", tasks=["adding"], lengths=[200])
    _, source = space_of(run, None, "kiani2022")
    assert "Kiani et al. 2022 state none for projunn_t" in source


def test_space_file_leaves_out_what_a_model_lacks(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("lr: {low: 1e-4, high: 1}\nunitary_ratio: [0.1, 1]\ninit: [haar, dft, torus]\n")
    space = read_space(path)
    assert space[0] == Dimension("lr", 1e-4, 1.0)
    spaces = {
        run.model: {d.name: d for d in space_of(run, space, "")[0]}
        for run in plan("smoke", ["copying"], ["arjovsky", "expm", "lstm"])
    }
    assert {name: set(found) for name, found in spaces.items()} == {
        "arjovsky": {"lr", "unitary_ratio"},  # it has a start of its own alone
        "expm": {"lr", "unitary_ratio", "init"},
        "lstm": {"lr"},
    }
    assert spaces["expm"]["init"].choices == ("haar", "torus")


@pytest.mark.parametrize("scheme", ["expm", "nnrnn"])
def test_space_of_model_of_plugin_has_the_starts_and_the_rate_of_its_schemes(scheme):
    def own(input_size, settings):
        return UnitaryRNN(input_size, settings.hidden_size, scheme=scheme)

    with MODELS.override(own=own):
        (run,) = plan("smoke", ["copying"], ["own"])
        space = Dimension("init", choices=(None, "haar", "dft")), Dimension("unitary_lr", 1e-5, 1.0)
        (seeker,) = seekers([run], Search(3, "random", space))
        assert seeker.study.space[0].choices == (None, "haar")
        asked = seeker.ask()
        # Without an optimizer of its own, W has the other one's rate, which is tried first.
        optimizers = run.setting.training.unitary_optimizer, run.setting.training.optimizer
        assert (optimizers[0] is None) == (scheme == "nnrnn")
        first = asked[0].setting.training.unitary_optimizer
        assert first == (optimizers[0] or optimizers[1])


def test_search_refuses_a_task_that_can_have_no_validation_set(monkeypatch):
    cls = TASKS.get("copying")
    monkeypatch.setattr(cls, "hold_out", Task.hold_out)
    with pytest.raises(SearchError, match=r"copying has no validation set.*held_out_batches"):
        seekers(plan("smoke", ["copying"], ["gru"]), Search(1))
    monkeypatch.setattr(cls, "valid_batches", cls.test_batches)
    assert seekers(plan("smoke", ["copying"], ["gru"]), Search(1))
