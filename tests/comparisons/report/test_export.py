"""Export of a results folder to the documentation."""

import json
from dataclasses import replace

import pytest

from comparisons.papers import find_paper
from comparisons.records import Failure, Probes
from comparisons.report.export import ResultsError, export, main, records
from comparisons.results.store import Store


def test_records_hold_the_means_over_seeds(make_result):
    results = [
        make_result("cayley", losses=(2.0, 0.5, 0.25)),
        make_result("cayley", losses=(2.0, 0.7, 0.35), seed=1),
        make_result("lstm", losses=(2.0, 0.1, 0.2), defect=None, unitary_optimizer=None),
    ]
    cayley, lstm = records(results)  # one has a single seed: by name
    assert (lstm["model"], lstm["seeds"], lstm["metric_spread"]) == ("lstm", 1, None)
    assert lstm["defect"] is None
    assert cayley["memoryless"] == cayley["baseline"] == pytest.approx(0.8318, abs=5e-5)
    assert (cayley["task"], cayley["T"], cayley["n"], cayley["seeds"]) == ("copying", 5, 8, 2)
    assert cayley["loss"] == pytest.approx(0.3)
    assert cayley["seconds"] == pytest.approx(0.2)
    assert cayley["metric"] == pytest.approx(25.0)  # per cent
    assert cayley["curve"] == [(0, 2.0), (3, pytest.approx(0.6)), (6, pytest.approx(0.3))]
    assert cayley["commands"] == ["python comparisons/run_all.py --preset imaginary"]
    assert cayley["machine"]["cpu"] == "Imaginary CPU 9000"
    assert cayley["date"] == "2026-01-02"


def test_records_hold_the_median_beside_the_mean(make_result):
    results = [
        make_result("rnn", task="contractive_system", seed=seed, losses=(1.0, loss))
        for seed, loss in enumerate([0.1, 0.9, 0.2])
    ]
    (record,) = records(results)
    assert record["metric"] == pytest.approx(0.6)  # R² is 1 minus the loss
    assert record["metric_median"] == pytest.approx(0.8)


def test_records_hold_what_each_seed_reached(make_result):
    losses = [(2.0, 0.5, 0.01), (2.0, 0.02, 0.03), (2.0, 0.5, 0.25)]
    results = [make_result("cayley", losses=values, seed=i) for i, values in enumerate(losses)]
    (record,) = records(results)
    assert record["seed_losses"] == [0.01, 0.03, 0.25]
    assert record["seed_metrics"] == [25.0, 25.0, 25.0]
    # Two seeds pass a tenth of the loss without memory, 0.083, at these iterations and seconds.
    assert record["solved"] == [(6, 0.2), (3, 0.1)]


def test_records_hold_the_probes_of_the_smallest_seed_that_has_them(make_result):
    steps = tuple(range(1, 101))
    found = Probes((-1.23456, 1.23456), (-0.5, 3.14159), steps, tuple(2.0**-t for t in steps))
    results = [make_result("cayley", seed=seed) for seed in range(3)]
    curve = tuple(replace(point, defect=1.23456e-7) for point in results[1].curve)
    results[1:] = [
        replace(results[1], probes=found, curve=curve),
        replace(results[2], probes=Probes()),
    ]
    (record,) = records(results)
    probes = record["probes"]
    assert probes["seed"] == 1
    assert probes["eigenphases_start"] == [-1.23, 1.23]
    assert probes["eigenphases_end"] == [-0.5, 3.14]
    assert probes["defects"] == [(0, 1.23e-7), (3, 1.23e-7), (6, 1.23e-7)]
    assert len(probes["gradient_steps"]) == len(probes["gradient_norms"]) == 50
    assert (probes["gradient_steps"][0], probes["gradient_steps"][-1]) == (1, 100)
    assert probes["gradient_norms"][0] == 0.5
    (older,) = records(results[:1])
    assert "probes" not in older


