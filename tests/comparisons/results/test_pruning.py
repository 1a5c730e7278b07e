"""Files that can go."""

import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path

from comparisons.records import Failure
from comparisons.results.claims import Claims
from comparisons.results.owners import new_owner
from comparisons.results.pruning import KINDS, USUAL, Spare, delete, spare_files
from comparisons.results.store import Store


def spared(folder, kinds=tuple(KINDS)):
    found = spare_files(folder, kinds, time.time())
    return {(spare.kind, str(spare.path.relative_to(folder))) for spare in found}


def test_spare_files_are_those_that_nothing_needs(tmp_path, make_result, make_run):
    store = Store(tmp_path)
    planned, other = make_result(seed=0), make_result(seed=1)
    failed = Failure(make_run("lstm"), "ValueError: no", "", "2026-01-02")
    for result in (planned, other):
        store.save(result)
    for failure in (failed, replace(failed, run=planned.run)):
        store.save_failure(failure)
    store.save_plan("the command", [planned.run, failed.run])
    for name in ("checkpoints", "set_aside", "claims"):
        (tmp_path / name).mkdir()
    for run in (planned.run, failed.run):
        (tmp_path / "checkpoints" / f"{run.id}.pt").write_text("")
    (tmp_path / "set_aside" / "x.json").write_text("")
    for name, age in (("old", 7200), ("new", 60)):
        path = tmp_path / "runs" / f".{name}.json.12.tmp"
        path.write_text("")
        os.utime(path, (time.time() - age,) * 2)
    dead = replace(new_owner(), started="once")
    (tmp_path / "claims" / "a.1.claim").write_text(json.dumps(asdict(dead)))
    with Claims(tmp_path) as claims:
        assert claims.take("b")
        expected = {
            ("failures", f"failures/{planned.run.id}.json"),
            ("claims", "claims/a.1.claim"),
            ("checkpoints", f"checkpoints/{planned.run.id}.pt"),
            ("temporary", "runs/.old.json.12.tmp"),
            ("set_aside", "set_aside/x.json"),
            ("not_planned", f"runs/{other.run.id}.json"),
        }
        assert spared(tmp_path) == expected
        assert spared(tmp_path, ["claims"]) == {("claims", "claims/a.1.claim")}
        gone, errors = delete(tmp_path, spare_files(tmp_path, USUAL, time.time()))
        assert len(gone) == 5
        assert errors == []
        assert claims.take("b")
        assert len(list((tmp_path / "claims").iterdir())) == 2
    assert len(store.load().results) == 2
    assert store.load().failures == (failed,)


def test_spare_files_count_nothing_as_not_planned_without_a_plan(tmp_path, make_result):
    Store(tmp_path).save(make_result())
    (tmp_path / "plan.json").write_text("{")
    assert spared(tmp_path) == set()


def test_spare_files_leave_out_a_file_that_its_writer_renames_meanwhile(tmp_path, monkeypatch):
    Store(tmp_path).save_plan("the command", [])
    (tmp_path / ".plan.json.12.tmp").write_text("")
    lstat = Path.lstat

    def renamed(path):
        path.rename(tmp_path / "plan.json")
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", renamed)
    assert spare_files(tmp_path, ["temporary"], time.time() + 7200) == []


def test_delete_goes_on_after_an_error(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("12345")
    spares = [Spare(tmp_path / name, "set_aside") for name in ("folder", "file", "nothing")]
    assert [spare.size for spare in spares][1:] == [5, 0]
    gone, errors = delete(tmp_path, spares)
    assert [path.name for path in gone] == ["file", "nothing"]
    assert len(errors) == 1
