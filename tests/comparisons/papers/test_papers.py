"""The papers' data: what they may say, and the runs that are made of them."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
import torch

from comparisons import papers
from comparisons.models import BASELINES, SequenceModel, check_model
from comparisons.models.sequence_model import NORMALIZE
from comparisons.papers import (
    PAPERS,
    Source,
    find_paper,
    mnist_iterations,
    paper_titles,
    text_iterations,
)
from comparisons.papers._numbers import read_results
from comparisons.plan import PlanError, plan
from comparisons.records import Optimizer, Run
from comparisons.tasks import TASKS
from comparisons.tasks.copying import Copying
from comparisons.tasks.language import _segments, _streams
from comparisons.training.optimizers import OPTIMIZERS
from unitary_zoo import Parametrization
from unitary_zoo.nonlinearities import NONLINEARITIES

FOUNDING = ("psiml2017", "arjovsky2016", "linwang2019", "emami2019")
every_paper = pytest.mark.parametrize("name", PAPERS)


@every_paper
def test_trainings_name_existing_things(name):
    for training in PAPERS[name].trainings:
        check_training(training)


def check_training(training):
    """All that it names exists, and its options are those of its schemes."""
    setting = training.setting
    assert setting.source
    for spec in (setting.training.optimizer, setting.training.unitary_optimizer):
        assert spec is None or spec.kind in OPTIMIZERS
    assert setting.model.nonlinearity in NONLINEARITIES.names()
    assert training.seeds
    assert len(set(training.seeds)) == len(training.seeds)
    for model in training.models:
        assert check_model(model) == model
        assert (setting.training.unitary_optimizer is None) == (model in BASELINES.names())
        if model not in BASELINES.names():
            # Its options are those of the scheme, at that size.
            options = {k: v for k, v in setting.model.options if k != NORMALIZE}
            Parametrization.get(model)(
                min(setting.model.hidden_size, 128), **_small(options, setting)
            )
            assert not (setting.model.learn_h0 and setting.model.only_recurrent_weight)
    task = TASKS.get(training.task)
    for variant in training.variants:
        for length in training.lengths:
            task.check_length(length, variant)


def _small(options, setting):
    """Options in proportion where the test takes fewer units."""
    ratio = min(setting.model.hidden_size, 128) / setting.model.hidden_size
    for name in ("negative_ones", "reflections"):
        if name in options:
            options[name] = int(ratio * options[name])
    return options


@every_paper
def test_training_setting_round_trip_keeps_id(name):
    for training in PAPERS[name].trainings:
        run = Run(training.task, training.models[0], 10, 0, training.setting, "cpu", "")
        again = Run.from_dict(json.loads(json.dumps(run.to_dict())))
        assert again == run
        assert again.id == run.id


@every_paper
def test_trainings_of_paper_are_distinct(name):
    runs = Counter(
        Run(training.task, model, length, 0, training.setting, "cpu", variant).id
        for training in PAPERS[name].trainings
        for model in training.models
        for length in training.lengths
        for variant in training.variants
    )
    assert not [run for run, count in runs.items() if count > 1]


def test_mnist_trainings_have_plausible_epochs():
    assert mnist_iterations(1, 128) == 469
    assert mnist_iterations(70, 50) == 84_000
    for paper in PAPERS.values():
        for training in paper.trainings:
            if training.task in ("pixel_mnist", "permuted_mnist"):
                assert training.lengths == (784,)
                assert training.variants == ("mnist",)
                setting = training.setting
                epochs = setting.training.iterations * setting.training.batch_size / 60_000
                assert 9.9 < epochs < 206, training


@every_paper
def test_results_name_existing_things(name):
    trainings = PAPERS[name].trainings
    known = {option for training in trainings for option, _ in training.setting.model.options}
    known |= set(trainings[0].setting.values()) if trainings else set()
    for result in PAPERS[name].published:
        TASKS.get(result.task).check_variant(result.variant)
        for model in result.ours:
            assert check_model(model) == model
        assert {key for key, _ in result.setting} <= known, result


@every_paper
def test_inexact_numbers_are_marked(name):
    for result in PAPERS[name].published:
        if not result.exact and any(c.isdigit() for c in result.text):
            assert "≈" in result.text or not {".", "%"} & set(result.text), result
        if result.value is not None:
            # The text says the number too, as it was printed.
            forms = (f"{result.value:{form}}" for form in ("g", ".2f", ".3g", ".3f"))
            assert any(form in result.text for form in forms), result
            assert result.value > 0


def test_results_at_two_learning_rates_match_two_trainings():
    # Emami et al. train the RNN on permuted MNIST at 1e-3 and at 1e-4, with numbers for each.
    paper = PAPERS["emami2019"]
    trained = {
        (t.setting.training.optimizer, t.setting.model.hidden_size)
        for t in paper.trainings
        if (t.task, t.models) == ("permuted_mnist", ("rnn",))
    }
    published = [
        (dict(result.setting)["optimizer"], result.size)
        for result in paper.published
        if (result.task, result.ours) == ("permuted_mnist", ("rnn",))
    ]
    assert set(published) == trained
    assert len(published) == len(trained) == 12


@pytest.mark.parametrize(("tokens", "batch", "length"), [(100, 3, 7), (1000, 20, 35), (22, 2, 10)])
def test_text_iterations_match_task(tokens, batch, length):
    segments = list(_segments(_streams(torch.arange(tokens), batch), length))
    assert text_iterations(1, tokens, batch, length) == len(segments)
    assert text_iterations(7, tokens, batch, length) == 7 * len(segments)


def test_source_has_meaning_and_refuses_unknown_tag():
    assert all(source.meaning for source in Source)
    assert {source.value for source in Source if source.exact} == {"V", "V2"}
    with pytest.raises(ValueError, match="M-X"):
        Source("M-X")


@pytest.mark.parametrize(
    ("line", "text", "value", "setting"),
    [
        ("t,uRNN,128,copying,,100 200,,,,F,at ≈ 0,,arjovsky,", "at ≈ 0", None, ()),
        (
            "t,RNN,,word_lm,ptb,,perplexity,705.28,754.65,V,,,rnn,layer=rnn",
            "705.28 (printed with 754.65)", 705.28, (("layer", "rnn"),),
        ),
        (
            "t,dtriv,170,pixel_mnist,mnist,784,accuracy,98.0,,M-L,,,dtriv,rebase_every=null",
            "≈ 98 %", 98.0, (("rebase_every", None),),
        ),
        (
            "t,RNN,2,contractive_system,20dB,9,R²,.915,,F,of 30,,rnn,optimizer=sgd 1 0.9; rank=2",
            "R² ≈ 0.915, of 30", 0.915, (("optimizer", Optimizer("sgd", 1.0, 0.9)), ("rank", 2)),
        ),
    ],
)  # fmt: skip
def test_read_results_row(tmp_path, line, text, value, setting):
    header = "printed_in,model,size,task,variant,length,quantity,value,paired_with,tag,note,label"
    file = tmp_path / "a.csv"
    file.write_text(f"{header},ours,setting\n{line}\n", "utf-8")
    (result,) = read_results(file)
    assert (result.text, result.value, result.setting) == (text, value, setting)
    assert result.label == f"{result.model} {result.size or ''}".strip()
    assert read_results(tmp_path / "none.csv") == ()


def test_papers_are_imported_on_demand():
    code = "import sys, comparisons.papers as p; print([m for m in sys.modules if '.papers.' in m])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['comparisons.papers._numbers']"


def test_paper_titles_name_error_of_broken_file(tmp_path, monkeypatch):
    (tmp_path / "broken2000.py").write_text("PAPER = Papr()", "utf-8")
    monkeypatch.setattr(papers, "__path__", [*papers.__path__, str(tmp_path)])
    monkeypatch.setattr(papers, "PAPERS", papers.Papers())
    titles = paper_titles()
    assert titles["broken2000"] == "cannot be read (NameError: name 'Papr' is not defined)"
    assert titles["jose2018"] == "Jose et al. 2018: Kronecker Recurrent Units"


@every_paper
def test_remarks_are_on_tasks_of_paper(name):
    paper = PAPERS[name]
    tasks = {result.task for result in paper.published}
    tasks |= {training.task for training in paper.trainings}
    assert set(paper.remarks_on) <= tasks
    assert paper.cite
    assert paper.title


def test_find_paper_suggests_nearest_name():
    assert find_paper("arjovsky2016") is PAPERS["arjovsky2016"]
    with pytest.raises(LookupError, match="arjovsky2016"):
        find_paper("arjovsky_2016")


def test_plan_of_paper_is_exactly_its_trainings():
    runs = plan("quick", paper="arjovsky2016", tasks=["copying", "adding"])
    expected = {
        ("copying", model, length, size)
        for model, size in (("arjovsky", 128), ("tanh_rnn", 80), ("irnn", 80), ("lstm", 40))
        for length in (100, 200, 300, 500)
    } | {
        ("adding", model, length, size)
        for model, size in (("arjovsky", 512), ("tanh_rnn", 128), ("irnn", 128), ("lstm", 128))
        for length in (100, 200, 400, 750)
    }
    assert {(r.task, r.model, r.length, r.setting.model.hidden_size) for r in runs} == expected
    assert len(runs) == len(expected)
    assert {run.seed for run in runs} == {0}


def test_plan_flags_narrow_paper():
    runs = plan(
        "quick", ["copying"], ["lstm"], paper="arjovsky2016", lengths=[100], seeds=[3, 4],
        iterations=7,
    )  # fmt: skip
    assert [(run.length, run.seed, run.setting.training.iterations) for run in runs] == [
        (100, 3, 7), (100, 4, 7),
    ]  # fmt: skip
    assert runs[0].setting.model.hidden_size == 40


def test_plan_unknown_length_takes_all_settings_of_nearest():
    runs = plan("quick", ["copying"], ["expm"], paper="kerg2019", lengths=[150])
    assert [run.setting.model.hidden_size for run in runs] == [128, 176]
    assert all("settings made for T = 200" in run.setting.source for run in runs)


def test_plan_takes_seeds_of_paper(monkeypatch):
    paper = PAPERS["kerg2019"]
    (training,) = (t for t in paper.trainings if t.models == ("nnrnn",) and t.task == "copying")
    repeated = replace(paper, trainings=(replace(training, seeds=(0, 1, 2)),))
    monkeypatch.setitem(PAPERS._loaded, "kerg2019", repeated)
    assert [run.seed for run in plan("quick", paper="kerg2019")] == [0, 1, 2]
    assert [run.seed for run in plan("quick", paper="kerg2019", seeds=[5])] == [5]


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ({"paper": "arjovky"}, "arjovsky2016"),
        ({"paper": "jose2018"}, "published numbers alone"),
        ({"paper": "helfrich2018", "models": ["lstm"]}, r"copying \(scaled_cayley\)"),
    ],
)
def test_plan_error_hints_at_what_paper_has(flags, hint):
    with pytest.raises(PlanError, match=hint) as caught:
        plan("quick", tasks=["copying"], **flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FOUNDING)
def test_founding_paper_has_trainings_and_results(name):
    assert PAPERS[name].trainings
    assert PAPERS[name].published


def test_nnrnn_penalty_is_mean_over_gains():
    # delta mean (gamma - 1)^2 of gains that are all 3: 4 delta, for T = 0.
    (training,) = (
        training
        for training in PAPERS["kerg2019"].trainings
        if training.models == ("nnrnn",) and training.task == "copying"
    )
    model = SequenceModel("nnrnn", training.setting, Copying(5))
    (scheme,) = model.schemes()
    scheme.gains.data.fill_(3.0)
    assert training.setting.training.penalty is not None
    assert scheme.penalty(*training.setting.training.penalty).item() == pytest.approx(4e-4)
