"""The data of the page's scripts."""

import json
from dataclasses import replace

from comparisons.records import Probes
from comparisons.report.overview import ModelLine, Overview
from comparisons.report.page.data import LOOKS, POINTS, page_data, picked_first


def overview(*kinds):
    return Overview(
        (),
        (),
        tuple(
            ModelLine(f"{kind} {i}", kind, (), 1, (), 0.5, (1, 2), 1.0, 1.0)
            for i, kind in enumerate(kinds)
        ),
    )


def test_page_data_has_the_mean_and_the_range_of_the_seeds(build, make_result):
    results = [
        make_result("expm", losses=(2.0, 0.5, 0.1)),
        make_result("expm", losses=(4.0, 0.5, 0.3), seed=1),
    ]
    (section,) = page_data(build(results))["sections"].values()
    (curve,) = section["curves"]
    assert curve["iterations"] == [0, 3, 6]
    assert curve["mean"] == [3.0, 0.5, 0.2]
    assert curve["low"] == [2.0, 0.5, 0.1]
    assert curve["high"] == [4.0, 0.5, 0.3]
    assert curve["seeds"] == 2


def test_page_data_has_no_range_of_a_single_seed(build, make_result):
    (section,) = page_data(build([make_result("expm")]))["sections"].values()
    assert "low" not in section["curves"][0]


def test_page_data_thins_long_curves_and_keeps_both_ends(build, make_result):
    losses = tuple(1 / (1 + i) for i in range(1000))
    (section,) = page_data(build([make_result("expm", losses=losses)]))["sections"].values()
    (curve,) = section["curves"]
    assert len(curve["mean"]) == POINTS
    assert (curve["iterations"][0], curve["iterations"][-1]) == (0, 2997)
    gaps = {b - a for a, b in zip(curve["iterations"], curve["iterations"][1:], strict=False)}
    assert max(gaps) - min(gaps) <= 3


def test_page_data_has_what_is_behind_each_run(build, make_result):
    result = make_result("expm")
    data = page_data(build([result]))
    (section,) = data["sections"].values()
    (run,) = section["settings"][0]["runs"]
    assert run["id"] == result.run.id
    assert data["texts"][run["command"]] == result.command
    assert "Imaginary CPU 9000" in data["texts"][run["machine"]]
    assert data["texts"][run["day"]] == "2026-01-02"
    assert ["hidden size", "8"] in section["settings"][0]["values"]


def test_page_data_has_numbers_of_four_digits_that_json_can_hold(build, make_result):
    data = page_data(build([make_result("expm", losses=(1.0, 0.123456789))]))
    (section,) = data["sections"].values()
    assert section["curves"][0]["mean"][-1] == 0.1235
    json.dumps(data, allow_nan=False)


def test_page_data_has_the_probes_of_each_model(build, make_result):
    probes = Probes((-1.0, 1.23456), (-2.0, 2.0), (1, 5), (0.1, 0.2))
    data = page_data(build([replace(make_result("expm"), probes=probes)]))
    (inside,) = data["inside"]["expm"]
    assert inside["start"] == [-1.0, 1.235]
    assert inside["end"] == [-2.0, 2.0]
    assert (inside["steps"], inside["norms"]) == ([1, 5], [0.1, 0.2])


def test_picked_first_takes_the_best_models_and_a_baseline():
    models = overview(*["scheme"] * 10, "baseline", "baseline")
    picked = picked_first(models)
    assert picked == [*(f"scheme {i}" for i in range(LOOKS - 1)), "baseline 10"]


def test_picked_first_keeps_a_baseline_that_is_among_the_best():
    models = overview("scheme", "baseline", *["scheme"] * 10)
    assert picked_first(models) == [line.model for line in models.models[:LOOKS]]
