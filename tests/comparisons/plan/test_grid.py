"""Grid files: what they plan, and how they fail."""

from pathlib import Path

import pytest

from comparisons.models import model_names
from comparisons.plan import PlanError, plan
from comparisons.plan.grid import read_grid
from comparisons.plan.sizes import parameters
from comparisons.tasks import TASKS

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


@pytest.fixture
def planned(tmp_path):
    """The runs of a grid file with this content."""

    def make(text, name="grid.yaml", **flags):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return plan(grid=read_grid(path), **flags)

    return make


def test_grid_of_the_page_plans_equal_parameters_and_every_combination():
    runs = plan(grid=read_grid(EXAMPLES / "grid.yaml"))
    assert {run.seed for run in runs} == {0, 1, 2}
    places = 2 * 2 * 3 * 2  # tasks, lengths, seeds, sizes
    found = {name: [run for run in runs if run.model == name] for name in {r.model for r in runs}}
    assert {name: len(own) for name, own in found.items()} == {
        "expm": 4 * places, "scaled_cayley": 4 * places, "arjovsky": 4 * places,
        "eunn_fft": 4 * places, "lstm": 2 * places,
    }  # fmt: skip
    rates = {
        (run.setting.training.optimizer.lr, run.setting.training.unitary_optimizer.lr)
        for run in found["expm"]
    }
    assert rates == {(1e-3, 1e-4), (1e-3, 1e-3), (3e-3, 0.1 * 3e-3), (3e-3, 3e-3)}
    for run in runs:
        setting = run.setting
        assert setting.training.iterations == 300
        assert setting.training.optimizer.kind == "adam"
        assert (setting.model.init == "henaff") == (run.model in ("expm", "scaled_cayley"))
        assert setting.model.learn_h0 == (run.model == "arjovsky" and run.task == "copying")
        count = parameters(setting, run.model, TASKS.get(run.task)(run.length))
        near = 0.4 if run.model == "eunn_fft" else 0.04
        assert min(abs(count / size - 1) for size in (1000, 4000)) < near
        assert f"{count:,} parameters" in setting.source
        assert "by grid.yaml: iterations 300" in setting.source


def test_grid_has_the_runs_of_flags(planned):
    runs = planned("base: quick\ntasks: copying\nseeds: 2\nlengths: [20]\nsetting: {iterations: 5}")
    flags = plan("quick", ["copying"], lengths=[20], seeds=[0, 1], iterations=5)
    assert [run.id for run in runs] == [run.id for run in flags]
    assert {run.model for run in runs} == set(model_names())
    # The flags have the last word.
    (run,) = planned("tasks: [copying, adding]\nseeds: 3", tasks=["adding"], models=["gru"],
                     seeds=[7], iterations=4)  # fmt: skip
    assert (run.task, run.model, run.seed, run.setting.training.iterations) == (
        "adding", "gru", 7, 4,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("match", "sizes"),
    [
        ("state", {"expm": 24, "arjovsky": 12, "eunn_fft": 16, "lstm": 12, "gru": 24}),
        ("units", {"expm": 24, "arjovsky": 24, "eunn_fft": 32, "lstm": 24, "gru": 24}),
    ],
)
def test_grid_match_gives_units(planned, match, sizes):
    runs = planned(
        f"tasks: copying\nmodels: [{', '.join(sizes)}]\nmatch: {match}\nsizes: 24\nbase: smoke"
    )
    assert {run.model: run.setting.model.hidden_size for run in runs} == sizes


