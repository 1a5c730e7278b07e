import pytest

from comparisons.models import BASELINES, SequenceModel, model_names
from comparisons.papers import PAPERS, Paper, Training
from comparisons.plan import PRESETS, PlanError, plan
from comparisons.plan.papers import borrowed
from comparisons.records import Optimizer, Setting
from comparisons.tasks import TASKS
from comparisons.training.optimizers import OPTIMIZERS

RELU = Setting.of(
    hidden_size=128,
    batch_size=20,
    iterations=1000,
    optimizer=Optimizer("rmsprop", lr=1e-3),
    nonlinearity="relu",
)


@pytest.mark.parametrize("preset", PRESETS.names())
def test_preset_covers_every_model_on_every_task(preset):
    tasks = set(TASKS.names())
    if preset == "paper":  # which has no settings of its own
        tasks &= {training.task for paper in PAPERS.values() for training in paper.trainings}
    runs = plan(preset)
    found = {(run.task, run.model) for run in runs}
    if preset == "paper":  # real models have no setting to identify a complex system with
        tasks -= {"unitary_system"}
        found = {(task, model) for task, model in found if task in tasks}
    assert found == {(task, model) for task in tasks for model in model_names()}
    assert len({run.id for run in runs}) == len(runs)
    for run in runs:
        assert run.setting.source
        assert run.setting.training.optimizer.kind in OPTIMIZERS
        is_scheme = run.setting.training.unitary_optimizer is not None
        assert is_scheme == (run.model not in BASELINES.names())


def test_preset_paper_has_published_values():
    runs = plan("paper", ["copying"], ["arjovsky", "lstm", "full_capacity", "expm"])
    sizes = {(run.model, run.length, run.setting.model.hidden_size) for run in runs}
    assert {("arjovsky", t, 128) for t in (100, 200, 300, 500)} <= sizes
    assert {("lstm", t, 40) for t in (100, 200, 300, 500)} <= sizes
    assert {("full_capacity", t, 128) for t in (1000, 2000)} <= sizes
    assert {("arjovsky", t, 470) for t in (1000, 2000)} <= sizes
    assert ("expm", 1000, 190) in sizes
    urnn = plan("paper", ["copying"], ["arjovsky"], lengths=[100])[0].setting
    assert (
        urnn.training.optimizer
        == urnn.training.unitary_optimizer
        == Optimizer("rmsprop_theano", 1e-3, 0.9)
    )
    assert (urnn.training.batch_size, urnn.model.learn_h0, urnn.training.clip) == (20, True, None)
    full = plan("paper", ["copying"], ["full_capacity"])[0].setting
    assert full.training.unitary_optimizer == Optimizer("sgd", 1e-3)


def test_borrowed_setting_names_neighbour():
    source = plan("paper", ["adding"], ["svd_projection"])[0].setting.source
    assert "no published setting of svd_projection" in source
    assert "scoRNN" in source
    assert "negative_ones" not in str(plan("paper", ["adding"], ["svd_projection"]))
    # A nonlinearity of real networks is not defined on complex states.
    assert borrowed(RELU, "kronecker", "expm").model.nonlinearity == "modrelu"
    assert borrowed(RELU, "cayley", "expm").model.nonlinearity == "relu"


def test_borrowed_identification_trains_whole_model_that_cannot_be_system(monkeypatch):
    setting = RELU.changed(
        hidden_size=6,
        nonlinearity="modrelu",
        unitary_optimizer=RELU.training.optimizer,
        only_recurrent_weight=True,
    )
    training = Training("unitary_system", (150,), ("full_capacity",), setting, ("full-6",))
    monkeypatch.setattr("comparisons.plan.papers.PAPERS", {"p": Paper("A", "B", "C", (training,))})
    runs = {run.model: run.setting for run in plan("paper", ["unitary_system"])}
    assert runs.keys() == set(model_names())
    shapes = {
        name: (s.model.hidden_size, s.model.only_recurrent_weight, s.model.options)
        for name, s in runs.items()
    }
    assert shapes["full_capacity"] == shapes["arjovsky"] == (6, True, ())
    assert shapes["expm"] == (6, True, (("field", "complex"),))
    assert shapes["eunn_fft"] == (8, False, ())  # which has no size of 6
    assert shapes["geotorch_so"] == (12, False, ())  # real only: as many real numbers
    assert shapes["lstm"] == (12, False, ())
    assert runs["lstm"].training.unitary_optimizer is None
    for name, own in runs.items():
        SequenceModel(name, own, TASKS.get("unitary_system")(150, "full-6"))


def test_fitted_replaces_relu_by_modrelu_for_complex_model():
    settings = {run.model: run.setting for run in plan("quick", ["contractive_system"])}
    assert settings["arjovsky"].model.nonlinearity == "modrelu"
    assert settings["expm"].model.nonlinearity == settings["rnn"].model.nonlinearity == "relu"


def test_plan_flags_override_preset():
    runs = plan(
        "quick", ["adding"], ["cayley"], lengths=[7, 9], seeds=[1, 2], device="meta", iterations=5
    )
    assert [(run.length, run.seed) for run in runs] == [(7, 1), (9, 1), (7, 2), (9, 2)]
    assert {run.setting.training.iterations for run in runs} == {5}
    assert {run.device for run in runs} == {"meta"}
    assert "settings made for T = 30" in runs[0].setting.source


def test_plan_unknown_length_takes_nearest_settings():
    (run,) = plan("paper", ["copying"], ["expm"], lengths=[900])
    assert run.setting.model.hidden_size == 190  # of T = 1000, not the 128 of T = 200


def test_plan_lists_each_run_once():
    assert len(plan("smoke", ["adding"], ["gru", "gru"], seeds=[0, 0])) == 1


def test_plan_sorts_runs_by_seed():
    runs = plan("smoke", ["adding", "copying"], ["gru", "cayley"], seeds=[3, 1])
    assert [run.seed for run in runs] == [1] * 4 + [3] * 4
    assert [(run.task, run.model) for run in runs[:4]] == [(r.task, r.model) for r in runs[4:]]


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ({"tasks": ["coping"]}, "copying"),
        ({"models": ["cayly"]}, "cayley"),
        ({"models": ["ltsm"]}, "lstm"),
        ({"tasks": ["adding"], "lengths": [1]}, "longer"),
    ],
)
def test_plan_error_names_nearest_or_remedy(flags, hint):
    with pytest.raises(PlanError, match=hint) as caught:
        plan("smoke", **flags)
    assert "\n" not in str(caught.value)


def test_plan_names_preset_without_settings(monkeypatch):
    monkeypatch.setattr("comparisons.plan.presets.QUICK", {})
    with pytest.raises(PlanError, match="no settings for these tasks"):
        plan("quick")


def test_plan_hidden_size_is_one_that_scheme_accepts():
    runs = plan("quick", ["copying"], ["expm", "eunn_fft", "lstm"], hidden_size=48)
    sizes = {run.model: run.setting.model.hidden_size for run in runs}
    assert sizes == {"expm": 48, "eunn_fft": 64, "lstm": 48}
    assert "hidden size 48 instead of 128" in runs[0].setting.source


def test_plan_hidden_size_selects_settings_of_paper():
    (run,) = plan(
        "quick", ["permuted_mnist"], ["expm"], paper="lezcano2019", hidden_size=360, iterations=9
    )
    assert run.setting.model.hidden_size == 360
    assert run.setting.training.optimizer.lr == 7e-4
    assert "iterations 9 instead of 32,830" in run.setting.source
