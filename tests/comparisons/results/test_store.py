import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from comparisons.records import Failure
from comparisons.report import write_report
from comparisons.report.sections import build_report
from comparisons.results.form import SCHEMA
from comparisons.results.store import ResultsError, Store


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


def changed(result, change):
    """The result's file after a change of its data."""
    data = json.loads(json.dumps(result.to_dict()))  # a copy in depth
    change(data)
    return json.dumps(data)


def nested(opening, closing, depth=100_000):
    return opening * depth + "0" + closing * depth


BAD = {
    "empty curve": lambda result: changed(result, lambda data: data.update(curve=[])),
    "null loss": lambda result: changed(
        result, lambda data: data["curve"][-1].update(test_loss=None)
    ),
    "null curve": lambda result: changed(result, lambda data: data.update(curve=None)),
    "loss in words": lambda result: changed(
        result, lambda data: data["curve"][0].update(test_loss="low")
    ),
    "number beyond floats": lambda result: changed(result, lambda data: None).replace(
        '"ms_per_step": 1.5', '"ms_per_step": 1e999'
    ),
    "undefined number": lambda result: changed(result, lambda data: None).replace(
        '"ms_per_step": 1.5', '"ms_per_step": NaN'
    ),
    "integer beyond floats": lambda result: changed(result, lambda data: None).replace(
        '"ms_per_step": 1.5', f'"ms_per_step": 1{"0" * 400}'
    ),
    "machine without CPU": lambda result: changed(result, lambda data: data["machine"].pop("cpu")),
    "no versions": lambda result: changed(result, lambda data: data.update(versions={})),
    "unknown task": lambda result: changed(result, lambda data: data["run"].update(task="cooking")),
    "unknown variant": lambda result: changed(
        result, lambda data: data["run"].update(variant="odd")
    ),
    "length 0": lambda result: changed(result, lambda data: data["run"].update(length=0)),
    "setting in a list": lambda result: changed(
        result, lambda data: data["run"].update(setting=[])
    ),
    "unknown field": lambda result: changed(result, lambda data: data.update(mood="good")),
    "size in words": lambda result: changed(
        result, lambda data: data["run"]["setting"].update(hidden_size="8")
    ),
    "deep list": lambda result: nested("[", "]"),
    "deep object": lambda result: nested('{"a":', "}"),
    "deep option": lambda result: changed(
        result, lambda data: data["run"]["setting"].update(options=[["a", 0]])
    ).replace('["a", 0]', f'["a", {nested("[", "]", 5000)}]'),
    "truncated": lambda result: changed(result, lambda data: None)[:-10],
    "two records": lambda result: 2 * changed(result, lambda data: None),
}


@pytest.mark.parametrize("kind", BAD)
def test_store_and_report_outlive_a_wrong_result(tmp_path, make_result, kind):
    store = Store(tmp_path)
    good, bad = make_result(seed=0), make_result(seed=1)
    store.save(good)
    store.save_plan("the command", [good.run, bad.run])
    (tmp_path / "runs" / f"{bad.run.id}.json").write_text(BAD[kind](bad), encoding="utf-8")
    contents = store.load()
    assert contents.results == (good,)
    (problem,) = contents.problems
    assert problem.startswith(f"runs/{bad.run.id}.json cannot be read (")
    known = kind != "unknown task"  # which another plug-in may bring
    assert problem.endswith("; the run counts as not finished" if known else "it is left alone")
    assert contents.left_alone == (frozenset() if known else {bad.run.id})
    assert contents.missing == known  # another reader's run is not to be trained again
    assert "\n" not in problem
    assert len(problem) < 400
    assert build_report(contents).problems == (problem,)
    store.save(bad)
    assert store.load().results == (good, bad)


@pytest.mark.parametrize("name", ["copy of {}", "{} (1)", "A", "zzz"])
def test_store_counts_a_run_once(tmp_path, make_result, name):
    store = Store(tmp_path)
    results = [make_result(seed=0), make_result(seed=1, losses=(2.0, 0.5, 0.25))]
    for result in results:
        store.save(result)
    own = tmp_path / "runs" / f"{results[1].run.id}.json"
    copy = own.with_name(f"{name.format(own.stem)}.json")
    shutil.copy(own, copy)
    contents = store.load()
    assert contents.results == tuple(results)
    assert contents.problems == ()
    (notice,) = contents.notices
    assert notice.startswith(f"runs/{copy.name} holds the run of {own.name} and is ignored")
    assert build_report(contents).problems == (notice,)
    own.unlink()  # a file that is only named otherwise holds a result as well as any
    assert store.load().results == tuple(results)
    assert store.load().notices == ()


