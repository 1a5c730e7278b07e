import json
import os

import pytest

from comparisons.records import Failure
from comparisons.results.store import Store


def failure_of(run) -> Failure:
    return Failure(run, "ValueError: no", "Traceback ...", "2026-01-02T03:04:05+00:00")


def test_store_loads_what_it_saved(tmp_path, make_result, make_run):
    store = Store(tmp_path / "new")
    results = [make_result(seed=seed) for seed in (0, 1)]
    for result in results:
        store.save(result)
    failure = failure_of(make_run("lstm", unitary_optimizer=None))
    store.save_failure(failure)
    store.save_plan("the command", [result.run for result in results])
    contents = store.load()
    assert contents.results == tuple(results)
    assert contents.failures == (failure,)
    assert contents.plan is not None
    assert contents.plan.command == "the command"
    assert contents.plan.ids == tuple(result.run.id for result in results)
    assert contents.problems == ()


def test_store_loads_an_empty_folder(tmp_path):
    contents = Store(tmp_path / "nothing").load()
    assert contents.results == contents.failures == contents.problems == ()
    assert contents.plan is None


def test_store_forgets_a_failure_when_the_run_finishes(tmp_path, make_result):
    store = Store(tmp_path)
    result = make_result()
    store.save_failure(failure_of(result.run))
    store.save(result)
    assert store.load().failures == ()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"run": {}}', '{"run": 3}'])
def test_store_reports_a_damaged_file(tmp_path, make_result, text):
    store = Store(tmp_path)
    good, bad = make_result(seed=0), make_result(seed=1)
    store.save(good)
    store.save(bad)
    (tmp_path / "runs" / f"{bad.run.id}.json").write_text(text)
    contents = store.load()
    assert contents.results == (good,)
    (problem,) = contents.problems
    assert bad.run.id in problem
    store.save(bad)
    assert store.load().results == (good, bad)


def test_store_keeps_the_old_file_if_writing_fails(tmp_path, make_result, monkeypatch):
    store = Store(tmp_path)
    store.save(make_result(losses=(2.0, 1.0)))

    def crash(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        store.save(make_result(losses=(2.0, 0.5)))
    assert store.load().results[0].final.test_loss == 1.0
    assert [path.suffix for path in (tmp_path / "runs").iterdir()] == [".json"]


def test_store_ignores_temporary_files(tmp_path, make_result):
    store = Store(tmp_path)
    result = make_result()
    store.save(result)
    (tmp_path / "runs" / f".{result.run.id}.json.4711.tmp").write_text("{")
    assert store.load().problems == ()


def test_store_refuses_undefined_numbers(tmp_path, make_result):
    with pytest.raises(ValueError, match="JSON"):
        Store(tmp_path).save(make_result(losses=(float("nan"),)))
    assert Store(tmp_path).load().results == ()


def test_store_writes_plain_json(tmp_path, make_result):
    result = make_result()
    Store(tmp_path).save(result)
    data = json.loads((tmp_path / "runs" / f"{result.run.id}.json").read_text(encoding="utf-8"))
    assert data["run"]["setting"]["optimizer"]["lr"] == 1e-3
    assert data["curve"][-1]["test_loss"] == 0.01
    assert data["machine"]["cpu"] == "Imaginary CPU 9000"


def test_contents_count_what_is_missing(tmp_path, make_result, make_run):
    store = Store(tmp_path)
    assert store.load().missing == 0
    failed = make_run("lstm", unitary_optimizer=None)
    store.save_plan("the command", [make_run("cayley"), make_run("expm"), failed])
    store.save(make_result("cayley"))
    store.save_failure(failure_of(failed))
    assert store.load().missing == 1