def test_grid_may_be_python_and_start_from_paper_or_whole_setting(planned):
    runs = planned(
        "GRID = {'base': 'kerg2019', 'tasks': ['copying'], 'models': ['nnrnn'], 'sweep': "
        "[{'penalty.0': 10**-k, 'lr': 1e-3 * k} for k in (2, 3)]}",
        "grid.py",
    )
    assert [run.setting.training.penalty for run in runs] == [(0.01, 1e-6), (0.001, 1e-6)]
    assert [run.setting.training.optimizer.lr for run in runs] == [2e-3, 3e-3]
    assert {run.paper for run in runs} == {"kerg2019"}
    runs = planned(
        "base: {hidden_size: 8, batch_size: 4, iterations: 6, optimizer: {kind: adam, lr: 1e-2}}\n"
        "tasks: copying\nlengths: 5\nmodels: [arjovsky, projunn_d, lstm]\n"
        "overrides: [{models: projunn_d, setting: {options.rank: 2, unitary_ratio: 0.5}}]"
    )
    assert {run.model: run.setting.model.hidden_size for run in runs} == {
        "arjovsky": 4, "projunn_d": 8, "lstm": 4,
    }  # fmt: skip
    by_model = {run.model: run.setting for run in runs}
    assert by_model["projunn_d"].model.options == (("rank", 2),)
    assert by_model["projunn_d"].training.unitary_optimizer.lr == 5e-3
    assert by_model["lstm"].training.unitary_optimizer is None


@pytest.mark.parametrize(
    ("text", "hints"),
    [
        ("taks: [copying]", ["grid.yaml", "unknown key 'taks'", "'tasks'"]),
        ("tasks: [coping]", ["'coping'", "'copying'"]),
        ("models: [cayly]", ["'cayley'"]),
        ("base: quik", ["unknown paper 'quik'"]),
        ("base: {iterations: 5}", ["base lacks hidden_size, batch_size, optimizer"]),
        ("match: state", ["match", "sizes: [N]"]),
        ("match: stat\nsizes: 8", ["unknown match 'stat'", "'state'"]),
        ("sizes: [0]", ["sizes has 0", "1 up"]),
        ("seeds: yes", ["seeds is True"]),
        ("seeds: 0", ["seeds is 0", "1 or more"]),
        ("setting: {iteratons: 5}", ["setting: unknown setting 'iteratons'", "'iterations'"]),
        ("setting: {iterations: 1.5}", ["iterations is 1.5", "int"]),
        ("setting: {nonlinearity: rela}", ["unknown nonlinearity 'rela'", "'relu'"]),
        ("setting: {optimizer: {rate: 1}}", ["part of optimizer", "'rate'"]),
        ("setting: {bias.x: 1}", ["unknown setting 'bias.x'"]),
        ("sweep: {lr: 0.1}", ["lr is 0.1", "list of values"]),
        ("sweep: {init: [haar, hennaff]}", ["unknown init 'hennaff'", "'henaff'"]),
        ("overrides: [{models: [expm], stting: {}}]", ["overrides[0]", "'setting'"]),
        ("search: {trials: 0}", ["search", "trials is 0"]),
        ("search: {trials: 2, sampler: tpee}", ["unknown sampler 'tpee'", "'tpe'"]),
        ("search: {trials: 2, space: {lr: {low: 1}}}", ["lr is from 1 to None"]),
        ("search: {trials: 2, space: {lr: {low: 1, high: 0.1}}}", ["the lower one first"]),
        ("search: {trials: 2, space: {lr: [x]}}", ["lr is 'x'", "float"]),
        ("search: {trials: 2, space: kerg2091}", ["'kerg2019'"]),
        ("sweep: {lr: [1]}\nsearch: {trials: 2, space: {lr: [1, 2]}}", ["swept and searched"]),
        ("- copying", ["no mapping"]),
        ("tasks: [copying", ["cannot be read"]),
        ("tasks: copying\nmodels: lstm\nsizes: 1\nmatch: parameters", ["its smallest size"]),
        ("tasks: copying\nmodels: expm\nsetting: {penalty.0: 1.0}", ["penalty is None"]),
    ],
)  # fmt: skip
def test_grid_error_names_file_or_key_and_remedy(planned, text, hints):
    with pytest.raises((ValueError, LookupError)) as caught:
        planned(text)
    for hint in hints:
        assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_grid_that_asks_for_nothing_says_so(planned):
    with pytest.raises(PlanError, match="nothing that its base has"):
        planned("base: kerg2019\ntasks: [adding]")
    with pytest.raises(ValueError, match="defines no GRID"):
        planned("X = 1", "grid.py")