def test_store_takes_the_file_that_is_named_by_the_run(tmp_path, make_result):
    store = Store(tmp_path)
    right, wrong = make_result(), replace(make_result(), seconds=99.0)
    store.save(right)
    text = json.dumps(wrong.to_dict())
    for name in ("A.json", f"{right.run.id}.json.json", "z.json"):
        (tmp_path / "runs" / name).write_text(text, encoding="utf-8")
    assert store.load().results == (right,)
    assert len(store.load().notices) == 3


def test_store_forgets_a_stale_failure_beside_its_result(tmp_path, make_result):
    store = Store(tmp_path)
    result = make_result()
    store.save(result)
    store.save_failure(failure_of(result.run))  # as a copy of an older folder leaves it
    assert store.load().failures == ()


def test_store_keeps_the_curve_of_a_run_that_stopped_early(tmp_path, make_result):
    store = Store(tmp_path)
    results = [make_result(seed=seed) for seed in range(3)]
    store.save(results[0])
    store.save(replace(results[1], curve=results[1].curve[:-1], stopped="plateau"))
    store.save(replace(results[2], curve=results[2].curve[1:], stopped="diverged"))
    contents = store.load()
    assert len(contents.results) == 2
    (problem,) = contents.problems  # the beginning is missing
    assert results[2].run.id in problem


def test_store_reads_a_folder_of_schema_0():
    contents = Store(Path(__file__).with_name("folder_of_schema_0")).load()
    assert contents.problems == ()
    (result,), (failure,) = contents.results, contents.failures
    assert contents.plan.ids == (result.run.id, failure.run.id)
    assert result.final.test_loss == 2.156587779521942
    assert failure.error == "ValueError: no"


def test_store_leaves_files_of_a_newer_version_alone(tmp_path, make_result):
    store = Store(tmp_path)
    store.save(make_result())
    store.save_failure(failure_of(make_result(seed=1).run))
    store.save_plan("the command", [])
    for path in tmp_path.rglob("*.json"):
        newer = {**json.loads(path.read_text("utf-8")), "schema": SCHEMA + 1, "mood": "good"}
        path.write_text(json.dumps(newer), encoding="utf-8")
    contents = store.load()
    assert contents.left_alone == {make_result().run.id}
    assert contents.damaged == ()
    assert len(contents.problems) == 3
    assert all("update unitary_zoo" in line for line in contents.problems)
    assert store.set_aside(contents) == []
    assert store.ended_since(make_result().run, 0.0)
    with pytest.raises(ResultsError, match="update unitary_zoo"):
        store.prepare("the command", [])
    assert not (tmp_path / "set_aside").exists()


def test_store_set_aside_moves_what_is_damaged_or_foreign(tmp_path, make_result):
    store = Store(tmp_path)
    store.save(make_result())
    (tmp_path / "failures").mkdir()
    (tmp_path / "runs" / "foreign.json").write_text('{"name": "no result"}')
    (tmp_path / "runs" / "link.json").symlink_to("nothing")
    (tmp_path / "failures" / "foreign.json").write_text("first")
    assert len(store.set_aside(store.load())) == 3
    (tmp_path / "failures" / "foreign.json").write_text("second")
    (line,) = store.set_aside(store.load())
    assert line.endswith(str(tmp_path / "set_aside" / "failures-foreign.2.json"))
    assert store.load().problems == ()
    texts = {path.name: path.read_text() for path in (tmp_path / "set_aside").glob("[!r]*")}
    assert texts == {"failures-foreign.json": "first", "failures-foreign.2.json": "second"}
    assert {path.name for path in (tmp_path / "set_aside").glob("r*")} == {
        "runs-foreign.json",
        "runs-link.json",
    }


