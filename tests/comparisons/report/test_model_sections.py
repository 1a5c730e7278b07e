"""What happened inside each model."""

from dataclasses import replace

from comparisons.records import Probes
from comparisons.report.model_sections import Inside
from unitary_zoo import Parametrization

PROBES = Probes((-1.0, 1.0), (-2.0, 2.0), (1, 5), (0.5, 0.25))


def probed(result, probes=PROBES, defects=(1e-7, 2e-7, 3e-7)):
    curve = zip(result.curve, defects, strict=True)
    return replace(result, probes=probes, curve=tuple(replace(p, defect=d) for p, d in curve))


def test_models_hold_the_first_seed_with_probes(make_result, build):
    first, second, third = (make_result("cayley", seed=seed) for seed in (0, 1, 2))
    (model,) = build([first, probed(second), probed(third, Probes())]).models
    assert model.inside == (
        Inside(
            section="copying-T5",
            title="Copying memory, T = 5",
            label="cayley, n = 8",
            seed=1,
            probes=PROBES,
            iterations=(0, 3, 6),
            defects=(1e-7, 2e-7, 3e-7),
        ),
    )


def test_models_leave_out_evaluations_without_a_defect(make_result, build):
    result = probed(make_result("cayley"), None, (1e-7, None, 3e-7))
    ((inside,),) = (model.inside for model in build([result]).models)
    assert (inside.iterations, inside.defects) == ((0, 6), (1e-7, 3e-7))
    assert inside.probes == Probes()


def test_models_of_older_results_show_nothing_inside(make_result, build):
    lstm = make_result("lstm", defect=None, unitary_optimizer=None)
    landing = replace(make_result("landing"), deviation="in the limit")
    models = build([lstm, make_result("cayley"), landing]).models
    assert [(m.model, m.kind) for m in models] == [
        ("cayley", "scheme"), ("landing", "scheme"), ("lstm", "baseline"),
    ]  # fmt: skip
    assert [m.inside for m in models] == [()] * 3
    assert [m.deviation for m in models] == ["", "in the limit", ""]
    assert models[0].formula == Parametrization.get("cayley").info.title
    assert models[2].formula.startswith("LSTM")


def test_models_of_a_plugin_that_is_not_loaded_have_no_formula(make_result, build):
    (model,) = build([make_result("mine_from_elsewhere")]).models
    assert model.formula == ""
