"""Files that are damaged, huge or no files at all."""

import os

import pytest

from comparisons.results import reading
from comparisons.results.store import Store


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"run": {}}', '{"run": 3}'])
def test_read_records_reports_a_damaged_file(tmp_path, make_result, text):
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


def test_read_records_reports_what_is_no_text_file(tmp_path, make_result, monkeypatch):
    store = Store(tmp_path)
    store.save(make_result())
    runs = tmp_path / "runs"
    (runs / "binary.json").write_bytes(bytes(range(256)))
    (runs / "utf16.json").write_text("{}", encoding="utf-16")
    (runs / "folder.json").mkdir()
    (runs / "link.json").symlink_to(tmp_path / "nothing")
    os.mkfifo(runs / "pipe.json")  # which would be waited for
    (runs / "zero.json").symlink_to("/dev/zero")  # which never ends
    with (runs / "huge.json").open("wb") as file:
        file.truncate(reading.LARGEST_BYTES + 1)  # takes no room on the disk
    contents = store.load()
    assert len(contents.results) == 1
    names = ["binary", "folder", "huge", "link", "pipe", "utf16", "zero"]
    assert [problem.split()[0].split("/")[-1] for problem in contents.problems] == [
        f"{name}.json" for name in names
    ]
    assert "256" in contents.problems[2]