def test_store_set_aside_leaves_what_was_replaced_meanwhile(tmp_path, make_result):
    store, result = Store(tmp_path), make_result()
    path = tmp_path / "runs" / f"{result.run.id}.json"
    path.parent.mkdir()
    path.write_text("{")
    contents = store.load()
    store.save(result)
    assert store.set_aside(contents) == []
    path.unlink()
    assert store.set_aside(contents) == []


def test_store_set_aside_names_what_cannot_be_moved(tmp_path, make_result):
    store = Store(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "foreign.json").write_text("{")
    (tmp_path / "set_aside").write_text("in the way")
    (line,) = store.set_aside(store.load())
    assert "foreign.json could not be set aside: " in line


def test_store_prepare_sets_a_foreign_plan_aside(tmp_path):
    (tmp_path / "plan.json").write_text('{"plan": "of another program"}')
    (line,) = Store(tmp_path).prepare("the command", [])
    assert "plan.json is set aside" in line
    (aside,) = (tmp_path / "set_aside").iterdir()
    assert "another program" in aside.read_text()


def test_store_leaves_out_a_curve_that_was_cut(tmp_path, make_result):
    store = Store(tmp_path)
    whole, cut = make_result(seed=0), make_result(seed=1)
    store.save(whole)
    store.save(replace(cut, curve=cut.curve[:-1]))
    contents = store.load()
    assert contents.results == (whole,)
    (problem,) = contents.problems
    assert f"{cut.run.id}.json has 2 points" in problem
    assert len(store.set_aside(contents)) == 1
    assert store.load().problems == ()
    store.save(replace(cut, curve=cut.curve[:-1]))
    assert build_report(contents).problems == (problem,)


@pytest.mark.parametrize(
    "text",
    [
        '{"command": "c", "ids": "abc"}',
        '{"command": 3, "ids": []}',
        '{"command": "c", "ids": [1]}',
        "[]",
        "null",
    ],
)
def test_store_reports_a_wrong_plan(tmp_path, make_result, text):
    store = Store(tmp_path)
    store.save(make_result())
    (tmp_path / "plan.json").write_text(text)
    contents = store.load()
    assert contents.plan is None
    (problem,) = contents.problems
    assert "plan.json cannot be read" in problem
    assert build_report(contents).problems == (problem,)


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": float("inf")},
        {"baseline": None},
        {"data": object()},
        {"curve": ()},
        {"machine": {}},
    ],
)
def test_store_saves_only_what_it_can_read_back(tmp_path, make_result, change):
    with pytest.raises((TypeError, ValueError)):
        Store(tmp_path).save(replace(make_result(), **change))
    assert not (tmp_path / "runs").exists()


def test_store_keeps_words_in_no_known_encoding(tmp_path, make_result, make_run):
    store = Store(tmp_path)
    failure = replace(failure_of(make_run("lstm")), error="no file caf\udce9")  # a byte of Latin-1
    store.save_failure(failure)
    store.save_plan("run_all.py --results caf\udce9", [make_run()])
    contents = store.load()
    assert contents.failures == (failure,)
    assert contents.plan.command == "run_all.py --results caf\udce9"
    for page in write_report(tmp_path).pages:
        assert "caf\\udce9" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["a b", "déjà — 数", "x/../y", "link"])
def test_store_and_report_take_any_path(tmp_path, make_result, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to("place")
    store = Store(tmp_path.__class__(name))
    store.prepare("the command", [make_result().run])
    store.save_failure(failure_of(make_result().run))
    assert len(store.load().failures) == 1
    assert all(page.exists() for page in write_report(store.folder).pages)


@pytest.mark.parametrize("name", ["runs", "failures", "plan.json"])
def test_store_prepare_finds_what_is_in_the_way(tmp_path, make_run, name):
    (tmp_path / name).symlink_to(tmp_path / "no" / "thing")
    with pytest.raises(OSError, match=name):
        Store(tmp_path).prepare("the command", [make_run()])
    (tmp_path / name).unlink()
    if name == "plan.json":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("")
    with pytest.raises(OSError, match=name):
        Store(tmp_path).prepare("the command", [make_run()])


def test_store_prepare_leaves_no_trace_of_its_check(tmp_path, make_run):
    Store(tmp_path).prepare("the command", [make_run()])
    assert {path.name for path in tmp_path.rglob("*")} == {"plan.json", "runs", "failures"}
