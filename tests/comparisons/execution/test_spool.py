import pytest

from comparisons.execution.executor import failure
from comparisons.execution.spool import Spool, spools
from comparisons.records import Failure


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "some")


def test_spool_returns_what_was_saved_and_knows_it_after_it_was_taken(spool, make_run, make_result):
    result, failed = make_result(seed=1), failure(make_run(seed=2), "no", "trace", "ValueError")
    for ended in (result, failed):
        spool.save(ended)
        assert spool.read(ended.run) == ended
    assert spool.ended() == {result.run.id, failed.run.id}
    spool.take(result.run.id)
    assert spool.ended() == {failed.run.id}
    assert spool.done() == {result.run.id, failed.run.id}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"result": {}}', '{"failure": 3}'])
def test_spool_makes_unreadable_file_failure_of_its_run(spool, make_run, text):
    run = make_run()
    (spool.folder / "ended").mkdir(parents=True)
    (spool.folder / "ended" / f"{run.id}.json").write_text(text)
    ended = spool.read(run)
    assert isinstance(ended, Failure)
    assert ended.run == run


def test_spool_makes_unwritable_result_failure_of_its_run(spool, make_result):
    result = make_result()
    result.machine["gpu"] = object()
    spool.save(result)
    assert spool.read(result.run).kind == "TypeError"


def test_spool_keeps_progress_and_jobs(spool):
    assert spool.progress("a") is None
    spool.note("a", {"run": (3, 0.5)})
    assert spool.progress("a") == {"run": (3, 0.5)}
    assert spool.jobs() == {}
    spool.save_jobs({"a": ("12_0", ["run"])})
    assert spool.jobs() == {"a": ("12_0", ["run"])}
    assert spools(spool.folder.parent) == [spool]


def test_closed_spool_keeps_logs_and_what_was_not_taken(spool, make_result):
    spool.save(make_result())
    spool.save_jobs({})
    spool.logs.mkdir()
    spool.close()
    assert spool.ended()
    spool.take(make_result().run.id)
    spool.close()
    assert [path.name for path in spool.folder.iterdir()] == ["logs"]