def test_records_hold_the_median_of_the_seconds(make_result):
    results = [make_result("cayley", seed=seed) for seed in range(3)]
    slow = replace(results[2].final, seconds=60.0)
    results[2] = replace(results[2], curve=(*results[2].curve[:-1], slow))
    (record,) = records(results)
    assert record["seconds"] == pytest.approx(0.2)


def test_records_name_every_command_of_their_seeds(make_result):
    results = [
        replace(make_result("cayley", seed=seed), command=command)
        for seed, command in enumerate(["first", "second", "first"])
    ]
    (record,) = records(results)
    assert record["commands"] == ["first", "second"]


def test_export_names_failed_runs_with_their_seeds(make_run, make_result, tmp_path):
    store = Store(tmp_path / "some")
    store.save(make_result("cayley"))
    for seed, error, kind in (
        (2, "inf at 7", "Diverged"),
        (0, "nan at 9", "Diverged"),
        (1, "Odd", ""),
    ):
        store.save_failure(Failure(make_run("rnn", seed=seed), error, "", "2026-01-02", kind))
    path = export(tmp_path / "some", tmp_path)
    found = json.loads(path.read_text(encoding="utf-8"))
    place = "Copying memory, T = 5: rnn, n = 8"
    assert sorted(found["failed"]) == [
        f"{place} (Diverged): seeds 0, 2",
        f"{place} (Odd): seed 1",
    ]
    assert [run["model"] for run in found["runs"]] == ["cayley"]


def test_records_hold_what_the_paper_reported(make_result):
    results = [
        make_result("arjovsky", length=100, hidden_size=128),
        make_result("lstm", length=100, hidden_size=41, unitary_optimizer=None, losses=(9.0, 9.0)),
        make_result("cayley", length=100, losses=(10.0, 10.0)),
    ]
    texts = [run["published"] for run in records(results, find_paper("arjovsky2016"))]
    assert texts == [
        "≈ 0 after 15–20 thousand examples (about 1,000 iterations of 20) [F]",
        "",  # cayley, which the paper knows nothing of
        "slowly below the baseline: ≈ .145 at 1 million examples [F] (n = 40)",
    ]
    assert {run["published"] for run in records(results)} == {""}


@pytest.mark.parametrize("count", [1, 2, 49, 50, 51, 1000])
def test_records_thin_curves_and_keep_their_ends(make_result, count):
    losses = tuple(1.0 / (i + 1) for i in range(count))
    (record,) = records([make_result("cayley", losses=losses)])
    curve = record["curve"]
    assert len(curve) == min(count, 50)
    assert curve[0] == (0, 1.0)
    assert curve[-1] == (3 * (count - 1), pytest.approx(losses[-1], rel=5e-4))  # four digits
    assert [point[0] for point in curve] == sorted({point[0] for point in curve})


def test_export_writes_where_the_pages_are(make_result, tmp_path, capsys):
    folder = tmp_path / "arjovsky2016"
    Store(folder).save(make_result("cayley"))
    main([str(folder), "--docs", str(tmp_path / "docs")])
    path = tmp_path / "docs" / "results" / "arjovsky2016.json"
    assert str(path) in capsys.readouterr().out
    found = json.loads(path.read_text(encoding="utf-8"))
    assert [run["model"] for run in found["runs"]] == ["cayley"]


def test_export_refuses_an_empty_folder(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path)])
    assert "nor any finished run" in capsys.readouterr().err


def test_export_refuses_a_comparison_that_was_interrupted(make_result, make_run, tmp_path):
    store = Store(tmp_path / "some")
    store.save(make_result("cayley"))
    store.save_plan("python comparisons/run_all.py", [make_run("cayley"), make_run("gru")])
    with pytest.raises(ResultsError, match="lacks 1 runs"):
        export(store.folder, tmp_path)
    assert export(store.folder, tmp_path, partial=True).exists()


def test_export_refuses_damaged_files(make_result, tmp_path):
    store = Store(tmp_path / "some")
    store.save(make_result("cayley"))
    (store.folder / "runs" / "broken.json").write_text("{")
    with pytest.raises(ResultsError, match="1 files"):
        export(store.folder, tmp_path)
